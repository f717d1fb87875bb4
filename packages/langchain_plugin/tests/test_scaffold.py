"""What `scaffold` writes of a graph is a configuration, under which the graph does what it is made for, and no more."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_swarm import create_handoff_tool, create_swarm

from deputize import Authority
from deputize.errors import ConfigurationError
from langchain_deputize import DeputizeMiddleware, scaffold
from langchain_deputize.testing import ScriptedModel, calls

GO: dict[str, Any] = {"messages": [("user", "go")]}
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))


def agent(name: str | None, *steps: Any, tools: list[BaseTool], handoffs: dict[str, str] | None = None) -> Any:
    model = ScriptedModel(steps=[*steps, "done"], speaker=name)
    return create_agent(model, tools, name=name, middleware=[DeputizeMiddleware(handoffs=handoffs)])


def asking(inner: Any) -> BaseTool:
    @tool
    def ask(question: str) -> str:
        """Ask."""
        return str(inner.invoke({"messages": [("user", question)]})["messages"][-1].text)

    return ask


def agents_as_tools(add: BaseTool) -> Any:
    tools = [asking(agent("research", ADD, tools=[add]))]
    return agent("boss", calls(("ask", {"question": "?"}, "a1")), tools=tools, handoffs={"ask": "research"})


def made_a_tool(add: BaseTool) -> Any:
    inner = agent("research", ADD, tools=[add]).as_tool(arg_types={"messages": list}, name="research")
    return agent("boss", calls(("research", {"messages": [("user", "?")]}, "a1")), tools=[inner])


def swarm(add: BaseTool) -> Any:
    front = agent("front", calls(("transfer_to_back", {}, "f1")), tools=[create_handoff_tool(agent_name="back")])
    return create_swarm([front, agent("back", ADD, tools=[add])], default_active_agent="front").compile(name="front")


def commands(add: BaseTool) -> Any:
    @tool
    def to_worker(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:  # type: ignore[type-arg]  # as users write it
        """Hand on."""
        told = ToolMessage("handed on", tool_call_id=tool_call_id, name="to_worker")
        return Command(goto="worker", graph=Command.PARENT, update={"messages": [told]})

    graph = StateGraph(MessagesState)
    graph.add_node("front", agent("front", calls(("to_worker", {}, "h1")), tools=[to_worker]), destinations=("worker",))
    graph.add_node("worker", agent("worker", ADD, tools=[add]))
    graph.add_edge(START, "front")
    return graph.compile(name="front")


def nodes(add: BaseTool) -> Any:
    inner = agent("second", ADD, tools=[add])
    graph = StateGraph(MessagesState)
    graph.add_node("one", agent("first", ADD, tools=[add]))
    graph.add_node("two", lambda state: {"messages": inner.invoke(state)["messages"][-1:]})
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    return graph.compile(name="host")


SHAPES = {
    agents_as_tools: {"boss": ["research"], "research": []},
    made_a_tool: {"boss": ["research"], "research": []},
    swarm: {"front": ["back"], "back": []},
    commands: {"front": ["worker"], "worker": []},
    nodes: {"host": ["first", "second"], "first": [], "second": []},
}


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")  # of as_tool
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_graph_runs_under_what_was_written_of_it(
    shape: Callable[[BaseTool], Any], add: BaseTool, tmp_path: Path
) -> None:
    graph = shape(add)
    text = scaffold(graph)
    told = tomllib.loads(text)["agents"]
    assert {name: entry.get("delegate_to", []) for name, entry in told.items()} == SHAPES[shape]
    assert [name for name, entry in told.items() if entry.get("open")] == [next(iter(SHAPES[shape]))]
    (tmp_path / "deputize.toml").write_text(text, encoding="utf-8")
    with Authority.open(tmp_path / "deputize.toml") as authority:
        with authority.session(user="alice", agent=next(iter(SHAPES[shape]))) as session:
            graph.invoke(GO)
            outcomes = {call.outcome for node in session.tree().walk() for call in node.calls}
        assert outcomes == {"done"}
        assert authority.audit.find(outcome="denied") == []


def test_an_agent_holds_the_tools_that_it_has_and_hands_on_those_of_others(add: BaseTool) -> None:
    told = tomllib.loads(scaffold(agents_as_tools(add)))["agents"]
    assert told["boss"]["delegate"] == {"local": ["add"]}
    assert "use" not in told["boss"]
    assert told["research"] == {"use": {"local": ["add"]}}


def test_what_the_program_has_to_be_told_stands_below(add: BaseTool) -> None:
    unnamed = agent(None, ADD, tools=[add])
    graph = StateGraph(MessagesState)
    graph.add_node("look", lambda state: {"messages": unnamed.invoke(state)["messages"][-1:]})
    graph.add_node("far", RemoteGraph("far", url="https://far.example"))
    graph.add_edge(START, "look")
    graph.add_edge("look", "far")
    text = scaffold(graph.compile())
    assert "# DeputizeCallbackHandler(agents={'@look': 'look'})" in text
    assert "# far: runs elsewhere" in text
    assert "# The graph has no name." in text
    assert "# DeputizeMiddleware(handoffs={'ask': 'research'})" in scaffold(agents_as_tools(add))


def test_a_frameworks_own_tools_are_listed_once_and_those_that_act_for_their_agent(add: BaseTool) -> None:
    deepagents = pytest.importorskip("deepagents")
    model = ScriptedModel(steps=["done"])
    told = tomllib.loads(scaffold(deepagents.create_deep_agent(model=model, tools=[add], name="lead")))
    framework = told["resources"]["local"]["allow_framework_tools"]
    assert {"write_todos", "read_file"} <= set(framework)
    assert "execute" not in framework
    assert {"add", "execute"} <= set(told["agents"]["lead"]["use"]["local"])
    assert told["agents"]["lead"]["delegate_to"] == ["general-purpose"]


def test_a_name_of_a_tool_is_text_and_no_toml(add: BaseTool) -> None:
    hostile = add.model_copy(update={"name": 'x"]\n[agents.eve]\nopen = true #\\'})
    told = tomllib.loads(scaffold(create_agent(ScriptedModel(steps=["done"]), [hostile], name="solo")))
    assert list(told["agents"]) == ["solo"]
    assert told["agents"]["solo"]["use"] == {"local": [hostile.name]}


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        scaffold(object())


def test_init_writes_it_for_a_graph_that_is_named_or_made(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "from langchain.agents import create_agent\n"
        "from langchain_deputize.testing import ScriptedModel\n"
        "def make():\n"
        "    return create_agent(ScriptedModel(steps=['done']), [], name='solo')\n"
        "graph = make()\n",
        encoding="utf-8",
    )
    command = [str(Path(sys.executable).with_name("deputize")), "init"]
    for name, file in (("graph", "a.toml"), ("make", "b.toml")):
        arguments = [*command, file, "--from", f"program:{name}"]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        assert tomllib.loads((tmp_path / file).read_text(encoding="utf-8"))["agents"] == {"solo": {"open": True}}
    for wrong in ("program", "program:nothing", "nowhere:graph"):
        arguments = [*command, "c.toml", "--from", wrong]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
        assert (done.returncode, (tmp_path / "c.toml").exists()) == (2, False)
        assert "Traceback" not in done.stderr
