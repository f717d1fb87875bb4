"""Token buckets: so many requests per second of one client, with a short burst. Memory is bounded."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from deputize.model.failure import AuthorityUnavailable
from deputize.server.limits import BURST
from deputize.verifier.process import ProcessLock

RATE_LIMITED: Final = "rate_limited"
KEPT: Final = 16_384  # clients; the one that was seen longest ago is forgotten
READ: Final = 1024  # addresses whose reading is kept
_NETWORK: Final = 64  # bits of an IPv6 address that are one customer's


class Buckets:
    """`rate` per second each, up to `BURST` seconds of it at once; 0 lets everything pass. Thread-safe."""

    def __init__(self, rate: float, steady: Callable[[], float], *, kept: int = KEPT) -> None:
        self._rate = rate
        self._most = max(1.0, rate * BURST)
        self._steady = steady
        self._kept = kept
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = ProcessLock()

    def take(self, name: str) -> None:
        """One request of `name`. Raises AuthorityUnavailable (`rate_limited`) where there is none left."""
        if self._rate <= 0:
            return
        with self._lock:
            level = self._level(name)
            if level < 1:
                wait = (1 - level) / self._rate
                raise AuthorityUnavailable(
                    "too many requests; nothing was decided", code=RATE_LIMITED, retry_after=math.ceil(wait)
                )
            self._put(name, level - 1)

    def give_back(self, name: str) -> None:
        """What was taken is not to count."""
        if self._rate > 0:
            with self._lock:
                self._put(name, min(self._level(name) + 1, self._most))

    def __len__(self) -> int:
        return len(self._levels)

    def _level(self, name: str) -> float:
        level, at = self._levels.get(name, (self._most, self._steady()))
        return min(self._most, level + (self._steady() - at) * self._rate)

    def _put(self, name: str, level: float) -> None:
        self._levels[name] = (level, self._steady())
        self._levels.move_to_end(name)
        while len(self._levels) > self._kept:
            self._levels.popitem(last=False)


@lru_cache(maxsize=READ)
def client_hint(address: str) -> str:
    """Whom an address stands for: itself, or an IPv6 network of the size that one customer gets."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(IPv6Address(int(found) >> _NETWORK << _NETWORK)) + f"/{_NETWORK}"
    return str(found)
