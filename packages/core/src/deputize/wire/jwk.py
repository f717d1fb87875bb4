"""JWK and JWK sets: public signature keys of our three algorithms (RFC 7517, RFC 7518 §6, RFC 8037)."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from deputize.model.failure import InvalidToken
from deputize.wire import base64url
from deputize.wire.alg import EDDSA, ES256, RS256, RSA_BITS, VerifyingKey
from deputize.wire.json_strict import loads
from deputize.wire.refusal import malformed, unsupported_key
from deputize.wire.thumbprint import P256_BYTES, PublicKey, public_jwk, thumbprint

__all__ = ["parse_jwks", "public_jwk", "thumbprint", "verifying_key"]

MAX_JWKS: Final = 64 * 1024  # bytes
MAX_KEYS: Final = 128
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SIGNATURE_USE: Final = frozenset({"sig"})
_CURVES: Final[Mapping[tuple[object, object], str]] = {("EC", "P-256"): ES256, ("OKP", "Ed25519"): EDDSA}


def verifying_key(
    jwk: Mapping[str, object], *, alg: str | None = None, uses: Collection[str] = _SIGNATURE_USE
) -> VerifyingKey:
    """The key that `jwk` describes, under its `kid` or else its thumbprint.

    Private members are refused before anything is made of the rest. `alg`, where given, is the only one
    accepted; `use` must be one of `uses` where present, and `key_ops` must hold `verify` (RFC 7517 §4.2-4.3).
    Raises InvalidToken (`unsupported_key`, or `malformed_token` for a member of the wrong form).
    """
    refuse_other_use(jwk, uses)
    fits = _fitting_algorithm(jwk)
    if fits is None or jwk.get("alg", fits) != fits or alg not in {None, fits}:
        raise unsupported_key("the key is not one of ES256, EdDSA or RS256, or not of the one that was asked for")
    kid = jwk.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise malformed("a kid is text")
    return VerifyingKey(kid or thumbprint(jwk), fits, _public_key(jwk, fits))


def refuse_other_use(jwk: Mapping[str, object], uses: Collection[str] = _SIGNATURE_USE) -> None:
    """Refuse a key that shows a private member or is not for verifying signatures (RFC 7517 §4.2-4.3).

    A key that does not say its `use` is one for signatures at large, so that where only another use will do (SPIFFE
    bundles) it is none.
    """
    if not _PRIVATE.isdisjoint(jwk):
        raise unsupported_key("a key shows a private member")
    use = jwk.get("use", "sig")
    if not (isinstance(use, str) and use in uses):
        raise unsupported_key("the key is not for signatures")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise unsupported_key("the key is not for verifying")


def parse_jwks(
    raw: bytes,
    *,
    uses: Collection[str] = _SIGNATURE_USE,
    read: Callable[..., VerifyingKey] = verifying_key,
) -> dict[str, VerifyingKey]:
    """The usable keys of a JWK set by `kid`; `read` makes a key of one member, as `verifying_key` does.

    Keys of other types or uses are passed over (RFC 7517 §5); two usable keys with one `kid` are refused, and
    so is more than 64 KiB or 128 keys. Our own sets say `sign_until` (seconds), which other readers ignore.
    Raises InvalidToken.
    """
    if len(raw) > MAX_JWKS:
        raise malformed("a key set is too large")
    members = loads(raw).get("keys")
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise malformed("a key set has a list of at most 128 keys")
    found: dict[str, VerifyingKey] = {}
    for member in members:
        if not isinstance(member, dict):
            raise malformed("a key set holds objects")
        try:
            key = read(member, uses=uses)
        except InvalidToken:
            continue
        if key.kid in found:
            raise malformed("a key set names a kid twice")
        sign_until = member.get("sign_until")
        found[key.kid] = key.until(sign_until) if isinstance(sign_until, int) else key
    return found


def _fitting_algorithm(jwk: Mapping[str, object]) -> str | None:
    kty, curve = jwk.get("kty"), jwk.get("crv")
    if kty == "RSA":
        return RS256
    return _CURVES.get((kty, curve)) if isinstance(kty, str) and isinstance(curve, str) else None


def _public_key(jwk: Mapping[str, object], alg: str) -> PublicKey:
    try:
        if alg == ES256:
            x, y = (base64url.decode_text(jwk.get(name), size=P256_BYTES) for name in ("x", "y"))
            point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
            return point.public_key()
        if alg == EDDSA:
            return ed25519.Ed25519PublicKey.from_public_bytes(base64url.decode_text(jwk.get("x"), size=32))
        return rsa_public_key(jwk)
    except ValueError:
        raise unsupported_key("the members do not make a public key") from None


def rsa_public_key(jwk: Mapping[str, object]) -> rsa.RSAPublicKey:
    """The key of `n` and `e`; a huge one is refused before anything is computed. Raises ValueError, InvalidToken."""
    modulus, exponent = _unsigned(jwk.get("n")), _unsigned(jwk.get("e"))
    if modulus.bit_length() > RSA_BITS[1]:
        raise unsupported_key("an RSA key has 2048 to 4096 bits (RFC 7518 §3.3)")
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def _unsigned(member: object) -> int:
    raw = base64url.decode_text(member)
    if raw[:1] in {b"", b"\0"}:
        raise malformed("an integer of a key has no leading zero (RFC 7518 §2)")
    return int.from_bytes(raw, "big")
