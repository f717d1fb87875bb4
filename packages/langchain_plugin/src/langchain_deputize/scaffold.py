"""`scaffold(graph)`: what a compiled graph would need, as the text of a deputize.toml to be reviewed and cut."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol

from deputize.errors import ConfigurationError
from langchain_deputize.binding import UNNAMED
from langchain_deputize.delivery import mcp_function
from langchain_deputize.handler import HANDOFF
from langchain_deputize.handoffs import command_targets, function_of, graph_inside, module_of, texts_of
from langchain_deputize.holding import held_by, parts

Graph = Pregel[Any, Any, Any, Any]
_FRAMEWORKS: Final = ("deepagents.", "langchain.agents.middleware.")
_ACTS: Final = frozenset({"execute", "delete"})  # theirs that are said for each agent
_ROOT: Final = "agent"  # what a graph without a name is called
_NAMELESS: Final = (
    "# The graph has no name. Open its session as this agent, or as one of those below, with open = true there."
)
_FRAMEWORK: Final = "# A framework's own tools, for every agent.\n[resources.local]\nallow_framework_tools = "
_ELSEWHERE: Final = "runs elsewhere; DeputizeRemoteGraph in its place carries a token there"
_REMOTE: Final = "of an MCP server; give that a [resources.<alias>] with its url, scopes and tools"
_HEAD: Final = """\
# What the graph would need, found by looking at it: nothing was run. Review every line, and cut.
version = 1

[authority]
users = "unrestricted"              # any user may use any agent; "listed": [[users]] and policies decide

[store]
url = "sqlite:deputize.db"
"""


@dataclass(slots=True)
class _Agent:
    """What one agent was seen to have. Sets in the order of the graph."""

    name: str
    nameless: bool = False
    registered: str | None = None  # how callbacks find it, where it has no name of its own
    tools: dict[str, None] = field(default_factory=dict)
    remote: dict[str, None] = field(default_factory=dict)  # of these: tools of an MCP server
    to: dict[str, None] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)  # tools that run another agent, for `handoffs=`


def scaffold(graph: object) -> str:
    """The agents, tools and hand-offs of a compiled graph, as deputize.toml text.

    Raises ConfigurationError where `graph` is none.
    """
    if not isinstance(graph, Pregel):
        raise ConfigurationError("scaffold takes a compiled graph: create_agent(...), StateGraph(...).compile()")
    walk = _Walk()
    root = walk.agent(_name(graph) or _ROOT, None)
    root.nameless = _name(graph) is None
    walk.graph(graph, root, ())
    return _text(walk, root)


def _name(graph: Graph) -> str | None:
    name = (graph.config or {}).get("run_name") or graph.get_name()
    return name if name != UNNAMED else None


class _Walk:
    """Follows a graph's nodes, its subgraphs, and what its functions and tools hold."""

    def __init__(self) -> None:
        self.agents: dict[str, _Agent] = {}
        self.framework: dict[str, None] = {}
        self.elsewhere: dict[str, None] = {}
        self._seen: list[object] = []  # held, so that no id is given twice
        self._ids: set[tuple[int, str]] = set()

    def agent(self, name: str, registered: str | None) -> _Agent:
        """The one of that name; `registered`: how callbacks find it, where it has none of its own."""
        return self.agents.setdefault(name, _Agent(name, registered=registered))

    def graph(self, graph: Graph, owner: _Agent, peers: tuple[str, ...]) -> None:
        """`peers`: the nodes of the graphs around, which a `Command` may go to."""
        if self._again(graph, owner):
            return
        nodes = (*peers, *graph.nodes)
        for name, node in graph.nodes.items():
            for found in (node.bound, *node.subgraphs):
                self._look(found, owner, name, nodes)

    def _again(self, found: object, owner: _Agent) -> bool:
        key = (id(found), owner.name)
        if key in self._ids:
            return True
        self._seen.append(found)
        self._ids.add(key)
        return False

    def _look(self, found: object, owner: _Agent, node: str, peers: tuple[str, ...]) -> None:
        if isinstance(found, Pregel):
            self._below(found, owner, node, peers)
        elif isinstance(found, PregelProtocol):
            self.elsewhere[node] = None
        elif isinstance(found, ToolNode):
            for tool in found.tools_by_name.values():
                self._tool(tool, owner, peers)
        elif self._again(found, owner):
            return
        elif isinstance(found, BaseTool):
            self._tool(found, owner, peers)
        elif isinstance(found, Runnable):
            for part in parts(found):
                self._look(part, owner, node, peers)

    def _below(self, found: Graph, owner: _Agent, node: str, peers: tuple[str, ...]) -> _Agent:
        name = _name(found)
        child = self.agent(name, None) if name is not None else self.agent(node, f"@{node}")
        if child is not owner:
            owner.to[child.name] = None
        self.graph(found, child, peers)
        return child

    def _tool(self, tool: BaseTool, owner: _Agent, peers: tuple[str, ...]) -> None:
        function = function_of(tool)
        module = module_of(function) if function is not None else ""
        inside = [held for held in _graphs(tool) if isinstance(held, Pregel)]
        if not inside and f"{module}.".startswith(_FRAMEWORKS):
            (owner.tools if tool.name in _ACTS else self.framework)[tool.name] = None
        elif function is not None and command_targets(function) is not None and not inside:
            said = (tool.metadata or {}).get(HANDOFF)
            targets = (said,) if isinstance(said, str) else (*(command_targets(function) or ()), *texts_of(function))
            owner.to.update(dict.fromkeys(target for target in targets if target in peers))
        elif inside:
            for held in inside:
                child = self._below(held, owner, tool.name, peers)
                if function is not None and graph_inside(function) is None and not module.startswith(_FRAMEWORKS):
                    owner.declared[tool.name] = child.name
        else:
            owner.tools[tool.name] = None
            if mcp_function(tool) is not None:
                owner.remote[tool.name] = None


