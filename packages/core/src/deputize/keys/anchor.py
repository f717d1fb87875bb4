"""The anchor: what makes a signing key one of ours (SEMANTICS, "Keys, identities, trust root")."""

import base64
import binascii
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NoReturn, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from deputize.model.failure import ConfigurationError

VARIABLE: Final = "DEPUTIZE_ANCHOR"

_BYTES: Final = 32
_HEX = re.compile(r"[0-9A-Fa-f]{64}\Z")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}=?\Z")
_DISTINCT: Final = 8  # fewer different bytes in a seed are no chance, but something that a person typed
# RFC 5869 §3.2: each use of the seed has an `info` of its own, so that no key tells anything of another.
_ENDORSEMENT: Final = b"deputize anchor v1: endorsement of signing keys"
_LOG: Final = b"deputize anchor v1: checkpoints of the log "


class Anchor(Protocol):
    """Endorses the public keys of processes, so that write access to the store does not forge one."""

    @property
    def name(self) -> str:
        """`none`, `seed`, ... as records and `doctor` show it."""
        ...

    def endorse(self, statement: bytes) -> bytes | None:
        """Sign {issuer, thumbprint, alg, sign_from, sign_until, instance}; None where the anchor cannot."""
        ...

    def accepts(self, statement: bytes, endorsement: bytes | None) -> bool:
        """Whether a key row with this endorsement may be served."""
        ...

    def log_key(self, origin: str) -> Ed25519PrivateKey | None:
        """The one key that signs checkpoints of the log `origin`, in every process; None where there is none."""
        ...


class NoAnchor:
    """Only for a store whose file permissions are the trust boundary: who can write it is the authority."""

    name = "none"

    def endorse(self, statement: bytes) -> bytes | None:  # noqa: ARG002  # the protocol's signature
        """No endorsement."""
        return None

    def accepts(self, statement: bytes, endorsement: bytes | None) -> bool:  # noqa: ARG002  # the protocol's signature
        """Rows without an endorsement; one that carries some came from elsewhere."""
        return endorsement is None

    def log_key(self, origin: str) -> Ed25519PrivateKey | None:  # noqa: ARG002  # the protocol's signature
        """No key that outlives its process."""
        return None


class SeedAnchor:
    """32 secret bytes that the platform hands to every replica; Ed25519 keys are derived from it in memory.

    Nothing of it is stored, shown or pickled.
    """

    __slots__ = ("_derive", "_endorsing", "_public")

    name = "seed"

    def __init__(self, seed: bytes) -> None:
        """Raises ConfigurationError for what cannot be 32 random bytes."""
        if len(seed) != _BYTES or len(set(seed)) < _DISTINCT:
            raise ConfigurationError(f"{VARIABLE} is not {_BYTES} random bytes", key=VARIABLE)
        self._derive = lru_cache(maxsize=16)(lambda info: _derived(seed, info))
        self._endorsing = self._derive(_ENDORSEMENT)
        self._public = self._endorsing.public_key()

    def endorse(self, statement: bytes) -> bytes | None:
        """See Anchor. RFC 8032 §5.1.6."""
        return self._endorsing.sign(statement)

    def accepts(self, statement: bytes, endorsement: bytes | None) -> bool:
        """See Anchor: what the holder of the seed signed, and nothing else."""
        if not isinstance(endorsement, bytes):
            return False
        try:
            self._public.verify(endorsement, statement)
        except InvalidSignature:
            return False
        return True

    def log_key(self, origin: str) -> Ed25519PrivateKey | None:
        """See Anchor."""
        return self._derive(_LOG + origin.encode())

    def __repr__(self) -> str:
        return "SeedAnchor(...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an anchor is not pickled: hand the seed to the other process")


def anchor_from_environment(environ: Mapping[str, str]) -> Anchor:
    """The anchor of `DEPUTIZE_ANCHOR`: 32 bytes in base64url or hex; `none` where it is not set.

    Raises ConfigurationError, which shows nothing of the value.
    """
    text = environ.get(VARIABLE, "").strip()
    return SeedAnchor(_seed(text)) if text else NoAnchor()


def _seed(text: str) -> bytes:
    try:
        if _HEX.match(text):
            return bytes.fromhex(text)
        if _BASE64URL.match(text):
            return base64.urlsafe_b64decode(text.rstrip("=") + "=")
    except (ValueError, binascii.Error):
        pass
    raise ConfigurationError(f"{VARIABLE} is {_BYTES} random bytes as base64url or hex", key=VARIABLE)


def _derived(seed: bytes, info: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(HKDF(SHA256(), _BYTES, salt=None, info=info).derive(seed))
