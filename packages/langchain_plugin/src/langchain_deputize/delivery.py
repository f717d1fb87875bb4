"""How a tool that calls a server elsewhere gets its token there; one that can't carry it is refused before it runs.

LangChain's two adapters for MCP make a tool of a function that sends by itself, over a connection that was set up
before. Nothing of ours stands between, unless it was put into that connection: this module looks whether it was.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakSet

from langchain_core.tools import BaseTool

from deputize import ToolCall
from deputize.errors import Denied
from deputize.runtime import refused
from langchain_deputize.auth import DeputizeAuth
from langchain_deputize.handles import same_origin

LOCAL: Final = "urn:deputize:tools"  # the resource `local`: the agent's own process, for which there is no token
ADAPTERS: Final = ("langchain_mcp_adapters.", "langchain.mcp.")
_HTTP: Final = frozenset({"http", "sse", "streamable_http", "streamable-http"})  # transports that have headers
_CARRIES_NONE: Final = "its MCP connection would not carry the token of the call; nothing was sent"

Function = Callable[..., Any]


class Undeliverable(Denied):
    """The call's token can't reach the server that the tool calls, so nothing was sent."""

    default_code = "undeliverable"


class Delivers:
    """What `mcp_interceptor` and `secure_mcp_session` put into a connection: it delivers, or it refuses."""


_BY_HEADER: Final[WeakSet[ToolCall]] = WeakSet()


def delivers(tool: BaseTool | None, call: ToolCall) -> bool:
    """Whether `tool` was made by an MCP adapter and its connection will carry the token of `call`, which it needs.

    Raises Undeliverable where it needs one and the call would go out without.
    """
    function = mcp_function(tool) if tool is not None else None
    if function is None or call.resource == LOCAL:
        return False
    held = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
    if held.get("client") is not None:
        delivered = _client_delivers(held, call)
    elif held.get("session") is not None:
        delivered = isinstance(held["session"], Delivers)
    else:
        delivered = _connection_delivers(held, call)
    if not delivered:  # also of a release that holds other things than these
        raise undeliverable(call)
    return True


def may_set_headers(call: ToolCall | None) -> bool:
    """Whether `delivers` saw where the headers go that are set for this call."""
    return call is not None and call in _BY_HEADER


def undeliverable(
    call: ToolCall | None, why: str = "its MCP connection would not carry the token of the call"
) -> Denied:
    """What is raised, with what would be enough."""
    what, where = (call.tool, call.resource) if call is not None else ("an MCP tool", "another place")
    return refused(
        Undeliverable,
        "undeliverable",
        asked=f'"{what[:64]}" acts at {where[:128]}, and {why}',
        enough="auth=DeputizeAuth() in the MCP connection; with langchain-mcp-adapters also mcp_interceptor() as the "
        "last of tool_interceptors, and for a session that stays open secure_mcp_session() around it",
        hint="a tool that needs no token is one of the agent's own process: [agents.<name>] use.local",
        reference=(call.call_id or "") if call is not None else "",
    )


def mcp_function(tool: BaseTool) -> Function | None:
    """The adapter's own function in `tool`, or None for any other tool."""
    function = getattr(tool, "coroutine", None)
    while callable(function):
        if (getattr(function, "__module__", None) or "").startswith(ADAPTERS):
            return function  # type: ignore[no-any-return]  # callable() narrows to object
        function = function.func if isinstance(function, functools.partial) else getattr(function, "__wrapped__", None)
    return None


def _client_delivers(held: Mapping[str, Any], call: ToolCall) -> bool:
    """A FastMCP client, or a group of them, in which a tool is called by the name of its server and its own."""
    client = held["client"]
    members = getattr(client, "clients", None)
    if members is None:
        return _transport_delivers(getattr(client, "transport", None), call)
    name = str(getattr(held.get("tool"), "name", ""))
    concerned = [member for server, member in members.items() if name.startswith(f"{server}_")]
    return bool(concerned) and all(_transport_delivers(member.transport, call) for member in concerned)


def _transport_delivers(transport: object, call: ToolCall) -> bool:
    goes_there = same_origin(str(getattr(transport, "url", "")), call.resource)
    return goes_there and isinstance(getattr(transport, "auth", None), DeputizeAuth)


def _connection_delivers(held: Mapping[str, Any], call: ToolCall) -> bool:
    """A connection for each call. The interceptor's header goes out beside the connection's own headers."""
    connection = held.get("connection")
    if not isinstance(connection, Mapping) or connection.get("transport") not in _HTTP:
        return False
    if not same_origin(str(connection.get("url", "")), call.resource):
        return False
    auth = connection.get("auth")
    if isinstance(auth, DeputizeAuth):
        return True
    interceptors = held.get("tool_interceptors") or ()
    others = auth is not None or "authorization" in {str(name).lower() for name in connection.get("headers") or ()}
    if others or not interceptors or not isinstance(interceptors[-1], Delivers):
        return False
    _BY_HEADER.add(call)
    return True
