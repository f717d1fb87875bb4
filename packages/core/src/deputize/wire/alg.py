"""The three signature algorithms, with the keys that belong to each (RFC 7518 §3.3-3.4, RFC 8037 §3.1).

The table is ours: a library's default table holds `none`, HMAC and curves that we never asked for.
"""

import functools
from collections.abc import Callable
from typing import Final, Literal, NoReturn, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from deputize.model.failure import InvalidRequest
from deputize.wire.refusal import unsupported_key
from deputize.wire.thumbprint import P256_BYTES, PublicKey, public_jwk, thumbprint

Algorithm = Literal["ES256", "EdDSA", "RS256"]
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Check = Callable[[bytes, bytes], bool]

ES256: Final = "ES256"
EDDSA: Final = "EdDSA"
ED25519: Final = "Ed25519"  # what RFC 9864 calls EdDSA with this curve; some issuers do, we never
RS256: Final = "RS256"
ALGORITHMS: Final[frozenset[str]] = frozenset({ES256, EDDSA, RS256})
RSA_BITS: Final = (2048, 4096)
RSA_EXPONENT: Final = (
    65537,
    2**32,
)  # NIST SP 800-56B §6.2 asks for 65537 at least; larger ones only cost time

_SHA256: Final = hashes.SHA256()
_ECDSA: Final = ec.ECDSA(_SHA256)
_PKCS1: Final = padding.PKCS1v15()


class SigningKey(Protocol):
    """Something that signs under a name. The key itself may live anywhere."""

    @property
    def kid(self) -> str:
        """The name that verifiers find the public key by."""
        ...

    @property
    def alg(self) -> str:
        """One of `ALGORITHMS`."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The JWS signature of `data`."""
        ...


class ProofKey(SigningKey, Protocol):
    """A signing key that can show its public half, as a proof of possession must."""

    def public_jwk(self) -> dict[str, str]:
        """The public members with `alg`."""
        ...


class VerifyingKey:
    """A public key with the one algorithm that it is used for. Raises InvalidToken (`unsupported_key`).

    `sign_until` (seconds since the epoch, None: no end) is the last `iat` that it is believed for. `check` is how
    an algorithm that is not ours is verified (`deputize.wire.foreign_keys`).
    """

    __slots__ = ("_check", "alg", "key", "kid", "sign_until")

    def __init__(
        self, kid: str, alg: str, key: PublicKey, sign_until: int | None = None, *, check: Check | None = None
    ) -> None:
        self.kid = kid
        self.alg = alg
        self.key = key
        self.sign_until = sign_until
        self._check = check or _checker(alg, key)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` is one of `data` by this key. Never raises for any bytes."""
        return self._check(signature, data)

    def until(self, sign_until: int) -> "VerifyingKey":
        """The same key, believed for tokens up to `sign_until`."""
        return VerifyingKey(self.kid, self.alg, self.key, sign_until, check=self._check)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.kid!r}, {self.alg})"


class LocalKey:
    """A private key that lives in this process and nowhere else. `kid` is its RFC 7638 thumbprint."""

    __slots__ = ("_sign", "alg", "kid", "public")

    def __init__(self, alg: str, key: PrivateKey) -> None:
        self._sign = _signer(alg, key)
        public = key.public_key()
        self.alg = alg
        self.kid = thumbprint(public_jwk(public))
        self.public = VerifyingKey(self.kid, alg, public)

    def sign(self, data: bytes) -> bytes:
        """The JWS signature of `data`."""
        return self._sign(data)

    def public_jwk(self) -> dict[str, str]:
        """The public members with `alg`, as a confirmation (RFC 7800 §3.2) or a key set shows them."""
        return {**public_jwk(self.public.key), "alg": self.alg}

    def __repr__(self) -> str:
        return f"LocalKey({self.kid!r}, {self.alg})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key does not leave its process")


def generate(alg: str = ES256) -> LocalKey:
    """A fresh key in memory. Raises InvalidRequest for an algorithm that is not ours."""
    if alg == ES256:
        return LocalKey(alg, ec.generate_private_key(ec.SECP256R1()))
    if alg == EDDSA:
        return LocalKey(alg, ed25519.Ed25519PrivateKey.generate())
    if alg == RS256:
        return LocalKey(alg, rsa.generate_private_key(public_exponent=RSA_EXPONENT[0], key_size=RSA_BITS[0]))
    raise InvalidRequest("an algorithm is ES256, EdDSA or RS256")


def _checker(alg: str, key: PublicKey) -> Check:
    if alg == ES256 and isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return ecdsa_check(key, _SHA256, P256_BYTES)
    if alg == EDDSA and isinstance(key, ed25519.Ed25519PublicKey):
        return _check_eddsa(key)
    if alg == RS256 and isinstance(key, rsa.RSAPublicKey):
        return rsa_check(key, _PKCS1, _SHA256)
    raise unsupported_key("the key does not fit its algorithm")


def ecdsa_check(key: ec.EllipticCurvePublicKey, digest: hashes.HashAlgorithm, size: int) -> Check:
    """How an ECDSA signature is verified: two integers of `size` bytes each (RFC 7518 §3.4)."""
    integer, scheme = int.from_bytes, ec.ECDSA(digest)

    def check(signature: bytes, data: bytes) -> bool:
        if len(signature) != 2 * size:
            return False
        r, s = integer(signature[:size], "big"), integer(signature[size:], "big")
        try:
            key.verify(encode_dss_signature(r, s), data, scheme)
        except InvalidSignature:
            return False
        return True

    return check


def _check_eddsa(key: ed25519.Ed25519PublicKey) -> Check:
    def check(signature: bytes, data: bytes) -> bool:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return check


def rsa_check(key: rsa.RSAPublicKey, scheme: padding.AsymmetricPadding, digest: hashes.HashAlgorithm) -> Check:
    """How an RSA signature is verified. Raises InvalidToken (`unsupported_key`) for a key of an unsafe size."""
    if not RSA_BITS[0] <= key.key_size <= RSA_BITS[1]:
        raise unsupported_key("an RSA key has 2048 to 4096 bits (RFC 7518 §3.3)")
    if not RSA_EXPONENT[0] <= key.public_numbers().e < RSA_EXPONENT[1]:
        raise unsupported_key("an RSA exponent is 65537 or a little larger")

    def check(signature: bytes, data: bytes) -> bool:
        try:
            key.verify(signature, data, scheme, digest)
        except InvalidSignature:
            return False
        return True

    return check


def _signer(alg: str, key: PrivateKey) -> Callable[[bytes], bytes]:
    if alg == ES256 and isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return functools.partial(_sign_es256, key)
    if alg == EDDSA and isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    if alg == RS256 and isinstance(key, rsa.RSAPrivateKey):
        return functools.partial(_sign_rs256, key)
    raise unsupported_key("the key does not fit its algorithm")


def _sign_es256(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, _deterministic()))
    return r.to_bytes(P256_BYTES, "big") + s.to_bytes(P256_BYTES, "big")


def _sign_rs256(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    return key.sign(data, _PKCS1, _SHA256)


@functools.cache
def _deterministic() -> ec.ECDSA:
    """RFC 6979 nonces where OpenSSL has them (3.2 on), so that a weak random source cannot leak the key."""
    try:
        return ec.ECDSA(_SHA256, deterministic_signing=True)
    except UnsupportedAlgorithm:
        return _ECDSA
