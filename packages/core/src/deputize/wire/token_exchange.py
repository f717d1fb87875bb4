"""Token exchange: the form that is sent and the JSON that comes back (RFC 8693 §2; RFC 6749 §3.2; RFC 8707).

Rules of form only. Who may exchange what for what is the authority's to decide.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl

from deputize.model.failure import InvalidRequest
from deputize.model.mode import Mode
from deputize.model.resource import check_resource, parse_scope
from deputize.wire.json_strict import dumps, loads

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a type's name
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105  # a type's name
SESSION: Final = "urn:deputize:params:oauth:token-type:session"
SUBJECT_ASSERTION: Final = "urn:deputize:params:oauth:token-type:subject-assertion"
MODE_PARAMETER: Final = "deputize_mode"  # vendor-prefixed, RFC 6749 §8.2
FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 64
MAX_AUDIENCE: Final = 512  # characters

_SUBJECT_TYPES: Final = frozenset({ACCESS_TOKEN, JWT, ID_TOKEN, SESSION, SUBJECT_ASSERTION})
_ACTOR_TYPES: Final = frozenset({JWT})  # an identity (`wit+jwt`) and nothing else acts
_REQUESTED_TYPES: Final = frozenset({ACCESS_TOKEN, JWT, SESSION})
_REPEATABLE: Final = frozenset({"resource", "audience"})

TokenType = Literal["Bearer", "DPoP", "N_A"]
_TOKEN_TYPES: Final[tuple[TokenType, ...]] = ("Bearer", "DPoP", "N_A")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchangeRequest:
    """What a client asks for. At most one of `resource` and `audience` is given; `scope` None: not stated.

    Tokens are left out of `repr`. `mode` is on behalf of the subject unless the client says otherwise.
    """

    subject_token: str = field(repr=False)
    subject_token_type: str
    actor_token: str | None = field(default=None, repr=False)
    actor_token_type: str | None = None
    resource: str | None = None
    audience: str | None = None
    scope: tuple[str, ...] | None = None
    requested_token_type: str = ACCESS_TOKEN
    mode: Mode = Mode.ON_BEHALF_OF


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenExchangeResponse:
    """What came of it. `scope` is what was granted, always stated; `expires_in` in seconds.

    `token_type` is `N_A` for what is no access token (RFC 8693 §2.2.1): sessions and identities.
    """

    access_token: str = field(repr=False)
    issued_token_type: str
    token_type: TokenType
    expires_in: int
    scope: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """The body of a 200 answer; to be sent with `Cache-Control: no-store` (RFC 6749 §5.1)."""
        members: dict[str, object] = {
            "access_token": self.access_token,
            "issued_token_type": self.issued_token_type,
            "token_type": self.token_type,
            "expires_in": self.expires_in,
        }
        if self.scope:
            members["scope"] = " ".join(self.scope)
        return dumps(members)

    @classmethod
    def from_json(cls, raw: bytes) -> "TokenExchangeResponse":
        """Raises InvalidRequest (`invalid_response`) for what is no such answer."""
        members = loads(raw, refuse=_bad_response)
        token, issued, kind = (members.get(name) for name in ("access_token", "issued_token_type", "token_type"))
        expires_in, scope = members.get("expires_in"), members.get("scope", "")
        if not (isinstance(token, str) and token and isinstance(issued, str) and isinstance(scope, str)):
            raise _bad_response("the answer lacks a required member")
        if isinstance(expires_in, bool) or not isinstance(expires_in, int) or expires_in < 0:
            raise _bad_response("expires_in is a number of seconds")
        return cls(
            access_token=token,
            issued_token_type=issued,
            token_type=_token_type(kind),
            expires_in=expires_in,
            scope=parse_scope(scope) if scope else (),
        )


def form_items(body: bytes, *, content_type: str) -> list[tuple[str, str]]:
    """The fields of a form in order, empty ones included. Raises InvalidRequest for what is no form in UTF-8."""
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise _bad_request(f"an exchange is a form ({FORM})")
    try:
        items = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise _bad_request("the form is not well formed") from None
    if any("\0" in name or "\0" in value for name, value in items):
        raise _bad_request("a form holds no NUL")
    return items


def parse_form(items: Sequence[tuple[str, str]]) -> TokenExchangeRequest:
    """Read a form; fields that are none of ours (client authentication, extensions) are passed over.

    Raises InvalidRequest: `invalid_request`, `unsupported_grant_type`, `invalid_target`, `invalid_scope`.
    """
    fields = single(items)
    if _required(fields, "grant_type") != GRANT_TYPE:
        raise InvalidRequest("the grant type is not token exchange", code="unsupported_grant_type")
    subject_token = _required(fields, "subject_token")
    subject_type = _one_of(_required(fields, "subject_token_type"), _SUBJECT_TYPES)
    actor_token, actor_type = fields.get("actor_token"), fields.get("actor_token_type")
    if (actor_token is None) != (actor_type is None):
        raise _bad_request("actor_token and actor_token_type come together (RFC 8693 §2.1)")
    requested = _one_of(fields.get("requested_token_type", ACCESS_TOKEN), _REQUESTED_TYPES)
    resource, audience = _target(items)
    mode = _mode(fields.get(MODE_PARAMETER))
    if requested == ACCESS_TOKEN and resource is None and audience is None:
        raise _bad_target("access is for one resource: say which")
    if mode is Mode.IMPERSONATION and requested != ACCESS_TOKEN:
        raise _bad_request("impersonation gives an access token and nothing else")
    return TokenExchangeRequest(
        subject_token=subject_token,
        subject_token_type=subject_type,
        actor_token=actor_token,
        actor_token_type=None if actor_type is None else _one_of(actor_type, _ACTOR_TYPES),
        resource=resource,
        audience=audience,
        scope=_scope(items),
        requested_token_type=requested,
        mode=mode,
    )


def build_form(request: TokenExchangeRequest) -> list[tuple[str, str]]:
    """The form that says `request`; defaults are written out."""
    fields = (
        ("grant_type", GRANT_TYPE),
        ("subject_token", request.subject_token),
        ("subject_token_type", request.subject_token_type),
        ("actor_token", request.actor_token),
        ("actor_token_type", request.actor_token_type),
        ("resource", request.resource),
        ("audience", request.audience),
        ("scope", None if request.scope is None else " ".join(request.scope)),
        ("requested_token_type", request.requested_token_type),
        (MODE_PARAMETER, request.mode.value),
    )
    return [(name, value) for name, value in fields if value is not None]


def single(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Fields by name. One without a value counts as left out; one that comes twice: refused (RFC 6749 §3.2).

    Raises InvalidRequest.
    """
    if len(items) > MAX_FIELDS:
        raise _bad_request("a form has at most 64 fields")
    counts = Counter(name for name, _ in items)
    if any(count > 1 and name not in _REPEATABLE for name, count in counts.items()):
        raise _bad_request("a parameter is given twice")
    return {name: value for name, value in items if value}


