"""What a fork would break: locks that another thread held, connections that belong to the parent."""

import os
import threading
from types import TracebackType
from typing import Final
from weakref import WeakSet


class ProcessLock:
    """A lock that a child process finds open, whoever held it when the parent forked."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def renew(self) -> None:
        """Start again, in a child that nobody else runs in yet."""
        self._lock = threading.Lock()

    def take(self, patience: float) -> bool:
        """Acquire within so many seconds, or not. Whoever took it calls `give`."""
        return self._lock.acquire(timeout=patience)

    def give(self) -> None:
        """Release what `take` acquired."""
        self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


_LOCKS: Final[WeakSet[ProcessLock]] = WeakSet()


def _renew_all() -> None:
    for lock in _LOCKS:
        lock.renew()


os.register_at_fork(after_in_child=_renew_all)
