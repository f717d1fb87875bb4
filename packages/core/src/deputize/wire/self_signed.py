"""What client and subject assertions share: short, for the authority alone, signed by the key of an identity.

Both are read with the key that the signer's identity confirms; `iss` finds no key (RFC 7523 §3,
draft-ietf-oauth-rfc7523bis §4).
"""

import math
import secrets
from collections.abc import Mapping
from typing import Final

from deputize.model.failure import InvalidToken
from deputize.wire import base64url, jws
from deputize.wire.alg import SigningKey, VerifyingKey
from deputize.wire.claims import check_audience, check_issuer, moment, text
from deputize.wire.refusal import EXPIRED, NOT_YET_VALID, malformed

LIFETIME: Final = 60  # seconds
SKEW: Final = 5  # seconds that the signer's clock may be ahead
MAX_JTI: Final = 128  # characters
_JTI_BYTES: Final = 16
_REFUSED_MEMBERS: Final = frozenset({"act", "may_act", "cnf", "scope", "sid"})


def encode(typ: str, key: SigningKey, *, iss: str, sub: str, aud: str, now: float, jti: str | None = None) -> str:
    """A fresh assertion, good for a minute."""
    iat = math.floor(now)
    claims: dict[str, object] = {
        "iss": iss,
        "sub": sub,
        "aud": aud,
        "jti": jti or base64url.encode(secrets.token_bytes(_JTI_BYTES)),
        "iat": iat,
        "exp": iat + LIFETIME,
    }
    return jws.sign(typ, claims, key)


def decode(token: str, *, typ: str, iss: str, audience: str, key: VerifyingKey, now: float) -> dict[str, object]:
    """The claims, with `sub`, `jti` and `exp` of the right form. Raises InvalidToken.

    Longer than a minute ahead, for an audience beside ours, or with a claim that belongs to a delegation: refused.
    """

    def only(header: jws.Header) -> VerifyingKey | None:
        return key if header.kid in {None, key.kid} else None

    claims = jws.verify_foreign(token, typs={typ}, key_for=only, only_known=True)
    check_issuer(claims, iss)
    check_audience(claims, audience, several=False)
    _check_times(claims, now)
    text(claims, "sub")
    if len(text(claims, "jti")) > MAX_JTI:
        raise malformed("the jti of an assertion is too long")
    if not _REFUSED_MEMBERS.isdisjoint(claims):
        raise malformed("an assertion says who and to whom, and nothing of a delegation")
    return claims


def _check_times(claims: Mapping[str, object], now: float) -> None:
    exp = moment(claims, "exp")
    iat = moment(claims, "iat") if "iat" in claims else math.floor(now)
    begins = max(iat, moment(claims, "nbf")) if "nbf" in claims else iat
    if now >= exp or iat < now - LIFETIME - SKEW:
        raise InvalidToken("the assertion has expired", code=EXPIRED)
    if exp > now + LIFETIME + SKEW:
        raise malformed("an assertion is good for a minute at most")
    if begins > now + SKEW:
        raise InvalidToken("the assertion is not valid yet", code=NOT_YET_VALID)
