"""Every tool node that can be found in a compiled graph gets a guard; what could not be reached is said.

LangGraph's own list of nodes and subgraphs is walked, and what the functions of nodes and tools hold: an agent in
the body of a tool, deepagents' sub-agents. What a walk can't see is not lost, the backstop refuses it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol
from langgraph.types import Command

from langchain_deputize.binding import UNNAMED
from langchain_deputize.holding import held_by, parts
from langchain_deputize.middleware import DeputizeMiddleware
from langchain_deputize.tools import is_guarded

Graph = Pregel[Any, Any, Any, Any]
Result = ToolMessage | Command[Any]
Execute = Callable[[ToolCallRequest], Result]
AsyncExecute = Callable[[ToolCallRequest], Awaitable[Result]]

_TASKS: Final = "langgraph.func"  # its @task makes callables that are no runnables


@dataclass(frozen=True, slots=True)
class Unreached:
    """Something in a graph whose tool calls are refused, or are not seen in this process, and what to do."""

    where: str
    why: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a walk through a graph found. Printed, it says so line by line.

    Args:
        guarded: The tool nodes that have a guard, each by its path of nodes, tools and graphs.
        unreached: The rest of what was seen.
    """

    guarded: tuple[str, ...]
    unreached: tuple[Unreached, ...]

    def __str__(self) -> str:
        lines = [f"guarded    {where}" for where in self.guarded]
        lines += [f"unreached  {item.where}: {item.why}" for item in self.unreached]
        return "\n".join(lines) or "no tools found"


@dataclass(frozen=True, slots=True)
class _Innermost:
    """A tool node's wrapper: the one that it had, and inside of it the guard, next to what runs."""

    guard: DeputizeMiddleware
    around: Callable[[ToolCallRequest, Execute], Result] | None

    def __call__(self, request: ToolCallRequest, execute: Execute) -> Result:
        def guarded(request: ToolCallRequest) -> Result:
            return self.guard.wrap_tool_call(request, execute)

        return guarded(request) if self.around is None else self.around(request, guarded)


@dataclass(frozen=True, slots=True)
class _AsyncInnermost:
    """The same for async runs."""

    guard: DeputizeMiddleware
    around: Callable[[ToolCallRequest, AsyncExecute], Awaitable[Result]] | None

    async def __call__(self, request: ToolCallRequest, execute: AsyncExecute) -> Result:
        async def guarded(request: ToolCallRequest) -> Result:
            return await self.guard.awrap_tool_call(request, execute)

        return await guarded(request) if self.around is None else await self.around(request, guarded)


def guard_tool_nodes(
    graph: Pregel[Any, Any, Any, Any], guard: DeputizeMiddleware, names: Mapping[str, str]
) -> Coverage:
    """Put `guard` on the tool nodes of `graph` and of all that is found in it, in place. `names`: as registered."""
    walk = _Walk(guard, names)
    walk.graph(graph, "")
    return walk.coverage()


class _Walk:
    def __init__(self, guard: DeputizeMiddleware, names: Mapping[str, str]) -> None:
        self._guard = guard
        self._names = names
        self._seen: list[object] = []  # held, so that no id is given twice
        self._ids: set[int] = set()
        self._guarded: list[str] = []
        self._unreached: list[Unreached] = []
        self._in_nodes: list[BaseTool] = []
        self._loose: list[tuple[str, BaseTool]] = []

    def coverage(self) -> Coverage:
        """What was found."""
        for where, tool in self._loose:
            if not is_guarded(tool) and not any(tool is known for known in self._in_nodes):
                why = f'refers to the tool "{tool.name[:64]}", which has no guard: secure_tool'
                self._unreached.append(Unreached(where, why))
        return Coverage(tuple(self._guarded), tuple(dict.fromkeys(self._unreached)))

    def graph(self, graph: Graph, path: str) -> None:
        """All nodes of a graph, once."""
        if self._again(graph):
            return
        nodes = sorted(graph.nodes.items(), key=lambda item: not isinstance(item[1].bound, ToolNode))
        for name, node in nodes:  # a model's node holds the same tools, and calls none
            for found in (node.bound, *node.subgraphs):
                self._look(found, f"{path}{name}", name)

    def _again(self, found: object) -> bool:
        if id(found) in self._ids:
            return True
        self._seen.append(found)
        self._ids.add(id(found))
        return False

    def _look(self, found: object, where: str, node: str) -> None:
        """`found` is what a node runs, or something that this holds."""
        if isinstance(found, ToolNode):
            self._tool_node(found, where, node)
        elif isinstance(found, Pregel):
            self._subgraph(found, where, node)
        elif self._again(found):
            return
        elif isinstance(found, PregelProtocol):
            self._unreached.append(Unreached(where, "runs elsewhere, where this process guards nothing"))
        elif isinstance(found, BaseTool):
            self._loose.append((where, found))
            self._tool(found, where, node)
        elif isinstance(found, Runnable) or type(found).__module__ == _TASKS:
            for part in parts(found):
                self._look(part, where, node)

    def _subgraph(self, found: Graph, where: str, node: str) -> None:
        if id(found) in self._ids:
            return
        name = (found.config or {}).get("run_name") or found.get_name()
        if name == UNNAMED and not {node, f"@{node}"} & set(self._names):
            why = f'holds an agent without a name, whose tools are refused: name it, or agents={{"@{node[:64]}": ...}}'
            self._unreached.append(Unreached(where, why))
        shown = name == UNNAMED or name == where.rpartition("/")[2]  # a subgraph that is a node has the node's name
        self.graph(found, f"{where}/" if shown else f"{where}/{name}/")

    def _tool_node(self, found: ToolNode, where: str, node: str) -> None:
        if self._again(found):
            return
        _put_on(found, self._guard)
        self._guarded.append(where)
        for tool in found.tools_by_name.values():
            self._in_nodes.append(tool)
            self._tool(tool, f"{where}/{tool.name}", node)

    def _tool(self, tool: BaseTool, where: str, node: str) -> None:
        """The agents that a tool runs."""
        for found in (*held_by(getattr(type(tool), "_run", None)), *parts(tool)):
            if isinstance(found, Pregel | PregelProtocol):
                self._look(found, where, node)


def _put_on(node: ToolNode, guard: DeputizeMiddleware) -> None:
    """Without an async wrapper LangGraph runs the sync one in async programs too: that stays so."""
    around, aaround = node._wrap_tool_call, node._awrap_tool_call  # noqa: SLF001  # tests of facts hold it to that
    if isinstance(around, _Innermost):
        around = around.around
    if isinstance(aaround, _AsyncInnermost):
        aaround = aaround.around
    node._wrap_tool_call = _Innermost(guard, around)  # noqa: SLF001  # as above
    only_sync = around is not None and aaround is None
    node._awrap_tool_call = None if only_sync else _AsyncInnermost(guard, aaround)  # noqa: SLF001  # as above
