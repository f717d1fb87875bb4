"""Tokens of other issuers: ID tokens, access tokens, workload evidence (RFC 7519, RFC 8725, OpenID Connect Core §2).

What they say in their own words stays in `claims`; here is only what every one of them must say.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from deputize.model.failure import InvalidToken
from deputize.wire import jws
from deputize.wire.claims import check_issuer, moment, text
from deputize.wire.foreign_keys import FOREIGN_ALGORITHMS
from deputize.wire.refusal import EXPIRED, NOT_YET_VALID, WRONG_AUDIENCE, malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignClaims:
    """A foreign token that holds. Times are seconds since the epoch; `typ` is lower case without `application/`.

    `claims` has every claim as the issuer wrote it, also those that stand here by name. It is left out of `repr`.
    """

    iss: str
    sub: str
    aud: tuple[str, ...]
    iat: int | None
    exp: int
    jti: str | None
    typ: str | None
    claims: Mapping[str, object] = field(repr=False)


def decode(
    token: str,
    *,
    issuer: str,
    audience: Collection[str],
    key_for: jws.KeyFor,
    now: float,
    leeway: float,
    types: Collection[str | None],
    require_iat: bool = True,
    only_known: bool = False,
) -> ForeignClaims:
    """The claims of a token of `issuer`, for one of `audience`, that is valid at `now` (seconds).

    `types` are the accepted `typ` in lower case without `application/`, None for an absent one. Key hints in the
    header (`jku`, `x5u`, `x5c`, `jwk`) are never looked at: the keys are those of `key_for` (RFC 8725 §3.10).
    `require_iat` False is for kinds that may leave it out, and `only_known` for those whose header has nothing but
    alg, kid and typ (JWT-SVID §2). Raises InvalidToken: what `jws.verify` does, `wrong_issuer`, `wrong_audience`,
    `token_expired`, `not_yet_valid`.
    """
    header, claims = jws.verify_foreign_with_header(
        token, typs=types, key_for=key_for, only_known=only_known, algorithms=FOREIGN_ALGORITHMS
    )
    check_issuer(claims, issuer)
    found = _audience(claims)
    if isinstance(audience, str) or not set(audience) & set(found):
        raise InvalidToken("the token is for another audience", code=WRONG_AUDIENCE)
    iat, exp = _times(claims, now=now, leeway=leeway, require_iat=require_iat)
    return ForeignClaims(
        iss=issuer,
        sub=text(claims, "sub"),
        aud=found,
        iat=iat,
        exp=exp,
        jti=text(claims, "jti") if "jti" in claims else None,
        typ=header.typ,
        claims=MappingProxyType(claims),
    )


def claimed_issuer(token: str) -> str:
    """Whose token it says it is, unverified: to find the rule for it, never to find keys. Raises InvalidToken."""
    return text(jws.unverified_claims(token), "iss")


def _audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    """One text or a list of them (RFC 7519 §4.1.3); what is neither is for nobody."""
    stated = claims.get("aud")
    if isinstance(stated, str):
        return (stated,)
    if isinstance(stated, list) and all(isinstance(item, str) for item in stated):
        return tuple(stated)
    raise InvalidToken("the token names no audience", code=WRONG_AUDIENCE)


def _times(claims: Mapping[str, object], *, now: float, leeway: float, require_iat: bool) -> tuple[int | None, int]:
    exp = moment(claims, "exp")
    iat = moment(claims, "iat") if require_iat or "iat" in claims else None
    begins = max(iat if iat is not None else 0, moment(claims, "nbf") if "nbf" in claims else 0)
    if now >= exp + leeway:
        raise InvalidToken("the token has expired", code=EXPIRED)
    if begins > now + leeway:
        raise InvalidToken("the token is not valid yet", code=NOT_YET_VALID)
    if iat is not None and exp <= iat:
        raise malformed("the token ends before it begins")
    return iat, exp
