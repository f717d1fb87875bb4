"""Which tools hand on to another agent. `delegate` alone governs those, so nothing may pass for one by accident.

A tool is a hand-off tool where the developer said so (`handoffs=`, `handoff_to=`), where LangChain built it around
a named graph (`agent.as_tool()`), where it is deepagents' `task`, or where its function is annotated to return a
`Command` and names, in its metadata or its own code, the agents that it hands on to. A name that the registry
knows as a tool is never one of the latter: `use` governs it. What only looks like a hand-off has to result in one,
or its result is withheld; and no hand-off tool can get access.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import CellType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from langchain_core.tools import BaseTool

from deputize import Session
from langchain_deputize.binding import is_registered
from langchain_deputize.commands import PARENT
from langchain_deputize.handler import HANDOFF

Function = Callable[..., Any]
_CONVERTED: Final = "langchain_core.tools.convert"


@dataclass(frozen=True, slots=True)
class HandOffTool:
    """The agents that a tool may hand on to. `nodes`: where its result has to go; None where it is not checked."""

    to: tuple[str, ...]
    nodes: frozenset[str] | None = None


def hand_off_of(
    tool: BaseTool | None,
    name: str,
    args: Mapping[str, object],
    session: Session,
    *,
    resource: str | None = None,
    declared: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> HandOffTool | None:
    """What `tool` hands on to, or None for any other tool. `names` are a handler's registered names of nodes."""
    if declared:
        return HandOffTool(to=tuple(declared))
    function = function_of(tool) if tool is not None else None
    if tool is None or function is None:
        return None
    if name == "task" and module_of(function).partition(".")[0] == "deepagents":
        chosen = args.get("subagent_type")
        return HandOffTool(to=(chosen,)) if isinstance(chosen, str) else None
    if is_registered(name, resource, session):
        return None
    graph = graph_inside(function)
    if graph is not None:
        return HandOffTool(to=(graph,))
    return _by_command(tool, function, session, names or {})


def function_of(tool: BaseTool) -> Function | None:
    """What a tool runs."""
    for attribute in ("func", "coroutine"):
        function = getattr(tool, attribute, None)
        if callable(function):
            return function  # type: ignore[no-any-return]  # callable() narrows to object
    return type(tool)._run  # noqa: SLF001  # the method that a BaseTool subclass defines


def module_of(function: Function) -> str:
    """Where a function was written."""
    return getattr(function, "__module__", None) or ""


def graph_inside(function: Function) -> str | None:
    """The name of the graph that `graph.as_tool()` wrapped: LangChain's own function around it, nothing else."""
    pregel = sys.modules.get("langgraph.pregel")
    if pregel is None:
        return None
    inner = getattr(function, "__self__", None)  # Tool(func=graph.invoke)
    if inner is None and module_of(function) == _CONVERTED:
        inner = inspect.getclosurevars(function).nonlocals.get("runnable")
    while inner is not None and not isinstance(inner, pregel.Pregel):
        inner = getattr(inner, "bound", None)  # with_types, with_config
    name = getattr(inner, "name", None)
    return name if isinstance(name, str) and name != "LangGraph" else None


def _by_command(tool: BaseTool, function: Function, session: Session, names: Mapping[str, str]) -> HandOffTool | None:
    literal = command_targets(function)
    if literal is None:
        return None
    marked = (tool.metadata or {}).get(HANDOFF)
    if isinstance(marked, str):
        nodes: Iterable[str] = (marked,)
    else:
        registry = session.authority.registry
        nodes = [text for text in (*literal, *texts_of(function)) if registry.agent(names.get(text, text)) is not None]
    nodes = tuple(dict.fromkeys(nodes))
    return HandOffTool(to=tuple(names.get(n, n) for n in nodes), nodes=frozenset(nodes)) if nodes else None


def command_targets(function: Function) -> tuple[str, ...] | None:
    """The literal targets of a `-> Command[...]` annotation; None where it promises anything but a `Command`."""
    try:
        result = get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):  # an annotation that only a type checker can resolve
        result = getattr(function, "__annotations__", {}).get("return")
    if isinstance(result, str):
        return () if result.partition("[")[0].rpartition(".")[2].strip() == "Command" else None
    kind = get_origin(result) or result
    if not isinstance(kind, type) or kind.__name__ != "Command" or not kind.__module__.startswith("langgraph."):
        return None
    literals = (part for part in get_args(result) if get_origin(part) is Literal)
    return tuple(text for literal in literals for text in get_args(literal) if isinstance(text, str))


def texts_of(function: Function) -> Iterable[str]:
    """Strings that the function's own code or closure holds, where that code goes to the parent graph."""
    code = getattr(function, "__code__", None)
    if code is None or not ("PARENT" in code.co_names or PARENT in code.co_consts):
        return
    cells = getattr(function, "__closure__", None) or ()
    for value in (*code.co_consts, *(_content(cell) for cell in cells)):
        if isinstance(value, str):
            yield value


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
