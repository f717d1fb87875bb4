"""Tool calls: one guard around a body, whoever puts it there, and what the body can ask for."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from deputize.facade import ambient
from deputize.model.failure import NoSession
from deputize.runtime.refusals import refused

if TYPE_CHECKING:
    from deputize.facade.access import Access
    from deputize.facade.session import Session
    from deputize.facade.tool_call import ToolCall


def ambient_session() -> "Session | None":
    """The current session, or None: for adapters that look further before they refuse."""
    return ambient.SESSION.get()


def current_call() -> "ToolCall | None":
    """The tool call that the running code is the body of, or None."""
    return ambient.CALL.get()


def guarded(call_id: str | None) -> bool:
    """True inside the guard of this very call: a second guard has nothing left to ask or to record."""
    call = ambient.CALL.get()
    return call is not None and call_id is not None and call.call_id == call_id


def current_access(resource: str | None = None) -> "Access":
    """Access for the tool call that is running: minted on first use, then the same one.

    `resource` (alias or URL) may be left out where the tool lives at one. Raises NoSession outside a tool
    call, Denied where the call's scopes do not reach.
    """
    call = ambient.CALL.get()
    if call is None:
        raise refused(
            NoSession,
            "no_session",
            asked="current_access() was called outside a guarded tool call; nothing was issued",
            enough="call it in the body of a tool that runs under a guard",
            hint="in a thread of your own, wrap the function in deputize.runtime.carry",
        )
    return call.access(resource)


@contextmanager
def within(session: "Session") -> Iterator["Session"]:
    """The code inside belongs to `session`. Does not close it."""
    if ambient.SESSION.get() is session:
        yield session
        return
    leave = ambient.enter(session)
    try:
        yield session
    finally:
        leave()


class CallScope:
    """`with` or `async with` around a tool's body. Entering asks, leaving records what came of it.

    Inside, `current_session()` is the session that was asked, and `current_access()` mints for this call. A
    scope that opens inside the guard of the same call changes nothing and records nothing; one that needs other
    scopes, is of another resource, or has other arguments, is asked for like any other.
    """

    def __init__(self, session: "Session", call: "ToolCall") -> None:
        self._session = session
        self._call = call
        self._leave: ambient.Leave | None = None
        self._outer: ToolCall | None = None

    def _same(self) -> "ToolCall | None":
        outer = ambient.CALL.get()
        if outer is None or not guarded(self._call.call_id):
            return None
        inner = self._call
        same = (outer.tool, outer.session.id, outer.resource, outer.scopes, outer.to) == (
            inner.tool,
            self._session.id,
            inner.resource,
            inner.scopes,
            inner.to,
        )
        return outer if same and inner.arguments in {None, outer.arguments} else None

    def suspend(self) -> None:
        """The body ends because it waits, and will run again: `tool.suspended` is recorded, and no failure.

        For adapters, before the scope is left: only they know the exceptions by which a framework suspends.
        """
        if self._outer is None:
            self._call.suspend()

    def _enter_session(self) -> None:
        if ambient.SESSION.get() is not self._session:
            self._leave = ambient.enter(self._session)

    def _leave_session(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    def __enter__(self) -> "ToolCall":
        self._outer = self._same()
        if self._outer is not None:
            return self._outer
        self._enter_session()
        try:
            return self._call.__enter__()
        except BaseException:
            self._leave_session()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outer is not None:
            return
        try:
            self._call.__exit__(kind, error, trace)
        finally:
            self._leave_session()

    async def __aenter__(self) -> "ToolCall":
        self._outer = self._same()
        if self._outer is not None:
            return self._outer
        self._enter_session()
        try:
            return await self._call.__aenter__()
        except BaseException:
            self._leave_session()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._outer is not None:
            return
        try:
            await self._call.__aexit__(kind, error, trace)
        finally:
            self._leave_session()


def tool_call(
    tool: str,
    *,
    args: Mapping[str, object] | None = None,
    call_id: str | None = None,
    scopes: Sequence[str] | None = None,
    resource: str | None = None,
    to: Sequence[str] = (),
    session: "Session | None" = None,
) -> CallScope:
    """Permission, attribution and outcome of one call of `tool`, in `session` or in the current one.

    Scopes and resource come from the registry where they are left out. `to` makes it a hand-off tool, which
    `delegate` alone governs and which gets no access: the agents that it may hand on to. Of `args` only a
    keyed digest is recorded. Raises NoSession at once; entering raises Denied.
    """
    owner = session if session is not None else ambient.SESSION.get()
    if owner is None:
        raise ambient.no_session(f'tool "{tool[:64]}" was called outside a delegated session; nothing was executed')
    call = owner.tool_call(tool, args=args, call_id=call_id, scopes=scopes, resource=resource, to=to)
    return CallScope(owner, call)
