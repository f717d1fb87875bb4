"""`secure(graph)`: the same graph, which opens the root session of each of its runs and guards all of its tools."""
# ruff: noqa: A002, ANN401  # the signatures are LangGraph's

import logging
import types
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, merge_configs
from langgraph.pregel import Pregel

from deputize import Authority, Session
from deputize.errors import ConfigurationError
from deputize.runtime import ambient_session
from langchain_deputize.guard import parent_of
from langchain_deputize.handler import DeputizeCallbackHandler
from langchain_deputize.middleware import DeputizeMiddleware
from langchain_deputize.roots import Root, Subject
from langchain_deputize.walking import Coverage, guard_tool_nodes

G = TypeVar("G", bound=Pregel[Any, Any, Any, Any])

_CALLERS: Final = frozenset({"lc_agent_name", "langgraph_node"})  # metadata by which agents are known
_LOG: Final = logging.getLogger("langchain_deputize")


def secure(
    graph: G,
    *,
    authority: Authority | str,
    agent: str,
    subject: Subject,
    agents: Mapping[str, str] | None = None,
    handoffs: Mapping[str, str] | None = None,
) -> G:
    """The same graph, of the same class, for where no `with` can stand: LangGraph Server, streams, background runs.

    Each run opens the session of its user, one for each `thread_id`, or for the run alone where it has none; everything
    in it runs below that one. Inside a session, and as a part of another graph, it opens nothing. The tool nodes of the
    graph, and of the graphs in it, get a guard in place, inside of whatever wraps their calls; `coverage` says which.

    Args:
        graph: A compiled graph: `create_agent(...)`, `create_deep_agent(...)`, `StateGraph(...).compile()`.
        authority: An Authority, or the path of its configuration.
        agent: The agent that the whole graph runs as.
        subject: The user, from the RunnableConfig, that the *host* has verified; None refuses. `langgraph_user` reads
            LangGraph Server's.
        agents: Names for agents that LangChain has none for, as of `DeputizeCallbackHandler`.
        handoffs: Tools that hand on to other agents, as of `DeputizeMiddleware`.
    """
    if not isinstance(graph, Pregel):
        raise ConfigurationError("secure takes a compiled graph: create_agent(...), StateGraph(...).compile()")
    if isinstance(graph, _Secured):
        raise ConfigurationError("this graph is secured already")
    names = dict(agents or {})
    found = guard_tool_nodes(graph, DeputizeMiddleware(handoffs=handoffs), names)
    for item in found.unreached:
        _LOG.warning("secure: %s: %s", item.where, item.why)
    base = type(graph)
    namespace = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "_deputize": _Opening(Root(authority, agent, subject), names, found),
    }
    secured = graph.copy()
    secured.__class__ = types.new_class(base.__name__, (_Secured, base), exec_body=lambda ns: ns.update(namespace))
    return secured


def coverage(graph: Pregel[Any, Any, Any, Any]) -> Coverage:
    """What `secure` guarded in a graph, and what it could not reach."""
    if not isinstance(graph, _Secured):
        raise ConfigurationError("coverage takes a graph that secure(...) returned")
    return graph._deputize.found  # noqa: SLF001  # ours


@dataclass(frozen=True, slots=True)
class _Opening:
    """How the runs of a secured graph begin. On the class: LangGraph copies graphs by their attributes."""

    root: Root
    names: Mapping[str, str]
    found: Coverage

    def config(self, config: RunnableConfig | None, session: Session | None) -> RunnableConfig:
        """What the run is given: the handler, and no name of an agent that only its caller chose."""
        handler = DeputizeCallbackHandler(session, agents=self.names)
        if session is not None and config is not None:
            config = self._without_names(config, session)
        return merge_configs(config, {"callbacks": [handler]})

    def _without_names(self, config: RunnableConfig, session: Session) -> RunnableConfig:
        """A server's clients write `metadata` and `run_name`: whose run this is, the graph says."""
        own = cast("RunnableConfig", dict(config))
        own["metadata"] = {key: value for key, value in (own.get("metadata") or {}).items() if key not in _CALLERS}
        name = own.get("run_name")
        if name is not None and (name in self.names or session.authority.registry.agent(name) is not None):
            del own["run_name"]
        return own


class _Secured(Pregel[Any, Any, Any, Any]):
    """Mixed in front of a graph's own class. All ways to run a graph go through these two."""

    _deputize: ClassVar[_Opening]

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        opening, whole = self._deputize, merge_configs(self.config, config)
        session, of_thread = (None, True) if _is_within(whole) else opening.root.open(whole)
        try:
            yield from super().stream(input, opening.config(config, session), **kwargs)
        finally:
            if session is not None and not of_thread:
                session.close()

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        opening, whole = self._deputize, merge_configs(self.config, config)
        session, of_thread = (None, True) if _is_within(whole) else await opening.root.aopen(whole)
        inner = cast("AsyncGenerator[Any, None]", super().astream(input, opening.config(config, session), **kwargs))
        try:
            async with aclosing(inner) as parts:  # a stream that is left early ends its runs first
                async for part in parts:
                    yield part
        finally:
            if session is not None and not of_thread:
                await session.aclose()


def _is_within(config: RunnableConfig) -> bool:
    """True where a session is there already, or another graph is around this one: then that one's host opens it."""
    if ambient_session() is not None:
        return True
    whole = ensure_config(config)
    callbacks = whole.get("callbacks")
    handlers = callbacks if isinstance(callbacks, list) else getattr(callbacks, "handlers", ())
    given = any(isinstance(handler, DeputizeCallbackHandler) and handler.has_session for handler in handlers)
    return given or parent_of(callbacks) is not None or bool((whole.get("configurable") or {}).get("checkpoint_ns"))
