"""The shapes that the description of the HTTP interface names: JSON Schema 2020-12."""

from collections.abc import Mapping
from typing import Final

from deputize.server.holding import MAX_ITEMS, MAX_TEXT, NOTES
from deputize.wire import terms
from deputize.wire import token_exchange as tx
from deputize.wire.client_assertion import ASSERTION_TYPE, IDENTITY_FIELD
from deputize.wire.metadata import GRANT_TYPES
from deputize.wire.workload_grants import JOIN, PEER

Shape = Mapping[str, object]
_TEXT: Final[Shape] = {"type": "string"}
_SHORT: Final[Shape] = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
_SHORTS: Final[Shape] = {"type": "array", "items": _SHORT, "maxItems": MAX_ITEMS}
_TEXTS: Final[Shape] = {"type": "array", "items": _TEXT}
_NUMBER: Final[Shape] = {"type": "integer"}
_FLAG: Final[Shape] = {"type": "boolean"}
_ANY: Final[Shape] = {"type": "object"}
_RIGHTS: Final[Shape] = {"type": "string", "contentMediaType": "application/json"}
_CLIENT: Final[Mapping[str, Shape]] = {
    "client_assertion_type": {"const": ASSERTION_TYPE},
    "client_assertion": _TEXT,
    IDENTITY_FIELD: _TEXT,
    "client_id": _TEXT,
}
_SHOWN: Final = ("client_assertion_type", "client_assertion", IDENTITY_FIELD)


