"""The root session where no `with` can stand: opened by what stands on an agent or a graph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from deputize import Authority, Session
from deputize.errors import NoSession
from deputize.runtime import refused

Subject = Callable[[dict[str, Any]], str | None]

_BELOW: Final = "|"  # in a checkpoint namespace: a graph that runs as a part of another one


@dataclass(slots=True)
class Root:
    """Whose session is opened, at which authority, for which user.

    Args:
        authority: An Authority, or the path of its configuration: opened at the first need.
        agent: The agent whose session it is.
        subject: The user, from the RunnableConfig; None refuses.
    """

    authority: Authority | str
    agent: str
    subject: Subject
    _opening: Lock = field(default_factory=Lock, repr=False)

    def open(self, config: Mapping[str, Any]) -> tuple[Session, bool]:
        """The session of this run, and whether it is its thread's: then later runs go on in it.

        Raises NoSession where nobody vouches for a user; Denied, UnknownAgent and InvalidRequest as
        `Authority.session` does.
        """
        user = self.subject(dict(config))
        if user is None:
            raise _no_user(self.agent)
        thread = (config.get("configurable") or {}).get("thread_id")
        key = f"langgraph:{thread}" if thread else None
        return self._authority().session(agent=self.agent, user=user, key=key), key is not None

    def _authority(self) -> Authority:
        with self._opening:
            if not isinstance(self.authority, Authority):
                self.authority = Authority.open(self.authority)
            return self.authority


def refuse_below(config: Mapping[str, Any], agent: str) -> None:
    """Refuse a root for an agent that runs as a part of another graph. Raises NoSession.

    No callback tells who handed on there: an agent that another one started would act as if the user had asked it,
    with its full rights, and outlive the one that it works for.
    """
    space = (config.get("configurable") or {}).get("checkpoint_ns") or ""
    if _BELOW in space:
        raise refused(
            NoSession,
            "no_session",
            asked=f'"{agent[:64]}" runs as a part of another graph without a session; nothing was executed',
            enough="with authority.session(user=..., agent=...) around the outermost graph, "
            "and DeputizeMiddleware() without authority= on its agents",
            hint="DeputizeMiddleware(authority=...) opens a session for an agent that is a whole graph, for no other",
        )


def _no_user(agent: str) -> NoSession:
    return refused(
        NoSession,
        "no_session",
        asked=f'subject= named no user for "{agent[:64]}"; nothing was executed',
        enough="a subject= that returns a user whom the host has verified",
    )
