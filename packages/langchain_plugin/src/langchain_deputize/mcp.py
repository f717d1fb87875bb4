"""For langchain-mcp-adapters, which stands on MCP's first SDK: the right token with each call of a tool.

No module of either is imported here: what they hand over is asked for the few members that are used.
"""

import asyncio
import importlib
import importlib.metadata
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

from deputize import Access
from deputize.errors import ConfigurationError
from deputize.runtime import current_call
from langchain_deputize.delivery import Delivers, may_set_headers, undeliverable
from langchain_deputize.handles import Handed, handing, same_origin
from langchain_deputize.sessions import acurrent_access

S = TypeVar("S")
_PATIENCE: Final = timedelta(seconds=30)  # with the answer to a ping


class McpInterceptor(Delivers):
    """See `mcp_interceptor`."""

    async def __call__(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:  # noqa: ANN401  # the adapter's types are not installed everywhere
        """Hand on the request with the token of the running tool call. Raises Denied."""
        call = current_call()
        if not may_set_headers(call):
            raise undeliverable(call)
        access = await acurrent_access()
        if access.bound:
            raise undeliverable(call, "a token bound to a key needs a proof with each request, not one header for all")
        given = {name: value for name, value in (request.headers or {}).items() if name.lower() != "authorization"}
        return await handler(request.override(headers={**given, **access.headers("POST", access.resource)}))


def mcp_interceptor() -> McpInterceptor:
    """The last of `tool_interceptors` of a `MultiServerMCPClient`: each call carries its own token.

    For tools that open a connection for each call, over HTTP; for a session that stays open, `secure_mcp_session`. The
    tools have to be guarded, and the connection has to go to the resource that the registry puts them at. Otherwise,
    and where that resource takes key-bound tokens, the call is refused with Undeliverable.
    """
    return McpInterceptor()


class SecuredSession(Delivers):
    """See `secure_mcp_session`."""

    def __init__(self, session: Any) -> None:  # noqa: ANN401  # mcp is not installed everywhere
        self._session = session
        self._proving = asyncio.Lock()
        self._url: str | None = None  # where the connection goes to, once it has shown that it carries tokens

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # what the session has
        if name == "_session":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._session, name)

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the session's
        """As the session's own, with the token of the running tool call. Raises Denied."""
        access = await acurrent_access()
        async with self._proving:
            if self._url is None:
                self._url = await self._where(access)
        if self._url is None or not same_origin(self._url, access.resource):
            raise undeliverable(current_call())
        with handing(access) as (meta, handed):
            kwargs["meta"] = {**(kwargs.get("meta") or {}), **meta}
            result = await self._session.call_tool(name, arguments, *args, **kwargs)
        _check_sent(handed)
        return result

    async def _where(self, access: Access) -> str | None:
        """Send a ping that has to be noticed at the socket. One that comes through unnoticed tells all there is."""
        types: Any = importlib.import_module("mcp.types")  # who has a session has it; typed as the second SDK's here
        with handing(access, probe=True) as (meta, handed):
            params = types.RequestParams(_meta=types.RequestParams.Meta(**meta))
            ping = types.ClientRequest(types.PingRequest(method="ping", params=params))
            with suppress(Exception):  # what matters is whether it was noticed; the call itself tells what is broken
                await self._session.send_request(ping, types.EmptyResult, request_read_timeout_seconds=_PATIENCE)
        return handed.url


def secure_mcp_session(session: S) -> S:
    """A persistent MCP session whose tools carry, in parallel too, each the token of its own call.

    For `load_mcp_tools(secure_mcp_session(session))`. The connection needs `auth=DeputizeAuth(...)`. Each message gets
    an id in `_meta`, which stands for the call's access once; the auth swaps it for the header at the socket. The first
    call sends a ping ahead to see that this works. Where it does not (stdio, WebSocket, a connection without that
    auth, another server), calls are refused with Undeliverable and not sent.

    Raises ConfigurationError under MCP's second SDK, where `DeputizeAuth` alone does the same.
    """
    if not importlib.metadata.version("mcp").startswith("1."):
        raise ConfigurationError("with mcp 2, auth=DeputizeAuth() in the connection is all that is needed")
    return cast("S", SecuredSession(session))


def _check_sent(handed: Handed) -> None:
    if handed.url is None:
        raise undeliverable(current_call(), "the connection stopped to carry tokens, so this call went out without one")