def ref(name: str) -> dict[str, str]:
    """A reference to a shape of this page."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(*required: str, **members: Shape) -> dict[str, object]:
    return {"type": "object", "properties": members, "required": list(required)}


def _closed(*required: str, **members: Shape) -> dict[str, object]:
    """With no other members than these."""
    return {**_object(*required, **members), "additionalProperties": False}


def _form(*required: str, **members: Shape) -> dict[str, object]:
    """A form of an authenticated client."""
    return _object(*_SHOWN, *required, **{**_CLIENT, **members})


_TOKEN_REQUEST: Final = _object(
    "grant_type",
    **{
        **_CLIENT,
        "grant_type": {"enum": [*GRANT_TYPES, JOIN, PEER]},
        "assertion": _TEXT,
        "join_token": _TEXT,
        "subject_token": _TEXT,
        "subject_token_type": {"enum": [tx.ACCESS_TOKEN, tx.ID_TOKEN, tx.JWT, tx.SESSION, tx.SUBJECT_ASSERTION]},
        "actor_token": _TEXT,
        "actor_token_type": {"const": tx.JWT},
        "requested_token_type": {"enum": [tx.ACCESS_TOKEN, tx.JWT, tx.SESSION]},
        "resource": {"type": "string", "format": "uri"},
        "audience": _TEXT,
        "scope": _TEXT,
        tx.MODE_PARAMETER: {"enum": ["self", "on_behalf_of", "impersonation"]},
        terms.RIGHTS: _RIGHTS,
        terms.ONWARD: _RIGHTS,
        terms.TTL: {"type": "string", "pattern": "^[1-9][0-9]{0,9}$"},
        terms.TASK: {"type": "string", "maxLength": terms.MAX_TASK},
        terms.KEY: {"type": "string", "maxLength": terms.MAX_KEY},
        terms.TOOL: _TEXT,
        terms.USER: _TEXT,
        terms.REASON: _TEXT,
        terms.CONTINUES: _TEXT,
    },
)
_TOKEN_ANSWER: Final = _object(
    "access_token",
    "issued_token_type",
    "token_type",
    "expires_in",
    access_token=_TEXT,
    issued_token_type={"enum": [tx.ACCESS_TOKEN, tx.JWT, tx.SESSION]},
    token_type={"enum": ["Bearer", "DPoP", "N_A"]},
    expires_in=_NUMBER,
    scope=_TEXT,
    authorization_details={"type": "array", "items": _ANY},
)
_INTROSPECTION: Final = _object(
    "active",
    active=_FLAG,
    **dict.fromkeys(("scope", "client_id", "token_type", "sub", "aud", "iss", "jti", "sid", "txn"), _TEXT),
    exp=_NUMBER,
    iat=_NUMBER,
    act=_ANY,
    cnf=_ANY,
)
_ERROR: Final = _closed(
    "error",
    error={"type": "string", "pattern": "^[a-z_]+$"},
    error_description=_TEXT,
    code={"type": "string", "description": "stable; see the page on codes"},
    policy={"type": ["string", "null"]},
    subject={"type": ["string", "null"]},
    session={"type": "string", "description": "the sid that ended, where that is the refusal"},
    reference={"type": "string", "description": "for the operator, who reads why"},
    deputize_kind=_TEXT,
    status=_TEXT,
)

SCHEMAS: Final[Mapping[str, object]] = {
    "Error": _ERROR,
    "Any": _ANY,
    "Text": _TEXT,
    "Empty": _object(),
    "Status": _object("status", status=_TEXT),
    "ClientFields": _form(),
    "TokenRequest": _TOKEN_REQUEST,
    "TokenAnswer": _TOKEN_ANSWER,
    "TokenQuestion": _form("token", token=_TEXT, token_type_hint=_TEXT),
    "Introspection": _INTROSPECTION,
    "RejectionFields": _form("rejections", rejections={"type": "string", "contentMediaType": "application/json"}),
    "ReportFields": _form("report", report={"type": "string", "contentMediaType": "application/json"}),
    "FeedFields": _form(
        after={"type": "string", "pattern": "^[0-9]{1,15}$"},
        head={"type": "string", "pattern": "^[0-9]{1,15}\\.[A-Za-z0-9_-]{43}$"},
        wait={"enum": ["0", "1"]},
    ),
    "FeedPage": _object("issuer", issuer=_TEXT, heartbeat=_ANY),
    "Registry": _object(
        "trust_domain",
        "hosted",
        "session_token_ttl",
        "agents",
        "resources",
        trust_domain=_TEXT,
        hosted=_TEXTS,
        session_token_ttl=_NUMBER,
        agents={"type": "array", "items": _ANY},
        resources={"type": "array", "items": _ANY},
    ),
    "CallQuestion": _closed(
        "tool",
        "resource",
        tool=_SHORT,
        resource=_SHORT,
        scopes=_SHORTS,
        call_id={"anyOf": [_SHORT, {"type": "null"}]},
        arguments={"anyOf": [_SHORT, {"type": "null"}]},
        to=_SHORTS,
    ),
    "Permitted": _object("seq", "policies", seq=_NUMBER, policies=_TEXTS),
    "Note": _closed(
        "kind",
        "outcome",
        kind={"enum": sorted(NOTES)},
        outcome={"enum": ["done", "failed", "noted"]},
        detail={"type": ["object", "null"]},
        **{name: {"anyOf": [_SHORT, {"type": "null"}]} for name in ("tool", "call_id", "resource", "code")},
    ),
    "Noted": _object("seq", seq=_NUMBER),
    "SessionState": _object("sid", "state", sid=_TEXT, state={"enum": ["open", "closed", "revoked", "expired"]}),
    "Tree": _ANY,
    "Closed": {"type": "object", "properties": {"closed": _FLAG}, "required": ["closed"]},
    "Cut": _closed("reason", reason=_SHORT, sid={"anyOf": [_SHORT, {"type": "null"}]}),
    "Revocation": _object(
        "kind",
        "target",
        "at",
        "effective_by",
        "seq",
        "sessions",
        kind=_TEXT,
        target=_TEXT,
        at={"type": "number"},
        effective_by={"type": "number"},
        seq=_NUMBER,
        sessions={"type": ["integer", "null"]},
    ),
    "KeySet": _object("keys", keys={"type": "array", "items": _object("kty", "kid", kty=_TEXT, kid=_TEXT)}),
    "Metadata": _object("issuer", "token_endpoint", "jwks_uri", issuer=_TEXT, token_endpoint=_TEXT, jwks_uri=_TEXT),
}
PARAMETERS: Final[Mapping[str, object]] = {
    "Proof": {
        "name": "DPoP",
        "in": "header",
        "required": True,
        "schema": _TEXT,
        "description": "A proof of the session's key over this request (RFC 9449 §4).",
    },
    "OptionalProof": {
        "name": "DPoP",
        "in": "header",
        "required": False,
        "schema": _TEXT,
        "description": "A proof of the key that the answer is bound to.",
    },
}
