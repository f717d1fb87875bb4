"""Who is inside a store now, and how it comes to rest before the process forks (`fork`)."""

import threading
import time
from typing import Final

from deputize.model.failure import StoreError

_LOOK: Final = 0.0005  # seconds between two looks at who is still inside


class Entry:
    """Base of the stores. A thread is inside from `_enter` until it discards itself from `_inside`."""

    def __init__(self) -> None:
        self._inside: set[int] = set()  # threads that use the store now
        self._resting: threading.Event | None = None  # set when a fork is over

    def _enter(self) -> int:
        """Be counted as inside, unless the process is about to fork: then wait until it has."""
        me = threading.get_ident()
        if me in self._inside:
            raise StoreError("a transaction was started inside an operation of the same store", code="store_nested")
        self._inside.add(me)
        while (resting := self._resting) is not None:
            self._inside.discard(me)
            resting.wait()
            self._inside.add(me)
        return me

    def _let_go(self) -> None:
        """Close the connections; the next use opens others. Nobody is inside."""

    def rest(self, deadline: float) -> bool:
        """See `fork.Forked`."""
        if threading.get_ident() in self._inside:
            return False
        self._resting = threading.Event()
        while self._inside:
            if time.monotonic() > deadline:
                self.resume()
                return False
            time.sleep(_LOOK)
        self._let_go()
        return True

    def resume(self) -> None:
        """See `fork.Forked`."""
        resting, self._resting = self._resting, None
        if resting is not None:
            resting.set()
