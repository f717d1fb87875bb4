"""A2A 1.0 agent cards (§4.4, §8): JSON with a JWS over its canonical form (RFC 8785, RFC 7515) in `signatures`.

A signature covers the card as it is served, without `signatures`. Ours has no member at its default value, so that
every reading of the rule on defaults (§8.4.1) comes to the same bytes.
"""

from collections.abc import Mapping
from typing import Final

from deputize.model.agent_card import EXTENSION, AgentInterface, AgentMetadata, AgentSkill
from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.wire import base64url, canonical_json, jws
from deputize.wire.alg import SigningKey, VerifyingKey
from deputize.wire.json_strict import dumps, loads
from deputize.wire.jws import KeyFor
from deputize.wire.metadata import check_url

WELL_KNOWN: Final = "/.well-known/agent-card.json"
PROTOCOL: Final = "1.0"
TYP: Final = "JOSE"  # §8.4.2: no token of ours or of anybody's has this type
MAX_CARD: Final = 12 * 1024  # bytes
MAX_SIGNATURES: Final = 8
_MAX_TEXT: Final = 2048  # characters
_MAX_LIST: Final = 256
_SCHEME: Final = "deputize"


def build(card: AgentMetadata, *, bound: bool, scopes: tuple[str, ...]) -> dict[str, object]:
    """The members of a card of ours, unsigned. `bound`: access tokens for it need a proof of their key."""
    scheme = {"scheme": "DPoP" if bound else "Bearer", "bearerFormat": "JWT"}
    told = {"agent": card.agent, "issuer": card.issuer, "audience": card.audience}
    return {
        "name": card.name,
        "description": card.description,
        "version": card.version,
        "supportedInterfaces": [
            {"url": item.url, "protocolBinding": item.binding, "protocolVersion": item.version}
            for item in card.interfaces
        ],
        "capabilities": {
            "extensions": [{"uri": EXTENSION, "description": "the agent's identity and audience", "params": told}]
        },
        "securitySchemes": {_SCHEME: {"httpAuthSecurityScheme": scheme}},
        "securityRequirements": [{"schemes": {_SCHEME: {"list": list(scopes)}}}],
        "defaultInputModes": ["text/plain", "application/json"],
        "defaultOutputModes": ["text/plain", "application/json"],
        "skills": [
            {"id": item.id, "name": item.name, "description": item.description, "tags": list(item.tags)}
            for item in card.skills
        ],
    }


def sign(members: Mapping[str, object], key: SigningKey, *, issuer: str, now: int, expires: int) -> bytes:
    """The card with its signature. Times in seconds since the epoch; they stand in the protected header."""
    header = {"alg": key.alg, "kid": key.kid, "typ": TYP, "iss": issuer, "iat": now, "exp": expires}
    protected = base64url.encode(dumps(header))
    payload = canonical_json.dumps(dict(members))
    if len(payload) > MAX_CARD:
        raise InvalidRequest("the card would be longer than 12 KiB", code="card_too_large")
    signed = f"{protected}.{base64url.encode(payload)}"
    signature = base64url.encode(key.sign(signed.encode("ascii")))
    return dumps({**members, "signatures": [{"protected": protected, "signature": signature}]})


def verify(raw: bytes, *, issuer: str, key_for: KeyFor, now: float) -> AgentMetadata:
    """The card in `raw`, if one of its signatures is by a key of `issuer` and holds at `now` (seconds).

    Keys are those of `key_for`: what a card names itself (`jku`, `jwk`, `x5c`) is never looked at. Raises
    InvalidToken: `card_unsigned`, `card_malformed`, and what the last signature was refused for.
    """
    if len(raw) > 2 * MAX_CARD:
        raise _malformed("it is longer than 24 KiB")
    members = loads(raw, refuse=_malformed)
    signatures = members.pop("signatures", None)
    if signatures is None or signatures == []:
        raise InvalidToken("the card is not signed", code="card_unsigned")
    if not isinstance(signatures, list) or len(signatures) > MAX_SIGNATURES:
        raise _malformed(f"signatures are a list of at most {MAX_SIGNATURES}")
    payload = base64url.encode(_canonical(members))
    refused: InvalidToken | None = None
    for entry in signatures:
        try:
            expires = _holds(entry, payload, issuer=issuer, key_for=key_for, now=now)
        except InvalidToken as error:
            refused = error
            continue
        return _read(members, issuer, expires)
    raise refused or _malformed("no signature")


