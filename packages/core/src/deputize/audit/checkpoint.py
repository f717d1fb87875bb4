"""Checkpoints: the signed head of the log, as a C2SP signed note (tlog-checkpoint, signed-note v1).

Ed25519 alone: witnesses expect it, and the key id of other kinds follows other rules.
Format with vectors: `docs/formats/checkpoint.md`.
"""

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from deputize.audit.protocol import NoteSigner
from deputize.audit.tree import HASH
from deputize.model.failure import IntegrityError, InvalidRequest

UNANCHORED: Final = "deputize unanchored"
MAX_NOTE: Final = 128 * 1024  # bytes; room for 16 signatures of any kind, which a verifier must take
MAX_LINES: Final = 64  # of text, and of signatures
MAX_LINE: Final = 16 * 1024  # characters
ED25519: Final = b"\x01"  # signature type, signed-note "Signature types"

_KEY_ID: Final = 4  # bytes
_NAME = re.compile(r"[^\s+]{1,256}\Z")
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z")
_VKEY = re.compile(r"([^\s+]{1,256})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]{44})\Z")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a log key: whom to believe, under which name."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Four bytes that find the key again; no proof of anything (signed-note, "Signatures")."""
        return sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:_KEY_ID]

    def __str__(self) -> str:
        """The text form: name+id+base64(type ‖ key)."""
        return f"{self.name}+{self.id.hex()}+{_base64(ED25519 + self.public)}"

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """True if this key made the signature. Never raises."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A log key held in memory. Never written, never shown."""

    name: str
    private: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        """The raw public key."""
        return self.private.public_key().public_bytes_raw()

    def sign(self, data: bytes, /) -> bytes:
        """RFC 8032 §5.1.6."""
        return self.private.sign(data)

    def __repr__(self) -> str:
        return f"NoteKey({self.name!r})"


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line. `value` is what follows the key id."""

    name: str
    id: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A parsed checkpoint. Says nothing until `verify` has named a key, or its holder knows where it came from."""

    origin: str
    size: int  # leaves
    root: bytes
    extensions: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()

    @property
    def text(self) -> str:
        """What is signed, the final newline included."""
        head = (self.origin, str(self.size), _base64(self.root), *self.extensions)
        return "".join(f"{line}\n" for line in head)

    @property
    def unanchored(self) -> bool:
        """True where the key that signed lived in a process alone: only a copy kept outside proves anything."""
        return UNANCHORED in self.extensions

    def __str__(self) -> str:
        """The whole note."""
        lines = (f"\u2014 {item.name} {_base64(item.id + item.value)}\n" for item in self.signatures)
        return f"{self.text}\n{''.join(lines)}"


def origin_of(issuer: str) -> str:
    """The log's name: the issuer without scheme and trailing slashes (tlog-tiles, "Parameters")."""
    scheme, mark, rest = issuer.partition("://")
    name = re.sub(r"[\s+]", "-", (rest if mark else scheme).rstrip("/"))
    if not _NAME.match(name) or not name.isprintable():
        raise InvalidRequest("an issuer that can name a log is 1-256 printable characters", code="invalid_origin")
    return name


def new_key(origin: str) -> NoteKey:
    """A fresh log key for this process alone."""
    return NoteKey(origin, Ed25519PrivateKey.generate())


def verifier_key(key: NoteSigner) -> VerifierKey:
    """The public half, to be handed to whoever verifies."""
    return VerifierKey(key.name, key.public)


def parse_key(text: str) -> VerifierKey:
    """Read a verifier key's text form. Raises InvalidRequest (`invalid_key`)."""
    found = _VKEY.match(text.strip())
    raw = _unbase64(found[3]) if found else None
    if found is None or raw is None or len(raw) != len(ED25519) + HASH or raw[:1] != ED25519:
        raise InvalidRequest("a verifier key is <name>+<8 hex digits>+<base64 of an Ed25519 key>", code="invalid_key")
    key = VerifierKey(found[1], raw[1:])
    if key.id.hex() != found[2]:
        raise InvalidRequest("the verifier key's id is not that of its name and key", code="invalid_key")
    return key


def sign(*, origin: str, size: int, root: bytes, key: NoteSigner, unanchored: bool) -> Checkpoint:
    """Sign a head. Only ever sign one that is consistent with every head signed before: `log.Log` sees to that."""
    head = Checkpoint(origin, size, root, (UNANCHORED,) if unanchored else ())
    made = Signature(key.name, verifier_key(key).id, key.sign(head.text.encode()))
    return Checkpoint(origin, size, root, head.extensions, (made,))


def parse(raw: bytes | str) -> Checkpoint:
    """Read a checkpoint; checks no signature. Raises IntegrityError (`checkpoint_malformed`)."""
    data = raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw
    if len(data) > MAX_NOTE:
        raise _malformed(f"it is larger than {MAX_NOTE} bytes")
    try:
        note = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    if any(character < " " and character != "\n" for character in note):
        raise _malformed("it holds control characters")
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise _malformed("it is no text, blank line and signature lines")
    lines, signed = text.split("\n"), tail[:-1].split("\n")
    if len(lines) > MAX_LINES or len(signed) > MAX_LINES or any(len(line) > MAX_LINE for line in lines + signed):
        raise _malformed("it has too many or too long lines")
    return _head(lines, tuple(_signature(line) for line in signed))


def _head(lines: list[str], signatures: tuple[Signature, ...]) -> Checkpoint:
    if len(lines) < 3 or not all(lines):  # noqa: PLR2004  # origin, size and root
        raise _malformed("its text is not three or more lines, none of them empty")
    origin, size, encoded, *extensions = lines
    root = _unbase64(encoded)
    if not _SIZE.match(size) or root is None or len(root) != HASH:
        raise _malformed("its second line is no size or its third no hash")
    return Checkpoint(origin, int(size), root, tuple(extensions), signatures)


def _signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    value = _unbase64(encoded)
    if dash != "\u2014" or not _NAME.match(name) or value is None or len(value) <= _KEY_ID:
        raise _malformed("one of its signature lines is none")
    return Signature(name, value[:_KEY_ID], value[_KEY_ID:])


def verify(checkpoint: Checkpoint, keys: Iterable[VerifierKey]) -> VerifierKey:
    """The first of `keys` that signed. Unknown signatures are ignored; a false one of a known key refuses all.

    A key vouches only for the log that bears its name. Raises IntegrityError: `checkpoint_forged`,
    `checkpoint_unknown_key`.
    """
    known = {(key.name, key.id): key for key in keys}
    signers: list[VerifierKey] = []
    data = checkpoint.text.encode()
    for item in checkpoint.signatures:
        key = known.get((item.name, item.id))
        if key is None:
            continue
        if not key.verifies(item.value, data):
            raise IntegrityError("the checkpoint bears a signature that its key did not make", code="checkpoint_forged")
        signers.append(key)
    own = [key for key in signers if key.name == checkpoint.origin]
    if not own:
        raise IntegrityError("no key that you trust signed this checkpoint", code="checkpoint_unknown_key")
    return own[0]


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError(f"not a checkpoint: {reason}", code="checkpoint_malformed")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: str) -> bytes | None:
    """RFC 4648 §4, in its one canonical spelling; None for any other."""
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return data if _base64(data) == text else None
