"""On which line each key of a TOML text stands. `tomllib` does not say, and people need it in messages.

Works on text that `tomllib` has accepted (TOML v1.0.0), so it looks for extent, not for validity.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Collection
from itertools import pairwise
from typing import Final

KeyPath = tuple[str | int, ...]

_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:\\.|[^"\\])*"' r"|'[^']*'", re.DOTALL
)
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map each key path to its line, from 1. Elements of arrays are paths too, with their index."""
    return _Scanner(text).scan()


def without_tables(text: str, names: Collection[str]) -> str:
    """The text less the top-level tables and keys of these names, comments in them included; lines stay in place."""
    scanner = _Scanner(text)
    scanner.scan()
    left, at = "", 0
    for (start, name), (end, _) in pairwise([*scanner.marks, (len(text), "")]):
        if name in names:
            left += text[at:start] + "\n" * text.count("\n", start, end)
            at = end
    return left + text[at:]


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [0, *(match.end() for match in re.finditer("\n", text))]
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # array of tables -> index of its last element
        self.marks: list[tuple[int, str]] = []  # where a table or a top-level key begins, and its first name

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._skip(_GAP)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)
        return self.lines

    def _header(self) -> KeyPath:
        start = self.at
        several = self.text.startswith("[[", self.at)
        self.at += 2 if several else 1
        names = self._key()
        self.marks.append((start, names[0]))
        self.at += 2 if several else 1
        path: KeyPath = (*self._resolve(names[:-1], start), names[-1])
        if several:
            self._note(path, start)
            self.tables[path] = self.tables.get(path, -1) + 1
            path += (self.tables[path],)
        self._note(path, start)
        return path

    def _resolve(self, names: tuple[str, ...], start: int) -> KeyPath:
        path: KeyPath = ()
        for name in names:
            path += (name,)
            self._note(path, start)
            if path in self.tables:
                path += (self.tables[path],)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table
        for name in self._key():
            path += (name,)
            self._note(path, start)
        if not table:
            self.marks.append((start, str(path[0])))
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        names = []
        while True:
            self._skip(_BLANK)
            match = _BARE.match(self.text, self.at)
            if match:
                names.append(match[0])
                self.at = match.end()
            else:
                token = self._string()
                names.append(str(tomllib.loads(f"key = {token}")["key"]))
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(names)
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._items(path, "]")
        elif first == "{":
            self._items(path, "}")
        else:
            self._skip(_SCALAR)

    def _items(self, path: KeyPath, close: str) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_GAP)
            if self.text[self.at] == close:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            if close == "]":
                self._note((*path, index), self.at)
                self._value((*path, index))
                index += 1
            else:
                self._pair(path)

    def _string(self) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:  # not reached on text that tomllib accepts
            raise ValueError("no string here")
        self.at = match.end()
        return match[0]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()

    def _note(self, path: KeyPath, at: int) -> None:
        self.lines.setdefault(path, bisect_right(self.starts, at))
