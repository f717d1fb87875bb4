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
_HELD: "ContextVar[tuple[tuple[Session, Leave], ...]]" = ContextVar("deputize_held", default=())


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
    """Make `session` ambient; call the result to go back to what was before.

    A tool call of another session is not the running one any more: its access is not for this session.
    """
    call = CALL.get()
    of_another = call is not None and call.session.id != session.id
    call_token = CALL.set(None) if of_another else None
    token = SESSION.set(session)
    undone = [undo for listener in tuple(_LISTENERS) if (undo := listener(session)) is not None]

    def leave() -> None:
        while undone:
            undone.pop()()
        try:
            SESSION.reset(token)
            if call_token is not None:
                CALL.reset(call_token)
        except ValueError:  # left from another context (a generator closed elsewhere): nothing to go back to here
            SESSION.set(None)

    return leave


def hold(session: "Session") -> None:
    """Make `session` ambient here until `release`. Tasks and threads that share a session each hold it."""
    if SESSION.get() is not session:
        _HELD.set((*_HELD.get(), (session, enter(session))))


def release(session: "Session") -> None:
    """Go back to what was before this context's last `hold` of `session`."""
    held = _HELD.get()
    mine = [index for index, (one, _) in enumerate(held) if one is session]
    if mine:
        _HELD.set((*held[: mine[-1]], *held[mine[-1] + 1 :]))
        held[mine[-1]][1]()
    elif SESSION.get() is session:
        SESSION.set(None)


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
