"""Failures before authentication are counted, not recorded one by one: a stranger must not fill the log.

One record for each code, client hint and minute (SEMANTICS, "Records"); what is beyond a bound goes under one hint.
"""

from collections.abc import Mapping
from typing import Final

from deputize.authority.journal import append
from deputize.authority.parts import Parts
from deputize.model.event import Event, Json
from deputize.server.rate import client_hint
from deputize.store.protocol import WriteTx
from deputize.verifier.process import ProcessLock

TYPE: Final = "authentication.failed"
MOST: Final = 256  # hints of a minute and code
OTHERS: Final = "others"
_MINUTE: Final = 60
_MILLIS: Final = 1000
Key = tuple[int, str, str]  # minute, code, hint


class Strangers:
    """Counts in memory, and writes a minute down once it is over. Thread-safe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._counts: dict[Key, int] = {}
        self._lock = ProcessLock()

    def note(self, code: str, address: str) -> None:
        """One request that nobody answered for."""
        minute = int(self._parts.clock.now()) // _MINUTE
        key = (minute, code[:64], client_hint(address) or "unix")
        with self._lock:
            if key not in self._counts and len(self._counts) >= MOST:
                key = (minute, code[:64], OTHERS)
            self._counts[key] = self._counts.get(key, 0) + 1

    def write(self, *, all_of_them: bool = False) -> int:
        """Write down what is of minutes that are over; how many records. Raises StoreError, and keeps the counts."""
        now = int(self._parts.clock.now()) // _MINUTE
        with self._lock:
            over = {key: count for key, count in self._counts.items() if all_of_them or key[0] < now}
        if over:
            self._parts.store.write(lambda tx: self._append(tx, over))
            with self._lock:
                for key, count in over.items():
                    left = self._counts[key] - count
                    if left:
                        self._counts[key] = left
                    else:
                        del self._counts[key]
        return len(over)

    def _append(self, tx: WriteTx, counts: Mapping[Key, int]) -> None:
        time = int(self._parts.stamp(tx) * _MILLIS)
        for (minute, code, hint), count in sorted(counts.items()):
            detail: dict[str, Json] = {"count": count, "client": hint, "minute": minute * _MINUTE}
            append(tx, Event(type=TYPE, outcome="denied", time=time, code=code, detail=detail))
