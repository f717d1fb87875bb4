"""Tokens that were exchanged already: bounded, one exchange at a time for each, no lock over any request."""

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.lowlevel import EventLoopToken, current_token

from deputize import Access

MOST: Final = 1024  # tokens kept
SPARE: Final = 5.0  # seconds of life that a token has left when it is exchanged anew
_STRIPES: Final = 16


@dataclass(frozen=True, slots=True)
class Key:
    """What one token is for. Another session, tool, tool call or scope set never shares it."""

    session: str
    resource: str
    scopes: frozenset[str]
    tool: str | None
    call_id: str | None


class Exchanged:
    """The tokens of one `TokenExchangeAuth`."""

    def __init__(self) -> None:
        self._held: OrderedDict[Key, Access] = OrderedDict()
        self._lock = threading.Lock()
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]
        self._flights: dict[tuple[EventLoopToken, Key], anyio.Event] = {}

    def fresh(self, key: Key, now: float) -> Access | None:
        """The token for `key` if it lives on for a moment. `now` is the authority's time in seconds."""
        with self._lock:
            held = self._held.get(key)
            if held is None or held.expires_at - now < SPARE:
                return None
            self._held.move_to_end(key)
            return held

    def keep(self, key: Key, access: Access) -> None:
        """Remember a token; the one that was used longest ago makes room."""
        with self._lock:
            self._held[key] = access
            self._held.move_to_end(key)
            if len(self._held) > MOST:
                self._held.popitem(last=False)

    def drop(self, key: Key, access: Access) -> None:
        """Forget a token that was refused, unless another has taken its place already."""
        with self._lock:
            if self._held.get(key) is access:
                del self._held[key]

    def get(self, key: Key, now: Callable[[], float], exchange: Callable[[], Access]) -> Access:
        """The token for `key`; threads that want the same one wait for one exchange."""
        with self._stripes[hash(key) % _STRIPES]:
            held = self.fresh(key, now())
            if held is None:
                held = exchange()
                self.keep(key, held)
            return held

    async def aget(self, key: Key, now: Callable[[], float], exchange: Callable[[], Awaitable[Access]]) -> Access:
        """`get` for tasks. A failed exchange fails for its own task; the next one in line tries for itself."""
        flight = (current_token(), key)
        while (held := self.fresh(key, now())) is None:
            running = self._flights.get(flight)
            if running is not None:
                await running.wait()
                continue
            self._flights[flight] = anyio.Event()
            try:
                held = await exchange()
                self.keep(key, held)
                return held
            finally:
                self._flights.pop(flight).set()
        return held
