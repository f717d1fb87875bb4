"""Access tokens: one resource, the scopes of one operation (RFC 9068, RFC 8693 §4, RFC 9449 §6.1)."""

import functools
from typing import NamedTuple

from deputize.model.failure import InvalidRequest
from deputize.model.resource import parse_scope
from deputize.model.token import ACCESS_TYP, CONTEXT_CLAIM, AccessClaims
from deputize.wire import jws
from deputize.wire.alg import SigningKey, VerifyingKey
from deputize.wire.claims import (
    Position,
    check_audience,
    confirmation,
    nested_act,
    packed_context,
    position,
    sign_in_claims,
    text,
)
from deputize.wire.refusal import malformed


def encode(claims: AccessClaims, key: SigningKey) -> str:
    """Signed as `at+jwt`. Raises InvalidRequest above 8 KiB."""
    content: dict[str, object] = {
        "iss": claims.iss,
        "aud": claims.aud,
        "sub": claims.sub,
        "client_id": claims.client_id,
        **({"act": nested_act(claims.chain)} if claims.chain else {}),
        **sign_in_claims(claims.sign_in),
        "scope": " ".join(claims.scope),
        "jti": claims.jti,
        "iat": claims.iat,
        "exp": claims.exp,
        "sid": claims.sid,
        "txn": claims.txn,
        **({"cnf": {"jkt": claims.jkt}} if claims.jkt is not None else {}),
        CONTEXT_CLAIM: packed_context(claims.context),
    }
    return jws.sign(ACCESS_TYP, content, key)


def decode(
    token: str, *, issuer: str, audience: str | None, key_for: jws.KeyFor, now: float, leeway: float = 0
) -> AccessClaims:
    """The claims of an access token of `issuer` for `audience` that is valid at `now` (seconds).

    `audience` None is for the authority alone, which looks at tokens for anybody: the one that it is for.
    `cnf` is read, not proved: the caller checks the proof (`deputize.wire.dpop`). Raises InvalidToken.
    """
    found = read(token, issuer=issuer, audience=audience, key_for=key_for, now=now, leeway=leeway)
    where = found.position
    return AccessClaims(
        iss=issuer,
        aud=found.aud,
        sub=where.sub,
        client_id=where.client_id,
        chain=where.chain,
        scope=found.scope,
        jti=where.jti,
        iat=where.iat,
        exp=where.exp,
        sid=where.sid,
        txn=where.txn,
        jkt=found.jkt,
        context=where.context,
        sign_in=where.sign_in,
    )


class Read(NamedTuple):
    """An access token that holds, in the parts that a verifier works on, with the key that signed it."""

    aud: str
    scope: tuple[str, ...]
    jkt: str | None
    position: Position
    key: VerifyingKey


def read(token: str, *, issuer: str, audience: str | None, key_for: jws.KeyFor, now: float, leeway: float) -> Read:
    """Like `decode`, which only puts it into another form: a resource server does this for every request."""
    claims, key = jws.verify_with_key(token, typ=ACCESS_TYP, key_for=key_for)
    where = position(claims, key, issuer=issuer, now=now, leeway=leeway)
    if audience is None:
        audience = text(claims, "aud")
    else:
        check_audience(claims, audience, several=True)
    jkt = confirmation(claims) if "cnf" in claims else None
    return Read(audience, _scopes(text(claims, "scope")), jkt, where, key)


@functools.lru_cache(maxsize=1024)
def _scopes(scope: str) -> tuple[str, ...]:
    """Space-separated text (RFC 8693 §4.2), without repetition."""
    try:
        return parse_scope(scope)
    except InvalidRequest:
        raise malformed("the scope claim does not have its form") from None
