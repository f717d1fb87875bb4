"""Agents behind LangGraph's server API: called with a token for them, and with nothing else of the caller's."""

from collections.abc import Sequence
from typing import Any, Final

import httpx
import httpx2
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph

from deputize import Access, Right, Session
from deputize.errors import ConfigurationError
from langchain_deputize.flows import AccessAuth
from langchain_deputize.sessions import current_session

# What of a config's `configurable` the other side needs: which thread, and where in it.
_SENT: Final = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})
_STARTS: Final = frozenset({"runs", "commands", "stream"})  # parts of the paths of requests that make the agent run


class DeputizeRemoteGraph(RemoteGraph):
    """A RemoteGraph whose every request carries a fresh token of the session that it is made in, for its audience.

    As a node of a graph, or called in a node or a tool. The token goes to the resource's own origin alone; without a
    session nothing is sent (NoSession). Of the config only thread and checkpoint are sent: `configurable`
    and the metadata that LangChain makes of it may hold secrets. What is passed as `context=` by hand is sent as it is.

    Args:
        assistant_id: As RemoteGraph takes it.
        resource: The remote agent's own audience, alias or URL.
        scopes: What a call of it needs.
        onward: What it may open a session of its own over, below the caller's: an invitation. It redeems the token that
            it gets by `Authority.redeem`. Recorded as `handoff.announced`; empty, the token opens nothing.
        options: What RemoteGraph takes beside. Clients given by hand get an auth of ours.
    """

    def __init__(
        self,
        assistant_id: str,
        /,
        *,
        resource: str,
        scopes: Sequence[str],
        onward: Sequence[Right] = (),
        **options: Any,  # noqa: ANN401  # RemoteGraph's own
    ) -> None:
        if isinstance(scopes, str):
            raise ConfigurationError("scopes are a list, not one string", key="scopes")
        if options.get("distributed_tracing"):
            raise ConfigurationError("distributed tracing sends the metadata, which may hold secrets", key="tracing")
        if not callable(getattr(RemoteGraph, "_sanitize_config", None)):
            raise ConfigurationError("this release of LangGraph sends configs in another way than those before")
        super().__init__(assistant_id, **options)
        self.resource = resource
        self.scopes = tuple(scopes)
        self.onward = tuple(onward)
        auth = _RemoteAuth(resource, self.scopes, self.onward)
        for client in (self.client, self.sync_client):
            if client is not None:
                _put(auth, client)

    def _sanitize_config(self, config: RunnableConfig) -> RunnableConfig:
        sanitized = super()._sanitize_config(config)
        sanitized.pop("metadata", None)
        if "configurable" in sanitized:
            kept = {name: value for name, value in sanitized["configurable"].items() if name in _SENT}
            sanitized["configurable"] = kept
        return sanitized


class _RemoteAuth(AccessAuth):
    def __init__(self, resource: str, scopes: tuple[str, ...], onward: tuple[Right, ...]) -> None:
        self._resource = resource
        self._scopes = scopes
        self._onward = onward

    def access_for(self, request: httpx.Request | httpx2.Request) -> Access:
        return self._access(current_session(), request)

    async def aaccess_for(self, request: httpx.Request | httpx2.Request) -> Access:
        session = current_session()
        return await session.authority.run(lambda: self._access(session, request))

    def _access(self, session: Session, request: httpx.Request | httpx2.Request) -> Access:
        """An invitation for what makes the agent run; for what only asks for its state, a token that opens nothing."""
        starts = request.method == "POST" and not _STARTS.isdisjoint(request.url.path.split("/"))
        onward = self._onward if starts else ()
        access = session.access(self._resource, self._scopes, onward=onward)
        if onward:
            agent = session.authority.registry.resource(self._resource).agent
            to = agent.rpartition("/")[2] if agent is not None else access.resource
            session.note("handoff.announced", detail={"to": to, "jti": access.id})
        return access


def _put(auth: _RemoteAuth, client: Any) -> None:  # noqa: ANN401  # LangGraph has two, with one shape
    """Make `auth` the one of this client. Raises where it has another, or where there is no telling."""
    over = getattr(getattr(client, "http", None), "client", None)
    if not isinstance(over, httpx.Client | httpx.AsyncClient):
        raise ConfigurationError("this client of LangGraph's server API sends in a way that can't be looked into")
    if over.auth is not None and not isinstance(over.auth, _RemoteAuth):
        raise ConfigurationError("this client has an auth of its own, beside which ours would not be heard")
    over.auth = auth