def _target(items: Sequence[tuple[str, str]]) -> tuple[str | None, str | None]:
    resources = [check_resource(value) for name, value in items if name == "resource" and value]
    audiences = [value for name, value in items if name == "audience" and value]
    if len(resources) + len(audiences) > 1:
        raise _bad_target("a token is for one resource (RFC 8707 §2): ask for each alone")
    if any(len(value) > MAX_AUDIENCE or not value.isprintable() for value in audiences):
        raise _bad_target("an audience is short printable text")
    return (resources[0] if resources else None), (audiences[0] if audiences else None)


def _scope(items: Sequence[tuple[str, str]]) -> tuple[str, ...] | None:
    """None where it is not stated. Stated and empty is refused: it never means all."""
    stated = [value for name, value in items if name == "scope"]
    return parse_scope(stated[0]) if stated else None


def _mode(value: str | None) -> Mode:
    try:
        return Mode.ON_BEHALF_OF if value is None else Mode(value)
    except ValueError:
        raise _bad_request("the mode is none that exists") from None


def _required(fields: dict[str, str], name: str) -> str:
    value = fields.get(name)
    if value is None:
        raise _bad_request(f"{name} is missing")
    return value


def _one_of(value: str, types: frozenset[str]) -> str:
    if value not in types:
        raise _bad_request("a token type is none that is accepted there")
    return value


def _token_type(kind: object) -> TokenType:
    for known in _TOKEN_TYPES:
        if isinstance(kind, str) and kind.lower() == known.lower():  # RFC 6749 §5.1: case-insensitive
            return known
    raise _bad_response("the token type is none that is known")


def _bad_request(reason: str) -> InvalidRequest:
    return InvalidRequest(reason)


def _bad_target(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, code="invalid_target")


def _bad_response(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, code="invalid_response")
