"""A replica whose clock is far off its database's does not decide (SEMANTICS, "Time")."""

from typing import Final, Protocol, runtime_checkable

from deputize.authority.parts import Parts
from deputize.model.failure import AuthorityUnavailable

APART: Final = 5.0  # seconds


@runtime_checkable
class _Timed(Protocol):
    """A store with a clock of its own."""

    def database_time(self) -> float:
        """Seconds since the epoch."""
        ...


def check_clock(parts: Parts) -> None:
    """Raise AuthorityUnavailable (`clock_off`) where this process's clock and the store's are too far apart.

    A file has no clock; there the newest record tells whether this one stepped back.
    """
    store = parts.store
    now = parts.clock.now()
    if isinstance(store, _Timed):
        apart = abs(store.database_time() - now)
    else:
        apart = store.read(lambda tx: tx.newest_time()) / 1000 - now
    if apart > APART:
        raise AuthorityUnavailable("the clock of this machine is off", code="clock_off", retry_after=APART)
