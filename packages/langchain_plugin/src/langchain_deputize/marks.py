"""The trace that a guard leaves for the backstop, and for a second guard around the same call."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from deputize import Session
from langchain_deputize.runs import Run


@dataclass(frozen=True, slots=True)
class Mark:
    """A guard is active for this tool, called from this run under this id, and for nothing else."""

    parent: Run | None
    tool: str
    call_id: str | None
    session: Session
    runs: list[UUID] = field(default_factory=list)  # the runs that it let through: over when the guard is left


_MARK: Final[ContextVar[Mark | None]] = ContextVar("deputize_langchain_mark", default=None)


def marked(parent: Run | None, tool: str, call_id: str | None) -> Mark | None:
    """The guard of exactly this call. A call that its body makes has another parent, so it is not covered."""
    mark = _MARK.get()
    if mark is None or mark.parent is not parent or mark.tool != tool or mark.call_id != call_id:
        return None
    return mark


@contextmanager
def marking(mark: Mark) -> Iterator[None]:
    """Leave the mark for what runs inside."""
    token = _MARK.set(mark)
    try:
        yield
    finally:
        _MARK.reset(token)
