"""Identity tokens: who a key belongs to. Never a bearer (draft-ietf-wimse-workload-creds; RFC 7800 §3.2)."""

from typing import Final

from deputize.model.token import CONTEXT_CLAIM, IDENTITY_TYP, IdentityClaims, IdentityContext
from deputize.wire import jws
from deputize.wire.alg import SigningKey
from deputize.wire.claims import THUMBPRINT, check_issuer, check_times, text
from deputize.wire.jwk import verifying_key
from deputize.wire.refusal import malformed

_MEMBERS: Final = {"workload", "method", "attested", "rec"}


def encode(claims: IdentityClaims, key: SigningKey) -> str:
    """Signed as `wit+jwt`. Raises InvalidRequest above 8 KiB."""
    content = {
        "iss": claims.iss,
        "sub": claims.sub,
        "jti": claims.jti,
        "iat": claims.iat,
        "exp": claims.exp,
        "cnf": {"jwk": dict(claims.jwk)},
        **({CONTEXT_CLAIM: _packed(claims.context)} if claims.context is not None else {}),
    }
    return jws.sign(IDENTITY_TYP, content, key)


_OF_OTHERS = frozenset({"aud", "act", "may_act", "scope", "sid"})


def decode(token: str, *, issuer: str, key_for: jws.KeyFor, now: float, leeway: float = 0) -> IdentityClaims:
    """The claims of an identity of `issuer` that is valid at `now` (seconds). Raises InvalidToken."""
    claims, key = jws.verify_with_key(token, typ=IDENTITY_TYP, key_for=key_for)
    check_issuer(claims, issuer)
    if not _OF_OTHERS.isdisjoint(claims):
        raise malformed("an identity is for no audience, and tells of no delegation")
    iat, exp = check_times(claims, key, now=now, leeway=leeway)
    return IdentityClaims(
        iss=issuer,
        sub=text(claims, "sub"),
        jti=text(claims, "jti"),
        iat=iat,
        exp=exp,
        jwk=_confirmed_key(claims),
        context=_context(claims),
    )


def _packed(context: IdentityContext) -> dict[str, object]:
    return {
        "workload": context.workload,
        "method": context.method,
        "attested": context.attested,
        "rec": context.rec,
    }


def _context(claims: dict[str, object]) -> IdentityContext | None:
    """Exactly its four members. Earlier versions wrote `rec` alone, or no context: there is nothing to know then."""
    if CONTEXT_CLAIM not in claims:
        return None
    context = claims[CONTEXT_CLAIM]
    if not isinstance(context, dict) or context.keys() not in (_MEMBERS, {"rec"}):
        raise malformed("the context claim of an identity has another form")
    rec = text(context, "rec")
    if not THUMBPRINT.match(rec):
        raise malformed("the context claim of an identity has another form")
    if context.keys() == {"rec"}:
        return None
    attested = context["attested"]
    if type(attested) is not int or attested < 0:
        raise malformed("the context claim of an identity has another form")
    return IdentityContext(
        workload=text(context, "workload"), method=text(context, "method"), attested=attested, rec=rec
    )


def _confirmed_key(claims: dict[str, object]) -> dict[str, str]:
    cnf = claims.get("cnf")
    jwk = cnf.get("jwk") if isinstance(cnf, dict) and cnf.keys() == {"jwk"} else None
    if not isinstance(jwk, dict) or "alg" not in jwk:
        raise malformed("an identity confirms one key, with its alg")
    verifying_key(jwk)
    return {name: text(jwk, name) for name in jwk}
