"""JWT-SVIDs: how a workload of a SPIFFE trust domain shows its name (SPIFFE JWT-SVID §2-4, Trust Domain and Bundle §4).

The trust domain of `sub` selects the bundle whose keys may have signed; a bundle never signs for another domain.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deputize.model.failure import InvalidToken
from deputize.wire import base64url, jws
from deputize.wire.alg import ED25519, EDDSA, VerifyingKey
from deputize.wire.claims import moment, text
from deputize.wire.foreign_keys import FOREIGN_ALGORITHMS, foreign_key
from deputize.wire.refusal import EXPIRED, NOT_YET_VALID, WRONG_AUDIENCE, malformed, unsupported_key
from deputize.wire.thumbprint import public_jwk

SVID_USE: Final = "jwt-svid"  # what a bundle's key says that may sign here
_ALGORITHMS: Final[frozenset[str]] = FOREIGN_ALGORITHMS - {EDDSA, ED25519}
_TYPES: Final[Collection[str | None]] = (None, "jwt", "jose")
_ID = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)+)\Z")
_MAX_ID: Final = 2048  # bytes
_CURVES: Final[Mapping[str, str]] = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_DOTS: Final = frozenset({".", ".."})


@dataclass(frozen=True, slots=True, kw_only=True)
class SvidClaims:
    """A JWT-SVID that holds. Times are seconds since the epoch; `claims` has every claim, left out of `repr`."""

    sub: str
    aud: tuple[str, ...]
    iat: int | None
    exp: int
    jti: str | None
    claims: MappingProxyType[str, object] = field(repr=False)


def trust_domain_of(spiffe_id: object) -> str:
    """The trust domain of a workload's SPIFFE ID (SPIFFE-ID §2). Raises InvalidToken for what is none."""
    match = _ID.match(spiffe_id) if isinstance(spiffe_id, str) and len(spiffe_id) <= _MAX_ID else None
    if match is None or not _DOTS.isdisjoint(match[2].split("/")):
        raise malformed("a subject is no SPIFFE ID of a workload")
    return match[1]


def decode(
    token: str,
    *,
    trust_domain: str,
    audience: Collection[str],
    key_for: jws.KeyFor,
    now: float,
    leeway: float = 0,
) -> SvidClaims:
    """The claims of an SVID of `trust_domain` for one of `audience` and nobody else, valid at `now` (seconds).

    `key_for` looks in the bundle of that trust domain and nowhere else, at keys whose `use` is `SVID_USE`.
    Raises InvalidToken.
    """
    _, claims = jws.verify_foreign_with_header(
        token, typs=_TYPES, key_for=key_for, only_known=True, algorithms=_ALGORITHMS
    )
    if trust_domain_of(claims.get("sub")) != trust_domain:
        raise malformed("the subject is of another trust domain")
    aud = _audience(claims)
    if aud is None or isinstance(audience, str) or aud not in audience:
        raise InvalidToken("the token is for another audience, or for several", code=WRONG_AUDIENCE)
    exp = moment(claims, "exp")
    iat = moment(claims, "iat") if "iat" in claims else None
    begins = max(iat or 0, moment(claims, "nbf") if "nbf" in claims else 0)
    if now >= exp + leeway:
        raise InvalidToken("the token has expired", code=EXPIRED)
    if begins > now + leeway:
        raise InvalidToken("the token is not valid yet", code=NOT_YET_VALID)
    return SvidClaims(
        sub=text(claims, "sub"),
        aud=(aud,),
        iat=iat,
        exp=exp,
        jti=text(claims, "jti") if "jti" in claims else None,
        claims=MappingProxyType(claims),
    )


def _audience(claims: Mapping[str, object]) -> str | None:
    """The only audience, as text or in a list of one."""
    aud = claims.get("aud")
    only = aud[0] if isinstance(aud, list) and len(aud) == 1 else aud
    return only if isinstance(only, str) else None


def bundle_key(kid: str, key: object) -> VerifyingKey:
    """A key of a bundle that a library has parsed: EC by its curve, RSA for RS256. Raises InvalidToken."""
    members: dict[str, object] = {"kid": kid, "use": SVID_USE}
    if isinstance(key, ec.EllipticCurvePublicKey):
        point, size = key.public_numbers(), (key.key_size + 7) // 8
        x, y = (base64url.encode(part.to_bytes(size, "big")) for part in (point.x, point.y))
        curve = _CURVES.get(key.curve.name, "")
        return foreign_key({**members, "kty": "EC", "crv": curve, "x": x, "y": y}, uses={SVID_USE})
    if isinstance(key, rsa.RSAPublicKey):
        return foreign_key({**members, **public_jwk(key)}, uses={SVID_USE})
    raise unsupported_key("a bundle's keys are RSA and EC public keys")
