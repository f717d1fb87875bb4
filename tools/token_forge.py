"""What the token vectors are made with: fixed keys, and tokens spelled byte by byte.

TEST KEYS. Everybody knows them. They sign the examples of docs/formats and nothing else, ever.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deputize.wire.alg import EDDSA, ES256, RS256, LocalKey

P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF: Final = 32  # bytes of each half of an ES256 signature
# Scalars and seeds in plain sight, so that nobody takes them for secrets.
_ISSUER: Final = int.from_bytes(b"deputize test vector issuer key.")
_RETIRED: Final = int.from_bytes(b"deputize test vector retired key")
_HOLDER: Final = int.from_bytes(b"deputize test vector holder key.")
_STRANGER: Final = int.from_bytes(b"deputize test vector stranger k.")
_ED25519: Final = b"deputize test vector ed25519 key"
_P: Final = int(
    "e9b22f0571a4dab010354c9cd8c172aed0ae772e5b5ccfdb2b30ee382849c3f6f0a94d4d5f5a7128deff05a0e6cdedc247d7"
    "b3db5c171cb832d424099f649c0b0734e733204b4f42761c8c0b14a84c0fb560107b067b86253fd31d2d6a42bf483eb35b29"
    "dd8ede660ed3279bc9c6c869db07751fb82cf6b50d1dabcb0f2c3c47",
    16,
)
_Q: Final = int(
    "d08caa96f6bcc873b3711cb07c6231b939e3e84f315a407404dfb537fb3d923a740a66804055a06db9073ee5d99a87eca075"
    "299267c86c60ecbf177e8319346c108670a0e33323d019f9337b97be86c50858b7dd18431a2bef4fff5eabb44b5838853963"
    "fcf2968c8dfb7d3f28e38093591a87e64cc1aa5fc2cf9cac5b325279",
    16,
)

Sign = Callable[[bytes], bytes]


def _p256(scalar: int) -> LocalKey:
    return LocalKey(ES256, ec.derive_private_key(scalar, ec.SECP256R1()))


def _rsa() -> LocalKey:
    e, phi = 65537, (_P - 1) * (_Q - 1)
    d = pow(e, -1, phi)
    numbers = rsa.RSAPrivateNumbers(
        p=_P,
        q=_Q,
        d=d,
        dmp1=rsa.rsa_crt_dmp1(d, _P),
        dmq1=rsa.rsa_crt_dmq1(d, _Q),
        iqmp=rsa.rsa_crt_iqmp(_P, _Q),
        public_numbers=rsa.RSAPublicNumbers(e, _P * _Q),
    )
    return LocalKey(RS256, numbers.private_key())


@dataclass(frozen=True, slots=True)
class Keys:
    """`issuer`, `eddsa` and `rsa` are published and current, `retired` is published and signs no more.

    `holder` is the key that tokens are bound to; nobody publishes `stranger`.
    """

    issuer: LocalKey
    eddsa: LocalKey
    rsa: LocalKey
    retired: LocalKey
    holder: LocalKey
    stranger: LocalKey


KEYS: Final = Keys(
    issuer=_p256(_ISSUER),
    eddsa=LocalKey(EDDSA, Ed25519PrivateKey.from_private_bytes(_ED25519)),
    rsa=_rsa(),
    retired=_p256(_RETIRED),
    holder=_p256(_HOLDER),
    stranger=_p256(_STRANGER),
)


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def unb64(text: str) -> bytes:
    """Undoes `b64`."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(value: object) -> bytes:
    """JSON as the tokens have it: no spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def header(typ: str, key: LocalKey = KEYS.issuer) -> dict[str, object]:
    """The header of a token that `key` signs."""
    return {"alg": key.alg, "kid": key.kid, "typ": typ}


def proof_header(key: LocalKey = KEYS.holder) -> dict[str, object]:
    """The header of a proof by `key`."""
    return {"typ": "dpop+jwt", "alg": key.alg, "jwk": public(key)}


def public(key: LocalKey) -> dict[str, object]:
    """The public members, without `alg`."""
    return {name: value for name, value in key.public_jwk().items() if name != "alg"}


def spelled(head: bytes, payload: bytes, sign: Sign) -> str:
    """Any bytes as header and payload, signed."""
    signed = f"{b64(head)}.{b64(payload)}"
    return f"{signed}.{b64(sign(signed.encode('ascii')))}"


def token(head: Mapping[str, object], claims: object, sign: Sign = KEYS.issuer.sign) -> str:
    """A header and claims, signed."""
    return spelled(compact(head), compact(claims), sign)


def other_half(signed: str) -> str:
    """The same token with the other valid ES256 signature: (r, n - s)."""
    front, _, signature = signed.rpartition(".")
    raw = unb64(signature)
    s = P256_ORDER - int.from_bytes(raw[_HALF:])
    return f"{front}.{b64(raw[:_HALF] + s.to_bytes(_HALF))}"


def without(claims: Mapping[str, object], *names: str) -> dict[str, object]:
    """`claims` less some members."""
    return {name: value for name, value in claims.items() if name not in names}
