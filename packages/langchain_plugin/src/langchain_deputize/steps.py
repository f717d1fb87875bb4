"""Work of the callbacks that may wait, written once: done in place, or awaited where callbacks are awaited.

A piece of work is a generator. It yields each operation that may wait for a disk or a server, and is sent what came
of it. LangChain awaits a callback of an async program only where it is a coroutine, and one that is can refuse no sync
tool; so the handler's are none. It begins, and leaves what waits to its companion, which LangChain awaits next.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from deputize import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step:
    """An operation, for threads and for event loops. `waits`: it may wait for a disk, a server or somebody else."""

    call: Callable[[], Any]
    awaited: Callable[[], Awaitable[Any]]
    waits: bool


Work = Generator[Step, Any, T]


class Told(Protocol):
    """What knows which tool called, and under which id of the framework's."""

    @property
    def tool(self) -> str: ...  # noqa: D102  # as above

    @property
    def call_id(self) -> str | None: ...  # noqa: D102  # as above


class Caller(NamedTuple):
    """A tool that called."""

    tool: str
    call_id: str | None


def done(session: Session, call: Callable[[], T]) -> Work[T]:
    """An operation of a session's authority, and what came of it."""
    authority = session.authority
    result: T = yield Step(call, lambda: authority.run(call), authority.waits)
    return result


def noted(session: Session, kind: str, by: Told | None = None, detail: Mapping[str, str] | None = None) -> Work[None]:
    """A record of a session; `by`: the tool and the call that it is about."""
    tool, call_id = (by.tool, by.call_id) if by is not None else (None, None)
    yield from done(session, lambda: session.note(kind, tool=tool, call_id=call_id, detail=detail))


def closed(session: Session) -> Work[None]:
    """The end of a session."""
    yield from done(session, session.close)


class Gate:
    """Opens once, for the threads and the tasks that wait at it."""

    def __init__(self) -> None:
        self._event = Event()
        self._lock = Lock()
        self._tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def passed(self) -> Work[None]:
        """Wait until it is open."""
        if not self._event.is_set():
            yield Step(self._event.wait, self._awaited, waits=True)

    def open(self) -> None:
        """Let through whoever waits, and whoever comes."""
        with self._lock:
            self._event.set()
            waiting, self._tasks = self._tasks, []
        for loop, future in waiting:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                loop.call_soon_threadsafe(_finish, future)

    async def _awaited(self) -> None:
        with self._lock:
            if self._event.is_set():
                return
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._tasks.append((loop, future))
        await future


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def drive(work: Work[T]) -> T:
    """Do the work in this thread."""
    try:
        return _go_on(work, next(work))
    except StopIteration as over:
        value: T = over.value
        return value


def _go_on(work: Work[T], step: Step) -> T:
    try:
        while True:
            try:
                result = step.call()
            except BaseException as error:  # noqa: BLE001  # whatever it is, the work is told
                step = work.throw(error)
            else:
                step = work.send(result)
    except StopIteration as over:
        value: T = over.value
        return value


async def adrive(work: Work[T]) -> T:
    """`drive`, without blocking the loop."""
    try:
        return await _ago_on(work, next(work))
    except StopIteration as over:
        value: T = over.value
        return value


async def _ago_on(work: Work[T], step: Step) -> T:
    """Work that has begun is done to its end, and a cancellation told then: no session is opened that nobody closes."""
    cancelled: asyncio.CancelledError | None = None
    try:
        while True:
            running = asyncio.ensure_future(step.awaited())
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError as error:
                    cancelled = error
            failed = running.exception()
            step = work.send(running.result()) if failed is None else work.throw(failed)
    except StopIteration as over:
        value: T = over.value
        return value
    finally:
        if cancelled is not None:
            raise cancelled


LEFT: Final[ContextVar[tuple[tuple[Work[None], Step], ...]]] = ContextVar("deputize_langchain_left", default=())


def perform(work: Work[None], *, leave: Callable[[], bool]) -> None:
    """Do the work. Where it would wait and may `leave` the rest, `catch_up` does that in the same context."""
    try:
        step = next(work)
    except StopIteration:
        return
    if step.waits and leave():
        LEFT.set((*LEFT.get(), (work, step)))
    else:
        _go_on(work, step)


async def catch_up() -> None:
    """Do what was left."""
    left = LEFT.get()
    LEFT.set(())
    for work, step in left:
        await _ago_on(work, step)
