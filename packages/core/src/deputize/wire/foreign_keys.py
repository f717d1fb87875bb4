"""Keys of other issuers: more algorithms than we sign with, verified and never issued (RFC 7518 §3, RFC 8037).

One key has one algorithm here too: what its `alg` says, else what its type implies, which for RSA is RS256.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

from deputize.model.failure import InvalidToken
from deputize.wire import base64url
from deputize.wire.alg import ALGORITHMS, ED25519, EDDSA, VerifyingKey, ecdsa_check, rsa_check
from deputize.wire.jwk import parse_jwks, refuse_other_use, rsa_public_key, verifying_key
from deputize.wire.refusal import malformed, unsupported_key
from deputize.wire.thumbprint import thumbprint

_DIGESTS: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
# Curve -> algorithm, the curve's own object, bytes of a coordinate.
_CURVES: Final[Mapping[str, tuple[str, Callable[[], ec.EllipticCurve], int]]] = {
    "P-384": ("ES384", ec.SECP384R1, 48),
    "P-521": ("ES512", ec.SECP521R1, 66),
}
_RSA: Final = frozenset({"RS384", "RS512", "PS256", "PS384", "PS512"})
FOREIGN_ALGORITHMS: Final[frozenset[str]] = ALGORITHMS | _RSA | {"ES384", "ES512", ED25519}


def foreign_key(jwk: Mapping[str, object], *, uses: Collection[str] = frozenset({"sig"})) -> VerifyingKey:
    """The key that another issuer shows, under its `kid` or else its thumbprint.

    Raises InvalidToken (`unsupported_key`, or `malformed_token` for a member of the wrong form).
    """
    alg, curve = jwk.get("alg"), jwk.get("crv")
    if alg == ED25519:
        return verifying_key({**jwk, "alg": EDDSA}, uses=uses)
    if jwk.get("kty") == "EC" and isinstance(curve, str) and curve in _CURVES:
        refuse_other_use(jwk, uses)
        return _elliptic(jwk, curve)
    if jwk.get("kty") == "RSA" and isinstance(alg, str) and alg in _RSA:
        refuse_other_use(jwk, uses)
        return _rsa(jwk, alg)
    return verifying_key(jwk, uses=uses)


def parse_foreign_jwks(raw: bytes, *, uses: Collection[str] = frozenset({"sig"})) -> dict[str, VerifyingKey]:
    """The usable keys of another issuer's set by `kid`, within the limits of `parse_jwks`. Raises InvalidToken."""
    return parse_jwks(raw, uses=uses, read=foreign_key)


def _elliptic(jwk: Mapping[str, object], name: str) -> VerifyingKey:
    alg, curve, size = _CURVES[name]
    if jwk.get("alg", alg) != alg:
        raise unsupported_key("the key does not fit its algorithm")
    x, y = (int.from_bytes(base64url.decode_text(jwk.get(part), size=size), "big") for part in ("x", "y"))
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
    except ValueError:
        raise unsupported_key("the members do not make a public key") from None
    return VerifyingKey(_kid(jwk), alg, key, check=ecdsa_check(key, _DIGESTS[_size(alg)], size))


def _rsa(jwk: Mapping[str, object], alg: str) -> VerifyingKey:
    try:
        key = rsa_public_key(jwk)
    except InvalidToken:
        raise
    except ValueError:
        raise unsupported_key("the members do not make a public key") from None
    return VerifyingKey(_kid(jwk), alg, key, check=rsa_check(key, _scheme(alg), _DIGESTS[_size(alg)]))


def _size(alg: str) -> str:
    return alg[2:]


@functools.cache
def _scheme(alg: str) -> padding.AsymmetricPadding:
    """PSS salts are as long as the digest (RFC 7518 §3.5)."""
    if alg.startswith("RS"):
        return padding.PKCS1v15()
    digest = _DIGESTS[_size(alg)]
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def _kid(jwk: Mapping[str, object]) -> str:
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise malformed("a kid is text")
    return kid or thumbprint(jwk)
