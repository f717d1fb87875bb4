"""Lifetimes as callers say them."""

from datetime import timedelta
from typing import Final

from deputize.model.failure import InvalidRequest

TTL_LIMIT: Final = 2**31  # seconds; beyond what any limit can be set to


def seconds(ttl: timedelta | float | None) -> int | None:
    """A lifetime in whole seconds, never rounded up."""
    if ttl is None:
        return None
    value: object = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < TTL_LIMIT:
        raise InvalidRequest("a lifetime is a number of seconds above 0", code="invalid_ttl")
    return int(value)