def _graphs(tool: BaseTool) -> Iterator[object]:
    """The agents that a tool runs."""
    for found in (*held_by(getattr(type(tool), "_run", None)), *parts(tool)):
        inner = found
        while inner is not None and not isinstance(inner, PregelProtocol):
            inner = getattr(inner, "bound", None)  # with_config
        if inner is not None:
            yield inner


def _text(walk: _Walk, root: _Agent) -> str:
    blocks = [_HEAD]
    if walk.framework:
        walk.framework.setdefault("write_todos", None)  # deepagents keeps it where no tool node shows it
        names = _list(walk.framework)
        blocks.append(
            f"# A framework's own tools, for every agent.\n[resources.local]\nallow_framework_tools = {names}\n"
        )
    blocks += [_agent_text(walk, agent, opens=agent is root) for agent in walk.agents.values()]
    blocks += [
        f"# {node}: runs elsewhere; DeputizeRemoteGraph in its place carries a token there.\n"
        for node in walk.elsewhere
    ]
    code = _code(walk)
    return "\n".join([*blocks, *([code] if code else [])])


def _agent_text(walk: _Walk, agent: _Agent, *, opens: bool) -> str:
    lines = [f"[agents.{_key(agent.name)}]"]
    if agent.nameless:
        lines.insert(0, _NAMELESS)
    if opens:
        lines.append("open = true                         # may start a session")
    if agent.tools:
        lines.append(f"use = {{ local = {_list(agent.tools)} }}")
    if agent.remote:
        lines.append(
            f"# of an MCP server: {', '.join(agent.remote)}. Give it a [resources.<alias>] with url, scopes and tools"
        )
    handed = dict.fromkeys(name for below in _below(walk, agent) for name in below.tools if name not in agent.tools)
    if agent.to:
        if handed:
            lines.append(f"delegate = {{ local = {_list(handed)} }}    # may hand on, not use")
        lines.append(f"delegate_to = {_list(agent.to)}")
    return "\n".join(lines) + "\n"


def _below(walk: _Walk, agent: _Agent) -> list[_Agent]:
    """The agents that may work below it, each once."""
    found: dict[str, _Agent] = {}
    waiting = [agent]
    while waiting:
        for name in waiting.pop().to:
            child = walk.agents.get(name)
            if child is not None and child is not agent and name not in found:
                found[name] = child
                waiting.append(child)
    return list(found.values())


def _code(walk: _Walk) -> str:
    """What the program has to be told besides."""
    named = {agent.registered: agent.name for agent in walk.agents.values() if agent.registered is not None}
    told = {tool: to for agent in walk.agents.values() for tool, to in agent.declared.items()}
    lines = []
    if told:
        lines.append(f"# DeputizeMiddleware(handoffs={told!r})")
    if named:
        lines.append(f"# DeputizeCallbackHandler(agents={named!r})")
    return "\n".join(["# In the program:", *lines]) + "\n" if lines else ""


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _quoted(name)


def _list(names: dict[str, None]) -> str:
    return "[" + ", ".join(_quoted(name) for name in names) + "]"


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    safe = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in safe) + '"'
