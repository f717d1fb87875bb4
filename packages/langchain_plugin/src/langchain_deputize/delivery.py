"""How a tool that calls a server elsewhere gets its token there; one that can't carry it is refused before it runs.

LangChain's two adapters for MCP make a tool of a function that sends by itself, over a connection that was set up
before. Nothing of ours stands between, unless it was put into that connection: this module looks whether it was.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from langchain_core.tools import BaseTool

from deputize import ToolCall
from deputize.errors import Denied
from deputize.runtime import refused
from langchain_deputize.auth import DeputizeAuth

LOCAL: Final = "urn:deputize:tools"  # the resource `local`: the agent's own process, for which there is no token
ADAPTERS: Final = ("langchain_mcp_adapters.", "langchain.mcp.")
_HTTP: Final = frozenset({"http", "sse", "streamable_http", "streamable-http"})  # transports that have headers

Function = Callable[..., Any]


class Undeliverable(Denied):
    """The call's token can't reach the server that the tool calls, so nothing was sent."""

    default_code = "undeliverable"


def check_delivery(tool: BaseTool | None, call: ToolCall) -> None:
    """Raise Undeliverable where `tool` was made by an MCP adapter and its calls would go out without their token."""
    function = mcp_function(tool) if tool is not None else None
    if function is None or call.resource == LOCAL:
        return
    held = _closure(function)
    if _authenticates(held.get("connection")) and held.get("session") is None:
        return
    if isinstance(getattr(getattr(held.get("client"), "transport", None), "auth", None), DeputizeAuth):
        return
    raise undeliverable(call)


def undeliverable(call: ToolCall) -> Undeliverable:
    """What is raised, with what would be enough."""
    return refused(
        Undeliverable,
        "undeliverable",
        asked=f'"{call.tool[:64]}" acts at {call.resource[:128]}, and its MCP connection would not carry the token of '
        "the call; nothing was sent",
        enough="DeputizeAuth() as auth= of the MCP connection",
        hint="a tool that needs no token is one of the agent's own process: [agents.<name>] use.local",
        reference=call.call_id or "",
    )


def mcp_function(tool: BaseTool) -> Function | None:
    """The adapter's own function in `tool`, or None for any other tool."""
    function = getattr(tool, "coroutine", None)
    while callable(function):
        if (getattr(function, "__module__", None) or "").startswith(ADAPTERS):
            return function  # type: ignore[no-any-return]  # callable() narrows to object
        function = function.func if isinstance(function, functools.partial) else getattr(function, "__wrapped__", None)
    return None


def _closure(function: Function) -> Mapping[str, object]:
    """What the adapter's function holds. Of a release that holds other things nothing is found, and it is refused."""
    return inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}


def _authenticates(connection: object) -> bool:
    return (
        isinstance(connection, Mapping)
        and connection.get("transport") in _HTTP
        and isinstance(connection.get("auth"), DeputizeAuth)
    )
