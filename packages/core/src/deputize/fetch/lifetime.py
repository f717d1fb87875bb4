"""How long an answer may be kept, by its own headers (RFC 9111 §4.2, §5.2)."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

_NEVER: Final = frozenset({"no-store", "no-cache", "private"})


def fresh_for(headers: Mapping[str, str], *, longest: int) -> int:
    """Seconds from now, 0 to `longest`; 0 where the headers do not say, or not clearly. Names in lower case."""
    directives: dict[str, str] = {}
    for part in headers.get("cache-control", "").split(","):
        name, _, value = part.strip().lower().partition("=")
        if name in directives:
            return 0
        directives[name] = value.strip('"')
    if not _NEVER.isdisjoint(directives) or headers.get("vary", "").strip() == "*":
        return 0
    stated = directives.get("s-maxage", directives.get("max-age"))
    lifetime = _expires(headers) if stated is None else _seconds(stated)
    return max(0, min(lifetime - _seconds(headers.get("age", "0")), longest))


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004  # 30 years


def _expires(headers: Mapping[str, str]) -> int:
    try:
        expires, date = (parsedate_to_datetime(headers[name]) for name in ("expires", "date"))
        return int((expires - date).total_seconds())
    except (KeyError, ValueError, TypeError):
        return 0
