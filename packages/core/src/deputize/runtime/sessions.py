"""A root session, and access in whatever session is current, as adapters and plain code ask for them."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from deputize.facade.ambient import current_session

if TYPE_CHECKING:
    from deputize.facade.access import Access
    from deputize.facade.authority import Authority
    from deputize.facade.session import Session


class SessionScope:
    """`with` or `async with` around a task: opens its root session, makes it current, closes it."""

    def __init__(self, authority: "Authority", asked: dict[str, str | Sequence[str] | float | None]) -> None:
        self._authority = authority
        self._asked = asked
        self._session: Session | None = None

    def __enter__(self) -> "Session":
        self._session = self._authority.session(**self._asked)  # type: ignore[arg-type]  # as `session` took them
        return self._session.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._session = self._session, None
        if opened is not None:
            opened.__exit__(kind, error, trace)

    async def __aenter__(self) -> "Session":
        self._session = await self._authority.asession(**self._asked)  # type: ignore[arg-type]  # as above
        return await self._session.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened, self._session = self._session, None
        if opened is not None:
            await opened.__aexit__(kind, error, trace)


def session(
    authority: "Authority",
    *,
    agent: str,
    user: str | None = None,
    subject_token: str | None = None,
    task: str | None = None,
    scopes: Sequence[str] | None = None,
    ttl: float | None = None,
    key: str | None = None,
) -> SessionScope:
    """A root session of `agent` for as long as the block runs; arguments as of `Authority.session`.

    Where nothing says when it is over, as in a server's chat threads, ask `Authority.session(key=...)` instead.
    Entering raises Denied, UnknownAgent, InvalidRequest, SessionEnded.
    """
    return SessionScope(
        authority,
        {
            "agent": agent,
            "user": user,
            "subject_token": subject_token,
            "task": task,
            "scopes": scopes,
            "ttl": ttl,
            "key": key,
        },
    )


def access(resource: str, scopes: Sequence[str]) -> "Access":
    """Access in the current session, outside any tool call. `resource`: alias or URL.

    In the body of a tool `current_access` is the access of that very call. Raises NoSession, Denied.
    """
    return current_session().access(resource, scopes)


async def aaccess(resource: str, scopes: Sequence[str]) -> "Access":
    """`access`, without blocking the loop."""
    return await current_session().aaccess(resource, scopes)
