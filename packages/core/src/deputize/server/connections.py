"""How many connections a process has open. One too many costs whoever keeps us waiting longest, not the newcomer."""

import resource
from typing import Final, Protocol

_SHARE: Final = 2  # of the files that a process may open, one in two is left to the store and to what is being closed


class Connection(Protocol):
    """What can be ended at once. `cut` may call `closed`."""

    def cut(self) -> None:
        """End it."""
        ...


class Connections:
    """At most `most`. For one event loop.

    One more ends another: of the address that keeps us waiting with the most connections, the one that has done so
    longest. Whoever has asked and waits for our answer is never ended; where all do, the newcomer is.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[Connection, str] = {}
        self._waiting: dict[str, dict[Connection, None]] = {}  # in the order in which they began to

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, connection: Connection, address: str) -> None:
        """A connection that has asked nothing yet."""
        if len(self._open) >= self._most:
            longest = self._longest() or connection
            self.closed(longest)
            longest.cut()
            if longest is connection:
                return
        self._open[connection] = address
        self.waits(connection)

    def closed(self, connection: Connection) -> None:
        """It is no more; may be said twice."""
        self.works(connection)
        self._open.pop(connection, None)

    def waits(self, connection: Connection) -> None:
        """The next word is the client's: a request, the rest of one, or that it reads."""
        address = self._open.get(connection)
        if address is not None:
            self._waiting.setdefault(address, {}).setdefault(connection)

    def works(self, connection: Connection) -> None:
        """The next word is ours."""
        address = self._open.get(connection)
        if address is not None and (found := self._waiting.get(address)) is not None:
            found.pop(connection, None)
            if not found:
                del self._waiting[address]

    def _longest(self) -> Connection | None:
        most = max(self._waiting.values(), key=len, default=None)
        return next(iter(most)) if most else None


def room(most: int) -> int:
    """Allow this process as many files as its system lets it, and say how many connections it then has room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SHARE * most
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else max(1, min(most, soft // _SHARE))
