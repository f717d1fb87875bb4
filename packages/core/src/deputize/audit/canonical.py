"""The canonical bytes of a record's body, and the rule by which any text becomes data.

Canonical JSON: RFC 8785. Member names are ASCII and numbers are integers of at most 53 bits, so that sorting by
bytes is sorting by UTF-16 code units and no rule for floats is needed. What does not fit is changed by a stated
rule (`docs/formats/records.md`, "Text is data"), never refused: a record must not fail because of what it tells of.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from deputize.model.event import Json

MAX_TEXT: Final = 4096  # characters of one text
MAX_MEMBERS: Final = 4096  # of one list or object
MAX_DEPTH: Final = 8  # of lists and objects inside one member
MAX_BODY: Final = 256 * 1024  # bytes
MAX_INTEGER: Final = 2**53 - 1
_MAX_DIGITS_BITS: Final = 4096  # a longer integer is not written out

_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_SUBCLASS


def canonical(members: Mapping[str, object]) -> tuple[bytes, Mapping[str, object]]:
    """The canonical bytes of an object, and the object that they stand for.

    The second is `members` itself unless something in it had to be changed. Never raises.
    """
    try:
        raw = orjson.dumps(members, option=_OPTIONS)
    except TypeError:  # lone surrogates, integers over 53 bits, kinds that JSON has not, circles
        return _tamed(members)
    if len(raw) <= MAX_TEXT and b"\\" not in raw and raw.isascii():
        # No text or list in it is long, and no name needs escaping: kinds and depth are left.
        fits = _simple(members.values(), MAX_DEPTH)
    else:
        fits = len(raw) <= MAX_BODY and _fits(members, MAX_DEPTH + 1)
    return (raw, members) if fits else _tamed(members)


def clean_text(text: str, limit: int = MAX_TEXT) -> str:
    """`text` as it is recorded: `limit` characters and a remark at most, lone surrogates written in ASCII."""
    if len(text) > limit:
        text = f"{text[:limit]}... [cut from {len(text)} characters]"
    if text.isascii():
        return str.__str__(text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _simple(items: Iterable[object], depth: int) -> bool:
    """No floats or foreign kinds, nested `depth` deep at most. Written flat: every record passes here."""
    for item in items:
        kind = type(item)
        if kind is str or kind is int or kind is bool or item is None:
            continue
        if depth == 0:
            return False
        if kind is dict:
            if not _simple(item.values(), depth - 1):  # type: ignore[attr-defined]  # `kind` is its type
                return False
        elif (kind is not list and kind is not tuple) or not _simple(item, depth - 1):  # type: ignore[arg-type]  # as above
            return False
    return True


def _fits(value: object, depth: int) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    if isinstance(value, dict):
        return (
            depth > 0
            and len(value) <= MAX_MEMBERS
            and all(_tame_name(name) == name and _fits(item, depth - 1) for name, item in value.items())
        )
    if isinstance(value, list | tuple):
        return depth > 0 and len(value) <= MAX_MEMBERS and all(_fits(item, depth - 1) for item in value)
    return value is None or type(value) in {bool, int}


def _tamed(members: Mapping[str, object]) -> tuple[bytes, Mapping[str, object]]:
    tame: dict[str, Json] = {name: _tame(value, MAX_DEPTH) for name, value in members.items()}
    raw = orjson.dumps(tame, option=_OPTIONS)
    while len(raw) > MAX_BODY:
        _drop_largest(tame)
        raw = orjson.dumps(tame, option=_OPTIONS)
    return raw, tame


def _tame(value: object, depth: int) -> Json:  # noqa: PLR0911  # one answer a kind
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        return _tame_integer(int.__int__(value))
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth == 0:
            return "[not recorded: nested too deep]"
        return _tame_object(value, depth) if isinstance(value, Mapping) else _tame_list(value, depth)
    return f"[not recorded: {clean_text(type(value).__name__, 64)}]"


def _tame_integer(value: int) -> Json:
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    bits = value.bit_length()
    return str(value) if bits <= _MAX_DIGITS_BITS else f"[not recorded: integer of {bits} bits]"


def _tame_list(items: Iterable[object], depth: int) -> list[Json]:
    tame = [_tame(item, depth - 1) for item, _ in zip(items, range(MAX_MEMBERS + 1), strict=False)]
    if isinstance(items, set | frozenset):
        tame.sort(key=str)
    if len(tame) > MAX_MEMBERS:
        tame[MAX_MEMBERS] = "[cut: more members]"
    return tame


def _tame_object(members: Mapping[object, object], depth: int) -> dict[str, Json]:
    tame: dict[str, Json] = {}
    for count, (name, value) in enumerate(members.items()):
        if count == MAX_MEMBERS:
            tame["[cut]"] = "[cut: more members]"
            break
        tame[_tame_name(name)] = _tame(value, depth - 1)
    return tame


def _tame_name(name: object) -> str:
    """Injective for texts up to the limit: escaped names hold a backslash, and a name that holds one is escaped."""
    text = str.__str__(name) if isinstance(name, str) else f"[{clean_text(type(name).__name__, 64)}]"
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]}... [cut from {len(text)} characters]"
    if text.isascii() and "\\" not in text:
        return text
    return text.encode("unicode_escape").decode("ascii")


def _drop_largest(body: dict[str, Json]) -> None:
    """Say how large it was in place of the largest member of the body or of its `detail`."""
    detail = body.get("detail")
    holder = detail if isinstance(detail, dict) and len(orjson.dumps(detail)) > MAX_BODY // 2 else body
    sizes = {name: len(orjson.dumps(value)) for name, value in holder.items()}
    name = max(sorted(sizes), key=lambda key: sizes[key])
    remark = f"[cut: {sizes[name]} bytes]"
    holder[name] = [remark] if isinstance(holder[name], list) else remark
