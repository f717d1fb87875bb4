"""Small languages inside values: durations, sizes, rates."""

import re
from typing import Final

from deputize.model.claims_match import flatten
from deputize.model.failure import InvalidRequest

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smhd])\Z")
_SIZE = re.compile(r"([1-9][0-9]{0,6})([km]?)\Z")
_RATE = re.compile(r"([1-9][0-9]{0,6})/([smh])\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_BYTES: Final = {"": 1, "k": 1024, "m": 1024 * 1024}


def duration(value: object) -> int:
    """Seconds of `"90s"`, `"15m"`, `"8h"`, `"7d"`. Raises ValueError; a bare number is one, for lack of a unit."""
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a duration is written "90s", "15m", "8h" or "7d"')
    return int(match[1]) * _SECONDS[match[2]]


def size(value: object) -> int:
    """Bytes of `"64k"`, `"1m"` or `"4096"`. Raises ValueError."""
    match = _SIZE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a size is written "4096", "64k" or "1m"')
    return int(match[1]) * _BYTES[match[2]]


def rate(value: object) -> float:
    """Requests per second of `"600/m"`. Raises ValueError."""
    match = _RATE.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a rate is written "10/s", "600/m" or "5000/h"')
    return int(match[1]) / _SECONDS[match[2]]


def spell(seconds: int) -> str:
    """The shortest spelling of a duration, for messages."""
    for unit in ("d", "h", "m"):
        if seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def claim_match(value: object) -> object:
    """A table of claims by path, its inner tables spelled out. Raises ValueError."""
    if not isinstance(value, dict):
        return value
    try:
        return flatten(value)
    except InvalidRequest as error:
        raise ValueError(str(error)) from None
