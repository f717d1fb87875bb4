"""JSON where one text has one meaning: no duplicates, NaN or BOM, bounded depth (RFC 8259, RFC 7493)."""

import json
from collections.abc import Callable
from typing import Final, NoReturn

import orjson

from deputize.model.failure import InvalidRequest
from deputize.wire.refusal import malformed

MAX_DEPTH: Final = 32

Refuse = Callable[[str], InvalidRequest]


def dumps(value: object) -> bytes:
    """Compact UTF-8 JSON. Raises InvalidRequest for what JSON cannot hold."""
    try:
        return orjson.dumps(value)
    except TypeError:
        raise InvalidRequest("a value has no JSON form") from None


def loads(raw: bytes, *, max_depth: int = MAX_DEPTH, refuse: Refuse = malformed) -> dict[str, object]:
    """The object that `raw` spells; other JSON values are refused. Raises what `refuse` makes."""
    value = parse(raw, max_depth=max_depth, refuse=refuse)
    if not isinstance(value, dict):
        raise refuse("JSON text is not an object")
    return value


def parse(raw: bytes, *, max_depth: int = MAX_DEPTH, refuse: Refuse = malformed) -> object:
    """The value that `raw` spells. Raises what `refuse` makes, else InvalidToken (`malformed_token`)."""
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise refuse("not JSON text") from None
    # Brackets bound the depth; only a text with more of them than levels allowed needs to be walked.
    if raw.count(b"{") + raw.count(b"[") > max_depth and _deeper_than(value, max_depth):
        raise refuse("JSON text is nested too deeply")
    # orjson keeps the last of duplicate members without a word, but never writes one: a text that it would
    # write itself has none. Ours take this road; others are parsed again, by a parser that tells.
    if orjson.dumps(value) != raw:
        _refuse_duplicates(raw, refuse)
    return value


def _deeper_than(value: object, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        containers = [item for item in level if isinstance(item, dict | list)]
        level = [child for item in containers for child in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _refuse_duplicates(raw: bytes, refuse: Refuse) -> None:
    def unique(pairs: list[tuple[str, object]]) -> None:
        if len({name for name, _ in pairs}) != len(pairs):
            raise refuse("a JSON object names a member twice")

    def constant(_: str) -> NoReturn:
        raise refuse("JSON has no NaN and no Infinity")

    try:
        json.loads(raw, object_pairs_hook=unique, parse_constant=constant, parse_int=len, parse_float=len)
    except (ValueError, RecursionError):
        raise refuse("not JSON text") from None
