"""Hand-offs: another agent runs on the same behalf, with less."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from deputize.facade.ambient import current_session

if TYPE_CHECKING:
    from deputize.facade.session import Session


class HandOff:
    """`with` or `async with` around the other agent's run: opens its session, makes it current, closes it."""

    def __init__(self, parent: "Session", to: str, asked: "_Asked") -> None:
        self._parent = parent
        self._to = to
        self._asked = asked
        self._child: Session | None = None

    def __enter__(self) -> "Session":
        asked = self._asked
        child = self._parent.delegate(
            self._to,
            task=asked.task,
            scopes=asked.scopes,
            resources=asked.resources,
            ttl=asked.ttl,
            key=asked.key,
        )
        self._announce(child)
        self._child = child
        return child.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.__exit__(kind, error, trace)

    async def __aenter__(self) -> "Session":
        asked = self._asked
        child = await self._parent.adelegate(
            self._to,
            task=asked.task,
            scopes=asked.scopes,
            resources=asked.resources,
            ttl=asked.ttl,
            key=asked.key,
        )
        self._announce(child)
        self._child = child
        return await child.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.__aexit__(kind, error, trace)

    def _announce(self, child: "Session") -> None:
        asked = self._asked
        if asked.via is not None or asked.call_id is not None:
            detail = {"to": child.name, "sid": child.id}
            self._parent.note("handoff.taken", tool=asked.via, call_id=asked.call_id, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a hand-off asks for beside the agent."""

    via: str | None
    call_id: str | None
    task: str | None
    scopes: Sequence[str] | None
    resources: Sequence[str] | None
    ttl: float | None
    key: str | None


def handoff(
    to: str,
    *,
    via: str | None = None,
    call_id: str | None = None,
    task: str | None = None,
    scopes: Sequence[str] | None = None,
    resources: Sequence[str] | None = None,
    ttl: float | None = None,
    key: str | None = None,
    session: "Session | None" = None,
) -> HandOff:
    """A session for agent `to` below `session`, or below the current one, for as long as it runs.

    `via` and `call_id` name the tool call that hands on, for the record. Left out, scopes are all that `to`
    is registered for; it gets what the policies leave of them. `ttl` is in seconds. Raises NoSession at
    once; entering raises Denied, UnknownAgent or InvalidRequest (`depth_exceeded`).
    """
    parent = session if session is not None else current_session()
    asked = _Asked(via=via, call_id=call_id, task=task, scopes=scopes, resources=resources, ttl=ttl, key=key)
    return HandOff(parent, to, asked)
