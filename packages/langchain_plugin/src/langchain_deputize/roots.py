"""The root session where no `with` can stand: opened by what stands on an agent or a graph."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, cast

from langchain_core.runnables.config import RunnableConfig, ensure_config

from deputize import Authority, Session
from deputize.errors import NoSession
from deputize.runtime import no_session, refused
from langchain_deputize.nesting import graphs_around
from langchain_deputize.threads import root_of

Config = Mapping[str, Any] | RunnableConfig
Subject = Callable[[dict[str, Any]], str | None]

_BELOW: Final = "|"  # in a checkpoint namespace: a graph that runs as a part of another one
_RUNTIME: Final = "__pregel_runtime"  # in `configurable`
_REMEMBERED: Final = 4096  # runs
_USER: Final = "langgraph_auth_user"
_SERVER: Final = frozenset({"langgraph_request_id", "langgraph_auth_user_id", "assistant_id"})  # in `configurable`
_SECURE: Final = "secure(graph, authority=..., agent=..., subject=langgraph_user)"


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

    def open(self, config: Config) -> tuple[Session, bool]:
        """The session of this run, and whether it is its thread's: then later runs go on in it.

        Raises NoSession where nobody vouches for a user; Denied, UnknownAgent and InvalidRequest as
        `Authority.session` does.
        """
        user, thread = self._user(config), _thread(config)
        return self._session(self._authority(), user, thread), thread is not None

    async def aopen(self, config: Config) -> tuple[Session, bool]:
        """`open`, without blocking the loop."""
        user, thread = self._user(config), _thread(config)
        authority = self.authority
        if not isinstance(authority, Authority):
            authority = await asyncio.to_thread(self._authority)
        opened = authority
        return await opened.run(lambda: self._session(opened, user, thread)), thread is not None

    def _session(self, authority: Authority, user: str, thread: str | None) -> Session:
        if thread is None:
            return authority.session(agent=self.agent, user=user)
        return root_of(authority, agent=self.agent, user=user, thread=thread)

    def _user(self, config: Config) -> str:
        user = self.subject(cast("dict[str, Any]", dict(config)))
        if not isinstance(user, str) or not user:
            raise _no_user(self.agent)
        return user

    def _authority(self) -> Authority:
        with self._opening:
            if not isinstance(self.authority, Authority):
                self.authority = Authority.open(self.authority)
            return self.authority


def langgraph_user(config: Config) -> str | None:
    """`subject=` under LangGraph Server: the identity that its `@auth.authenticate` handler vouched for.

    None where nobody did: without such a handler, and for Studio under `langgraph dev`, whose user is made up. What
    the server puts there is an object; a mapping may be what a client wrote, and is nobody's word.
    """
    user = (config.get("configurable") or {}).get(_USER)
    if user is None or isinstance(user, dict | str) or getattr(user, "is_authenticated", False) is not True:
        return None
    identity = getattr(user, "identity", None)
    if not isinstance(identity, str) or not identity:
        return None
    return f"local|{identity}" if "|" in identity else identity  # its server's user, never another issuer's


def outside(tool: str) -> NoSession:
    """The refusal of a tool call without a session. Where LangGraph Server runs the graph, what to add there."""
    asked = f'tool "{tool[:64]}" was called outside a delegated session; nothing was executed'
    if _SERVER.isdisjoint(ensure_config().get("configurable") or {}):
        return no_session(asked)
    return refused(
        NoSession,
        "no_session",
        asked=asked,
        enough=f"graph = {_SECURE} in the module that langgraph.json names",
        hint="LangGraph Server, `langgraph dev` and Studio run a graph where no `with` can stand",
    )


class _Roots:
    """For which agent middleware opened the root of a graph's run. Only of the newest runs."""

    def __init__(self) -> None:
        self._agents: OrderedDict[int, tuple[object, str]] = OrderedDict()  # holds the run, so its id is not reused
        self._lock = Lock()

    def first(self, run: object, agent: str) -> str:
        """The agent of the first root in this run: `agent` itself where there was none."""
        with self._lock:
            _, first = self._agents.setdefault(id(run), (run, agent))
            self._agents.move_to_end(id(run))
            while len(self._agents) > _REMEMBERED:
                self._agents.popitem(last=False)
            return first


_ROOTS: Final = _Roots()


def refuse_second(config: Config, agent: str) -> None:
    """Refuse a root for an agent that runs as a part of another graph, or beside another root. Raises NoSession.

    No callback tells who handed on there: an agent that another one started would act as if the user had asked it,
    with its full rights, and outlive the one that it works for.
    """
    configurable = config.get("configurable") or {}
    run = getattr(configurable.get(_RUNTIME), "control", None)  # one object for all of a run
    # A call with a `configurable` of its own hides the graph around it, but not from its callbacks.
    part = _BELOW in str(configurable.get("checkpoint_ns")) or graphs_around(config.get("callbacks")) > 1
    if run is None or part or _ROOTS.first(run, agent) != agent:
        raise refused(
            NoSession,
            "no_session",
            asked=f'"{agent[:64]}" runs in a graph with other agents and without a session; nothing was executed',
            enough=f"{_SECURE} around the outermost graph, and DeputizeMiddleware() without authority= on its agents",
            hint="DeputizeMiddleware(authority=...) opens a session for an agent that is a whole graph, for no other",
        )


def _thread(config: Config) -> str | None:
    thread = (config.get("configurable") or {}).get("thread_id")
    return str(thread) if thread else None


def _no_user(agent: str) -> NoSession:
    return refused(
        NoSession,
        "no_session",
        asked=f'subject= named no user for "{agent[:64]}"; nothing was executed',
        enough='an @auth.authenticate handler under "auth" in langgraph.json: it vouches for the user that '
        "langgraph_user reads; or a subject= that returns whom your host has verified",
        hint='Studio and `langgraph dev` have no user: there, and only there, subject=lambda config: "<your name>"',
    )
