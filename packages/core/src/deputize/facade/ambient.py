"""The session and the tool call that the running code belongs to.

A ContextVar each: they follow tasks, `asyncio.to_thread` and `contextvars.copy_context`, and nothing else.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

from deputize.model.failure import Denial, NoSession

if TYPE_CHECKING:
    from deputize.facade.session import Session
    from deputize.facade.tool_call import ToolCall

SESSION: "ContextVar[Session | None]" = ContextVar("deputize_session", default=None)
CALL: "ContextVar[ToolCall | None]" = ContextVar("deputize_call", default=None)

Leave = Callable[[], None]
Listener = Callable[["Session"], Leave | None]
_LISTENERS: list[Listener] = []


def on_enter(listener: Listener) -> None:
    """Call `listener(session)` whenever a session becomes ambient; what it returns is called on leaving."""
    if listener not in _LISTENERS:
        _LISTENERS.append(listener)


def current_session() -> "Session":
    """The ambient session. Raises NoSession."""
    session = SESSION.get()
    if session is None:
        raise no_session("something that needs a delegated session was called outside one; nothing was executed")
    return session


def enter(session: "Session") -> Leave:
    """Make `session` ambient; call the result to go back to what was before."""
    token = SESSION.set(session)
    undone = [undo for listener in tuple(_LISTENERS) if (undo := listener(session)) is not None]

    def leave() -> None:
        for undo in reversed(undone):
            undo()
        try:
            SESSION.reset(token)
        except ValueError:  # left from another context (a generator closed elsewhere): nothing to go back to here
            SESSION.set(None)

    return leave


def no_session(asked: str) -> NoSession:
    """The refusal, with the line that fixes it and what it often comes from."""
    return NoSession(
        Denial(
            code="no_session",
            policy=None,
            asked=asked,
            enough="with authority.session(user=..., agent=...) as session: ...",
            hint="the block ended before a stream was read, or the call ran in a thread of your own "
            "(use deputize.runtime.carry)",
        )
    )