def _canonical(members: dict[str, object]) -> bytes:
    try:
        return canonical_json.dumps(members)
    except InvalidRequest:
        raise _malformed("it has no canonical form") from None


def _holds(entry: object, payload: str, *, issuer: str, key_for: KeyFor, now: float) -> int | None:
    """Until when this signature holds, None where it does not say. Raises InvalidToken."""
    protected, signature = _member(entry, "protected"), _member(entry, "signature")
    token = f"{protected}.{payload}.{signature}"
    if jws.peek(token).typ != TYP.lower():
        raise InvalidToken("the signature is of another type", code="wrong_type")
    until: list[int | None] = []

    def key(header: jws.Header) -> VerifyingKey | None:
        found = key_for(header)
        until.append(found.sign_until if found is not None else None)
        return found

    jws.verify_payload(token, key_for=key)
    header = loads(base64url.decode(protected.encode("ascii")))
    if header.get("iss", issuer) != issuer:
        raise InvalidToken("the signature names another issuer", code="wrong_issuer")
    signed, expires = _moment(header, "iat"), _moment(header, "exp")
    if expires is not None and now >= expires:
        raise InvalidToken("the signature of the card has expired", code="token_expired")
    if signed is not None and until[0] is not None and signed > until[0]:
        raise InvalidToken("the key of the card signed no more by then", code="key_expired")
    return expires


def _read(members: Mapping[str, object], issuer: str, expires: int | None) -> AgentMetadata:
    interfaces = tuple(
        AgentInterface(
            url=_url(item), binding=_member(item, "protocolBinding"), version=_member(item, "protocolVersion")
        )
        for item in _list(members, "supportedInterfaces")
    )
    skills = tuple(
        AgentSkill(
            id=_member(item, "id"),
            name=_member(item, "name"),
            description=_member(item, "description"),
            tags=tuple(_short(tag) for tag in _list(item, "tags")),
        )
        for item in _list(members, "skills")
    )
    if not interfaces:
        raise _malformed("it names no interface")
    told = _extension(members)
    if told.get("issuer", issuer) != issuer:
        raise InvalidToken("the card tells of an agent of another issuer", code="wrong_issuer")
    return AgentMetadata(
        name=_member(members, "name"),
        description=_member(members, "description"),
        version=_member(members, "version"),
        issuer=issuer,
        interfaces=interfaces,
        skills=skills,
        agent=_short(told["agent"]) if "agent" in told else None,
        audience=_short(told["audience"]) if "audience" in told else None,
        expires=expires,
    )


def _extension(members: Mapping[str, object]) -> Mapping[str, object]:
    capabilities = members.get("capabilities")
    for item in _list(capabilities, "extensions") if isinstance(capabilities, dict) else ():
        if isinstance(item, dict) and item.get("uri") == EXTENSION and isinstance(item.get("params"), dict):
            return dict(item["params"])
    return {}


def _list(value: object, name: str) -> list[object]:
    found = value.get(name, []) if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) > _MAX_LIST:
        raise _malformed("a member is not the list that it should be")
    return found


def _member(value: object, name: str) -> str:
    return _short(value.get(name) if isinstance(value, dict) else None)


def _short(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise _malformed("a member is not the short text that it should be")
    return value


def _url(item: object) -> str:
    try:
        return check_url(_member(item, "url"))
    except InvalidToken:
        raise
    except InvalidRequest:
        raise _malformed("an interface is at an https URL") from None


def _moment(header: Mapping[str, object], name: str) -> int | None:
    value = header.get(name)
    if value is not None and type(value) is not int:
        raise _malformed("a time is a number of seconds")
    return value


def _malformed(reason: str) -> InvalidToken:
    return InvalidToken(f"not an agent card: {reason}", code="card_malformed")
