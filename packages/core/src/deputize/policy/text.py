"""Writing Cedar: string literals and entity ids.

Escapes are those of Rust's `str::escape_debug`, which Cedar itself writes; it refuses ids in another spelling
as "needs to be normalized". Outside ASCII everything is escaped: an id is for comparing, not for reading.
"""

import re
from typing import Final

Uid = tuple[str, str]  # entity type, id

_NAMED: Final = {"\t": "\\t", "\r": "\\r", "\n": "\\n", "'": "\\'", '"': '\\"', "\\": "\\\\", "\0": "\\0"}
_PLAIN: Final = re.compile(r"[ !#-&(-\[\]-~]*\Z")
_FIRST_PRINTABLE, _LAST_PRINTABLE = 0x20, 0x7E


def literal(text: str) -> str:
    """`text` as a Cedar string literal, quotes included. Raises ValueError on a lone surrogate."""
    if _PLAIN.match(text):
        return f'"{text}"'
    text.encode("utf-8")  # no Rust string holds a surrogate
    return '"' + "".join(map(_escape, text)) + '"'


def entity(uid: Uid) -> str:
    """`Agent::"spiffe://..."`."""
    return f"{uid[0]}::{literal(uid[1])}"


def _escape(character: str) -> str:
    named = _NAMED.get(character)
    if named is not None:
        return named
    code = ord(character)
    return character if _FIRST_PRINTABLE <= code <= _LAST_PRINTABLE else f"\\u{{{code:x}}}"
