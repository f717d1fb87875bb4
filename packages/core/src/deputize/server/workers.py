"""Several processes over one listening socket. Each makes its own keys; one that dies is replaced.

They are forked before anything is opened, so none shares a connection, a lock or a key with another.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from deputize.server.logs import FIELDS

YOUNG: Final = 5.0  # seconds: a worker that ends sooner never served
TRIES: Final = 5  # times that a worker may fail to start in a row
_PAUSE: Final = 0.2  # seconds, once more for each failure in a row
PATIENCE: Final = 10.0  # seconds beside the grace that workers have to end
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_ORDERLY: Final = (0, -signal.SIGTERM)  # the second: it had not begun to serve
_POLL: Final = 0.05  # seconds
_LOG = logging.getLogger("deputize.workers")


class Workers:
    """`count` processes that each run `work`; its result is the process's status. `ended` is told of each end."""

    def __init__(self, count: int, work: Callable[[], int], *, grace: float, ended: Callable[[int], None]) -> None:
        self._count = count
        self._told = ended
        self._work = work
        self._grace = grace
        self._born: dict[int, float] = {}
        self._ending = False
        self._failed = 0
        self._young = 0  # that ended one after another before they served
        self._watched, self._held = os.pipe()  # the second is this process's alone: its end is told by the first

    def run(self) -> int:
        """Until a signal to stop, or until no worker can start. 0: all ended in order."""
        before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        try:
            for _ in range(self._count):
                if not self._ending:
                    self._start()
            self._watch()
            return self._failed
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._watched)
            os.close(self._held)

    def _start(self) -> None:
        """With signals held back until the parent knows the child, and the child is deaf to what its parent heeds."""
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid:
            self._born[pid] = time.monotonic()
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            return
        status = 1
        try:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            os.close(self._held)
            threading.Thread(target=_outlive_nobody, args=(self._watched,), daemon=True).start()
            status = self._work()
        except BaseException as error:  # noqa: BLE001  # nothing may run on in a child
            _LOG.error("a worker failed: %s", type(error).__name__)  # a trace may hold values
        finally:
            os._exit(status)

    def _watch(self) -> None:
        deadline = float("inf")
        while self._born:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self._ended(pid, os.waitstatus_to_exitcode(status))
                continue
            if self._ending and deadline == float("inf"):
                deadline = time.monotonic() + self._grace + PATIENCE
            if time.monotonic() > deadline:
                self._tell(signal.SIGKILL)
            time.sleep(_POLL)

    def _ended(self, pid: int, status: int) -> None:
        age = time.monotonic() - self._born.pop(pid, time.monotonic())
        self._told(pid)
        if self._ending:
            self._failed = self._failed or (0 if status in _ORDERLY else 1)
            return
        _LOG.warning("a worker ended", extra={FIELDS: {"pid": pid, "status": status}})
        self._young = self._young + 1 if status > 0 and age < YOUNG else 0
        if self._young > TRIES:  # it says so itself, again and again: it will not come up better
            self._failed = status
            self._stop(signal.SIGTERM, None)
            return
        time.sleep(_PAUSE * self._young)
        if not self._ending:
            self._start()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._ending = True
        self._tell(signal.SIGTERM)

    def _tell(self, number: int) -> None:
        for pid in list(self._born):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _outlive_nobody(watched: int) -> None:
    """End in order when the parent is gone, however it went: nobody would replace this worker, or stop it."""
    os.read(watched, 1)
    _LOG.warning("the parent of the workers is gone")
    os.kill(os.getpid(), signal.SIGTERM)
