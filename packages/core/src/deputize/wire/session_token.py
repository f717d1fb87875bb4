"""Session tokens: accepted by the authority alone, from the holder of one key (RFC 8693 §3, RFC 7800)."""

from deputize.model.token import CONTEXT_CLAIM, SESSION_TYP, SessionClaims
from deputize.wire import jws
from deputize.wire.alg import SigningKey
from deputize.wire.claims import (
    check_audience,
    confirmation,
    may_act,
    nested_act,
    packed_context,
    position,
    sign_in_claims,
)


def encode(claims: SessionClaims, key: SigningKey) -> str:
    """Signed as `vnd.deputize.session+jwt`, for its own issuer. Raises InvalidRequest above 8 KiB."""
    content: dict[str, object] = {
        "iss": claims.iss,
        "aud": claims.iss,
        "sub": claims.sub,
        "client_id": claims.client_id,
        **({"act": nested_act(claims.chain)} if claims.chain else {}),
        **sign_in_claims(claims.sign_in),
        "jti": claims.jti,
        "iat": claims.iat,
        "exp": claims.exp,
        "sid": claims.sid,
        "txn": claims.txn,
        "cnf": {"jkt": claims.jkt},
        **({"may_act": {"sub": claims.may_act}} if claims.may_act is not None else {}),
        CONTEXT_CLAIM: packed_context(claims.context),
    }
    return jws.sign(SESSION_TYP, content, key)


def decode(token: str, *, issuer: str, key_for: jws.KeyFor, now: float, leeway: float = 0) -> SessionClaims:
    """The claims of a session token of `issuer` that is valid at `now` (seconds). Raises InvalidToken."""
    claims, key = jws.verify_with_key(token, typ=SESSION_TYP, key_for=key_for)
    check_audience(claims, issuer, several=False)
    found = position(claims, key, issuer=issuer, now=now, leeway=leeway)
    return SessionClaims(
        iss=issuer,
        sub=found.sub,
        client_id=found.client_id,
        chain=found.chain,
        jti=found.jti,
        iat=found.iat,
        exp=found.exp,
        sid=found.sid,
        txn=found.txn,
        jkt=confirmation(claims),
        context=found.context,
        may_act=may_act(claims, issuer),
        sign_in=found.sign_in,
    )
