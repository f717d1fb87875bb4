"""Base64url without padding, one spelling for each value (RFC 7515 §2; RFC 4648 §3.5 on spare bits)."""

from binascii import Error as BinasciiError
from binascii import a2b_base64, b2a_base64
from typing import Final

from deputize.wire.refusal import malformed

_FROM_STANDARD: Final = bytes.maketrans(b"+/", b"-_")
# `+`, `/` and `=` become bytes that strict mode refuses, so one pass in C finds every foreign character.
_TO_STANDARD: Final = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
# The last character of 1 or 2 left-over bytes has spare bits; they are zero in the one canonical spelling.
_PADDING: Final = (b"", b"", b"==", b"=")
_CANONICAL_END: Final = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


def encode(raw: bytes) -> str:
    """The unpadded text of `raw`."""
    return b2a_base64(raw, newline=False).translate(_FROM_STANDARD).rstrip(b"=").decode("ascii")


def decode(text: bytes) -> bytes:
    """The bytes that `text` spells in their one canonical way. Raises InvalidToken (`malformed_token`)."""
    standard = text.translate(_TO_STANDARD)
    spare = len(text) & 3
    if spare:
        if text[-1] not in _CANONICAL_END[spare]:
            raise malformed("base64url text is not canonical")
        standard += _PADDING[spare]
    try:
        return a2b_base64(standard, strict_mode=True)
    except BinasciiError:
        raise malformed("base64url text has a character that does not belong there") from None


def decode_text(text: object, *, size: int | None = None) -> bytes:
    """Like `decode` for a JSON member; `size` is the only accepted length in bytes."""
    if not isinstance(text, str) or not text.isascii():
        raise malformed("a member is not base64url text")
    raw = decode(text.encode("ascii"))
    if size is not None and len(raw) != size:
        raise malformed("a member does not have the size that its key needs")
    return raw
