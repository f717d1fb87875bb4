"""Stores over a fork.

SQLite keeps, per process and file, a table of the locks that its connections hold. A child inherits the table
but not the locks: even a *new* connection in the child believes in them. It then waits for ever for a write lock
that nobody will give back, or reads without a lock while the parent takes the write-ahead log away. So before a
fork every store comes to rest and closes its connections, and parent and child open new ones when they need
them. A connection to PostgreSQL is no better off: two processes would speak into one socket, and whoever ends
first would end the other's session. Where a store can't come to rest (the fork was called inside an operation, or
another thread stays in one), the child's copy refuses, and its connections are neither used nor closed there.
"""

import os
import threading
import time
import weakref
from typing import Final, Protocol

_PATIENCE: Final = 10.0  # seconds that a fork waits for operations of other threads to end


class Forked(Protocol):
    """What has to rest while the process forks. Nothing here raises."""

    def rest(self, deadline: float) -> bool:
        """Let running operations end, hold new ones back, close all connections; False if that took too long.

        `deadline` is of `time.monotonic`. After False nothing is held back.
        """
        ...

    def resume(self) -> None:
        """After `rest` was true, in the parent: go on."""
        ...

    def resume_in_child(self, *, rested: bool) -> list[object]:
        """In the child: make new locks. Returns the connections that must never be closed here."""
        ...


_KNOWN: "weakref.WeakSet[Forked]" = weakref.WeakSet()
_ONE_FORK: Final = threading.Lock()
_FORKS: dict[int, dict[Forked, bool]] = {}  # by the thread that forks: which stores came to rest
_BURIED: list[object] = []


def register(store: Forked) -> None:
    """Hold `store` weakly until it is collected."""
    _KNOWN.add(store)


def _before() -> None:
    if not _ONE_FORK.acquire(timeout=_PATIENCE):
        return
    rested = _FORKS[threading.get_ident()] = {}
    stores = list(_KNOWN)
    if stores:
        import ctypes  # noqa: F401, PLC0415  # needed by `_bury`, and safe to import in the parent alone
    deadline = time.monotonic() + _PATIENCE
    for store in stores:
        rested[store] = store.rest(deadline)


def _in_parent() -> None:
    rested = _FORKS.pop(threading.get_ident(), None)
    if rested is None:
        return
    for store, resting in rested.items():
        if resting:
            store.resume()
    _ONE_FORK.release()


def _in_child() -> None:
    rested = _FORKS.pop(threading.get_ident(), None)
    for store in list(_KNOWN):
        for db in store.resume_in_child(rested=bool(rested and rested.get(store))):
            _bury(db)
    if rested is not None:
        _ONE_FORK.release()


def _bury(db: object) -> None:
    """Keep an inherited connection from being closed, also by the interpreter's end."""
    import ctypes  # noqa: PLC0415  # loaded before the fork

    _BURIED.append(db)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(db))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
