"""Client authentication by a signed assertion, `private_key_jwt` (RFC 7523 §2.2, §3; draft-ietf-oauth-rfc7523bis).

The key is that of the client's identity, which comes along in the form: so an authority that has never met the client
can check both, and stores neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.token import CLIENT_ASSERTION_TYP, ClientAssertion
from deputize.wire import self_signed
from deputize.wire.alg import SigningKey, VerifyingKey
from deputize.wire.claims import moment, text
from deputize.wire.refusal import malformed

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
IDENTITY_FIELD: Final = "deputize_identity"
INVALID_CLIENT: Final = "invalid_client"
_TYPE_FIELD: Final = "client_assertion_type"
_ASSERTION_FIELD: Final = "client_assertion"
_FIELDS: Final = frozenset({_TYPE_FIELD, _ASSERTION_FIELD, IDENTITY_FIELD, "client_id", "client_secret"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a request authenticates its client with. `client_id` where the form states it too."""

    assertion: str = field(repr=False)
    identity: str = field(repr=False)
    client_id: str | None = None


def encode(key: SigningKey, *, client_id: str, issuer: str, now: float, jti: str | None = None) -> str:
    """For one request to `issuer`, good for a minute. `client_id` is the `sub` of the identity over `key`."""
    return self_signed.encode(CLIENT_ASSERTION_TYP, key, iss=client_id, sub=client_id, aud=issuer, now=now, jti=jti)


def decode(token: str, *, client_id: str, issuer: str, key: VerifyingKey, now: float) -> ClientAssertion:
    """The assertion of `client_id`, whose identity confirms `key`, at `now` (seconds). Raises InvalidToken.

    `aud` is the issuer as a sole text: the URL of an endpoint, and a list, are refused. Whoever accepts it spends
    (client, `jti`) until `exp`.
    """
    claims = self_signed.decode(token, typ=CLIENT_ASSERTION_TYP, iss=client_id, audience=issuer, key=key, now=now)
    if text(claims, "sub") != client_id:
        raise malformed("a client asserts itself: sub is iss")
    return ClientAssertion(client_id=client_id, jti=text(claims, "jti"), exp=moment(claims, "exp"))


def build_fields(credentials: Credentials) -> list[tuple[str, str]]:
    """The fields of the form that authenticate its sender."""
    return [
        *([("client_id", credentials.client_id)] if credentials.client_id is not None else []),
        (_TYPE_FIELD, ASSERTION_TYPE),
        (_ASSERTION_FIELD, credentials.assertion),
        (IDENTITY_FIELD, credentials.identity),
    ]


def credentials(items: Sequence[tuple[str, str]], *, authorization: str | None = None) -> Credentials:
    """The one authentication method of a request (RFC 6749 §2.3; RFC 7523 §3.1).

    `authorization` is the value of that header, if any. Raises InvalidRequest for two methods or a field that comes
    twice, InvalidToken (`invalid_client`) where there is none or not ours.
    """
    stated = [(name, value) for name, value in items if name in _FIELDS and value]
    fields = dict(stated)
    if len(fields) != len(stated):
        raise InvalidRequest("a parameter is given twice")
    ours = {_TYPE_FIELD, _ASSERTION_FIELD, IDENTITY_FIELD} & fields.keys()
    methods = [bool(ours), "client_secret" in fields, authorization is not None]
    if sum(methods) > 1:
        raise InvalidRequest("a request authenticates its client in one way (RFC 6749 §2.3)")
    if len(ours) != len({_TYPE_FIELD, _ASSERTION_FIELD, IDENTITY_FIELD}) or fields[_TYPE_FIELD] != ASSERTION_TYPE:
        raise InvalidToken("the client did not authenticate", code=INVALID_CLIENT)
    return Credentials(
        assertion=fields[_ASSERTION_FIELD], identity=fields[IDENTITY_FIELD], client_id=fields.get("client_id")
    )
