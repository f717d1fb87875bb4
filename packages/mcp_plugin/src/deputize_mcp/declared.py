"""`requires`: scopes written on a tool's function, and how a guard finds them in the application it wraps."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Final, ParamSpec, TypeVar, cast

from deputize.errors import Denial, Denied
from deputize_mcp.calling import get_caller

P = ParamSpec("P")
R = TypeVar("R")
_MARK: Final = "__deputize_scopes__"
_MOST_OBJECTS: Final = 10_000  # of an application's routes that are looked at


def requires(*scopes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Say on the function, under `@mcp.tool()`, which scopes one call needs.

    The guard reads it and answers 403 before the tool runs. The function checks as well, so that it stays
    closed where no guard stands in front of it (stdio, a test, a tool under another name).
    """
    needed = frozenset(scopes)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> object:
                _check(needed, function.__name__)
                return await function(*args, **kwargs)

        else:

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> object:
                _check(needed, function.__name__)
                return function(*args, **kwargs)

        setattr(guarded, _MARK, needed)
        return cast("Callable[P, R]", guarded)

    return decorate


def _check(needed: frozenset[str], tool: str) -> None:
    caller = get_caller()
    missing = needed - caller.scopes
    if missing:
        raise Denied(
            Denial(
                code="insufficient_scope",
                policy="guard.requires",
                asked=f"{tool} needs {' '.join(sorted(needed))}",
                enough=" ".join(sorted(missing)),
                subject=caller.subject,
                chain=caller.chain,
            )
        )


def declared_scopes(app: object) -> dict[str, frozenset[str]]:
    """What `requires` says of the tools of every MCP server found inside an ASGI application, by tool name.

    Looks through routes, mounts and middleware for the session manager of the official SDK. Two servers behind
    one guard that give one name other scopes: both sets are needed.
    """
    found: dict[str, frozenset[str]] = {}
    for server in _servers(app):
        for name, function in _tools(server):
            scopes = getattr(function, _MARK, None)
            if isinstance(scopes, frozenset):
                found[name] = found.get(name, frozenset()) | scopes
    return found


def _servers(app: object) -> Iterator[object]:
    """The low-level servers (what a session manager calls `app`) inside an application."""
    seen: set[int] = set()
    waiting: list[object] = [app]
    while waiting and len(seen) < _MOST_OBJECTS:
        item = waiting.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        manager = getattr(item, "session_manager", None)
        server = getattr(manager, "app", None)
        if server is not None and callable(getattr(server, "get_request_handler", None)):
            yield server
        waiting.extend(getattr(item, name, None) for name in ("app", "endpoint"))
        routes = getattr(item, "routes", None)
        if isinstance(routes, list | tuple):
            waiting.extend(routes)


def _tools(server: object) -> Iterator[tuple[str, object]]:
    """Name and function of each tool of an `MCPServer`; nothing for a bare low-level server, which has no functions."""
    entry = cast("Callable[[str], object]", getattr(server, "get_request_handler"))("tools/list")  # noqa: B009  # duck-typed
    owner = getattr(getattr(entry, "handler", None), "__self__", None)
    manager = getattr(owner, "_tool_manager", None)  # the SDK has no public way from a tool's name to its function
    if manager is not None:
        for tool in manager.list_tools():
            yield tool.name, tool.fn
