"""Public keys as JWK members and the names made from them (RFC 7517, RFC 7638, RFC 8037)."""

import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from deputize.wire import base64url
from deputize.wire.json_strict import dumps
from deputize.wire.refusal import unsupported_key

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

P256_BYTES: Final = 32
# What identifies a key, in the order that RFC 7638 §3.2 hashes it.
REQUIRED_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}


def public_jwk(key: PublicKey) -> dict[str, str]:
    """The members that identify `key`, and no other. Raises InvalidToken (`unsupported_key`)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1):
            raise unsupported_key("the one elliptic curve for ECDSA is P-256")
        point = key.public_numbers()
        x, y = (base64url.encode(part.to_bytes(P256_BYTES, "big")) for part in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(key.public_bytes_raw())}
    numbers = key.public_numbers()
    return {"kty": "RSA", "n": _unsigned(numbers.n), "e": _unsigned(numbers.e)}


def thumbprint(jwk: Mapping[str, object]) -> str:
    """base64url(SHA-256) of the required members (RFC 7638 §3). Raises InvalidToken (`unsupported_key`)."""
    members = REQUIRED_MEMBERS.get(str(jwk.get("kty")))
    if members is None:
        raise unsupported_key("a key is of type EC, OKP or RSA")
    found = {name: jwk.get(name) for name in members}
    if not all(isinstance(value, str) and value.isascii() for value in found.values()):
        raise unsupported_key("a key lacks a member that its type requires")
    return base64url.encode(hashlib.sha256(dumps(found)).digest())


def _unsigned(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
