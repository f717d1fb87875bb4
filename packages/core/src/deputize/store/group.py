"""Group commit: many callers, one transaction, one sync.

Whoever gets the turn leads: it takes what has queued up, runs each operation under its own savepoint, commits
once and wakes the others. There is no thread of our own, so nothing hangs after a fork and a single caller
pays no hand-over. A leader that is interrupted (Ctrl-C) hands what it had taken back to the queue.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar, cast

from deputize.store.protocol import WriteTx

T = TypeVar("T")
BATCH: Final = 64
_LOOK_AGAIN: Final = 0.5  # seconds; only where a leader was killed between its turn and waking the next


class Job(Generic[T]):
    """One caller's operation, what came of it, and the bell that its caller sleeps by."""

    __slots__ = ("_bell", "_value", "done", "error", "interrupts", "op", "sync")

    def __init__(self, op: Callable[[WriteTx], T], *, sync: bool = False) -> None:
        self.op = op
        self.sync = sync
        self.done = False
        self.error: BaseException | None = None
        self.interrupts = 0
        self._value: T | None = None
        self._bell = threading.Lock()
        self._bell.acquire()

    def run(self, tx: WriteTx) -> None:
        """Call the operation and keep its value."""
        self.error = None
        try:
            self._value = self.op(tx)
        except Exception:
            raise
        except BaseException:
            self.interrupts += 1
            raise

    def wait(self) -> None:
        """Sleep until somebody rings."""
        self._bell.acquire(timeout=_LOOK_AGAIN)

    def ring(self) -> None:
        """Wake the caller; ringing twice is ringing once."""
        with suppress(RuntimeError):
            self._bell.release()

    def result(self) -> T:
        """The operation's value, or its exception, once."""
        error, self.error = self.error, None  # a traceback that holds the job that holds it would be a cycle
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self._value  # type: ignore[return-value]  # None may be T's own value; `done` tells


class Group:
    """The queue before a writer. `turn` is held by whoever uses the writer."""

    def __init__(self, turn: threading.Lock, transact: Callable[[list[Job[object]]], None]) -> None:
        self._turn = turn
        self._transact = transact
        self._queue: deque[Job[object]] = deque()
        self._recent = 1  # operations in the last transaction

    def submit(self, op: Callable[[WriteTx], T], *, sync: bool = False) -> T:
        """Run `op` in a transaction that others may share; returns once that is committed.

        `sync` is for a writer that does not sync every commit.
        """
        job = Job(op, sync=sync)
        self._queue.append(cast("Job[object]", job))
        try:
            while not job.done:
                if self._turn.acquire(blocking=False):
                    self._lead(job)
                else:
                    job.wait()
        except BaseException:
            with suppress(ValueError):
                self._queue.remove(cast("Job[object]", job))
            self._wake_next()
            raise
        return job.result()

    def _lead(self, own: Job[T]) -> None:
        """Take one batch through. The turn is ours; it is given back whatever happens."""
        taken: list[Job[object]] = []
        try:
            self._gather()
            while not own.done and self._queue and len(taken) < BATCH:
                taken.append(self._queue.popleft())
            if taken:
                self._recent = len(taken)
                self._transact(taken)
        except BaseException as error:
            for job in taken:
                if not job.done and job.interrupts > 1:  # it is the operation itself that raises this
                    job.error, job.done = error, True
            self._queue.extendleft(job for job in reversed(taken) if not job.done and job is not own)
            raise
        finally:
            self._turn.release()
            for job in taken:
                if job is not own and job.done:
                    job.ring()
            self._wake_next()

    def _gather(self) -> None:
        """Let those who shared the last transaction come back with their next operation, if they are about to."""
        queued = len(self._queue)
        while queued < self._recent:
            time.sleep(0)
            if len(self._queue) == queued:
                break
            queued = len(self._queue)

    def _wake_next(self) -> None:
        with suppress(IndexError):
            self._queue[0].ring()
