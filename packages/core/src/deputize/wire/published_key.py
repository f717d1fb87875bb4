"""A signing key as a store publishes it: what its holder proves of it, and what an anchor endorses."""

from typing import Final

from deputize.model.failure import DeputizeError
from deputize.wire.alg import VerifyingKey
from deputize.wire.json_strict import dumps, loads
from deputize.wire.jwk import verifying_key
from deputize.wire.thumbprint import thumbprint

_LABEL: Final = b"deputize key v1\n"


def statement(kid: str, alg: str, instance: str, sign_from: int, sign_until: int | None = None) -> bytes:
    """What is signed: by the key itself without `sign_until`, which a renewal moves; by an anchor with it."""
    body: dict[str, object] = {"alg": alg, "instance": instance, "kid": kid, "sign_from": sign_from}
    if sign_until is not None:
        body["sign_until"] = sign_until
    return _LABEL + dumps(body)


def proved_key(kid: str, jwk: object, instance: str, sign_from: int, proof: object) -> VerifyingKey | None:
    """The key of a published row, or None where the row does not hold.

    It counts only if the key is well formed, the row is named by its RFC 7638 thumbprint, and the holder of the
    private half signed the row: what a stranger wrote down for somebody else's key, or half of it, is no key.
    """
    if not isinstance(jwk, bytes) or not isinstance(proof, bytes):
        return None
    try:
        members = loads(jwk)
        key = verifying_key(members)
        named = thumbprint(members)
        signed = statement(kid, key.alg, instance, sign_from)
    except DeputizeError:
        return None
    return key if kid == key.kid == named and key.verify(proof, signed) else None
