"""What a verifier remembers: tokens that it verified, proofs that it saw. Both are bounded."""

from collections import deque
from typing import Generic, TypeVar

from deputize.model.clock import Clock
from deputize.verifier.process import ProcessLock

V = TypeVar("V")


class Bounded(Generic[V]):
    """A dictionary that drops its oldest entries. Reading takes no lock."""

    __slots__ = ("_entries", "_lock", "_size")

    def __init__(self, size: int) -> None:
        self._entries: dict[bytes, V] = {}
        self._lock = ProcessLock()
        self._size = size

    def get(self, key: bytes) -> V | None:
        """The entry, if it is still there."""
        return self._entries.get(key)

    def put(self, key: bytes, value: V) -> None:
        """Keep `value`, at the cost of the oldest where there are too many."""
        with self._lock:
            if key not in self._entries:
                while len(self._entries) >= self._size:
                    del self._entries[next(iter(self._entries))]
            self._entries[key] = value

    def drop(self, key: bytes) -> None:
        """Forget an entry."""
        with self._lock:
            self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


class Replays:
    """Proofs seen by this process. One that shares its load with others needs a shared store instead.

    A full memory refuses new proofs rather than forget one that could still be sent again.
    """

    def __init__(self, clock: Clock, *, size: int = 100_000) -> None:
        self._clock = clock
        self._size = size
        self._seen: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()
        self._lock = ProcessLock()

    def spend(self, digest: str, until: int) -> bool:
        """Whether `digest` is new; it is kept until then (seconds since the epoch)."""
        with self._lock:
            now = self._clock.now()
            while self._order and self._order[0][0] < now:
                self._seen.discard(self._order.popleft()[1])
            if digest in self._seen or len(self._seen) >= self._size:
                return False
            self._seen.add(digest)
            self._order.append((until, digest))
            return True
