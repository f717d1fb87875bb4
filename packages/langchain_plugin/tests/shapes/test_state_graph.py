"""Graphs put together by hand: subgraphs, agents in nodes, nodes, `Send`, `Command` (scenarios 12 and 14)."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send

from deputize.errors import UnknownAgent
from langchain_deputize import DeputizeCallbackHandler, secure_tool, secure_tools
from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.shapes.kit import ONE, Stage, add, adder, agent, answers, said

Build = Callable[..., Stage]


def host(*names: str) -> dict[str, Any]:
    """A host that may hand on to each of these, who may add."""
    return {"agents": {"host": [], **{name: ["add"] for name in names}}, "delegations": {"host": list(names)}}


def invoking(graph: Any) -> Any:
    """A node that runs an agent by hand and keeps what it said last."""

    def node(state: MessagesState) -> Any:
        return {"messages": graph.invoke({"messages": state["messages"]})["messages"][-1:]}

    async def anode(state: MessagesState) -> Any:
        return {"messages": (await graph.ainvoke({"messages": state["messages"]}))["messages"][-1:]}

    return RunnableLambda(node, anode)


def adding() -> Any:
    """A node that calls a tool, and no agent."""
    secured = secure_tool(add)

    def node(state: MessagesState) -> Any:
        secured.invoke({"a": 1, "b": 2})
        return {}

    async def anode(state: MessagesState) -> Any:
        await secured.ainvoke({"a": 1, "b": 2})
        return {}

    return RunnableLambda(node, anode)


def chain(**nodes: Any) -> Any:
    """One node after the other."""
    graph = StateGraph(MessagesState)
    for name, node in nodes.items():
        graph.add_node(name, node)
    for one, other in zip([START, *nodes], nodes, strict=False):
        graph.add_edge(one, other)
    return graph.compile()


def test_a_subgraph_an_agent_in_a_node_and_two_registered_nodes_have_a_session_each(stage: Build) -> None:
    graph = chain(first=adder("nodeA"), second=invoking(adder("nodeB")), writer=adding(), editor=adding())
    told = stage(**host("nodeA", "nodeB", "writer", "wr2")).run(
        graph, agent="host", callbacks=[DeputizeCallbackHandler(agents={"writer": "writer", "editor": "wr2"})]
    )
    assert told.tree == "host{nodeA(add), nodeB(add), wr2(add), writer(add)}"
    assert told.rows == [
        "host session.opened",
        *(
            f"{name} {what}"
            for name in ("nodeA", "nodeB", "writer", "wr2")
            for what in ("session.opened", "tool.started add", "tool.finished add", "session.closed")
        ),
        "host session.closed",
    ]


def test_a_node_that_is_not_registered_acts_in_the_session_of_its_graph(stage: Build) -> None:
    told = stage(agents={"host": ["add"]}).run(chain(writer=adding()), agent="host")
    assert told.tree == "host(add)"


def test_a_subgraph_in_a_subgraph_is_below_it(stage: Build) -> None:
    inner = chain(work=adder("inner"))
    outer = chain(step=inner)
    place = stage(
        agents={"host": [], "middle": [], "inner": ["add"]},
        delegations={"host": ["middle"], "middle": ["inner"]},
    )
    told = place.run(outer, agent="host", callbacks=[DeputizeCallbackHandler(agents={"@step": "middle"})])
    assert told.tree == "host{middle{inner(add)}}"


def test_each_send_of_a_fan_out_has_a_session(stage: Build) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("worker", agent("worker", ONE))
    graph.add_conditional_edges(START, lambda _: [Send("worker", said(str(n))) for n in range(3)], ["worker"])
    told = stage(**host("worker")).run(graph.compile(), agent="host")
    assert told.tree == "host{worker(add), worker(add), worker(add)}"
    assert told.counted["worker session.opened"] == 3


@pytest.mark.parametrize("chosen", ["left", "right"])
def test_a_conditional_edge_opens_a_session_for_the_agent_that_it_chose_alone(stage: Build, chosen: str) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("left", adder("left"))
    graph.add_node("right", adder("right"))
    graph.add_conditional_edges(START, lambda _: chosen, ["left", "right"])
    told = stage(**host("left", "right")).run(graph.compile(), agent="host")
    assert told.tree == f"host{{{chosen}(add)}}"


def test_a_command_from_a_node_is_no_hand_off_and_its_agent_is_below_the_host(stage: Build) -> None:
    def route(state: MessagesState) -> Command[Literal["worker"]]:
        return Command(goto="worker")

    graph = StateGraph(MessagesState)
    graph.add_node("route", route)
    graph.add_node("worker", adder("worker"))
    graph.add_edge(START, "route")
    told = stage(**host("worker")).run(graph.compile(), agent="host")
    assert told.tree == "host{worker(add)}"
    assert not any("handoff." in row for row in told.rows)


def handmade(name: str | None) -> Any:
    """A model and its tools, without create_agent."""

    def plan(state: MessagesState) -> Any:
        return {"messages": [calls(("add", {"a": 1, "b": 1}, "t1"), ("add", {"a": 2, "b": 2}, "t2"))]}

    graph = StateGraph(MessagesState)
    graph.add_node("plan", plan)
    graph.add_node("tools", ToolNode(secure_tools([add])))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "tools")
    return graph.compile(name=name)


def test_a_tool_node_of_a_registered_graph_acts_in_a_session_of_that_graph(stage: Build) -> None:
    told = stage(**host("handmade")).run(chain(step=handmade("handmade")), agent="host")
    assert told.tree == "host{handmade(add, add)}"
    assert told.counted == {
        "host session.opened": 1,
        "handmade session.opened": 1,
        "handmade tool.started add": 2,
        "handmade tool.finished add": 2,
        "handmade session.closed": 1,
        "host session.closed": 1,
    }


def test_a_tool_node_of_a_graph_that_nobody_registered_is_refused(stage: Build) -> None:
    told = stage(**host("handmade")).run(chain(step=handmade(None)), agent="host", raises=UnknownAgent)
    assert told.tree == "host"
    assert answers(told.result)[0].status == "error" if told.error is None else True
    assert told.counted["host agent.unnamed add"] == 2


def test_a_tool_node_outside_a_session_is_refused(stage: Build) -> None:
    result = handmade("handmade").invoke(said("go"))
    assert [str(message.content).split()[1] for message in answers(result)] == ["no_session", "no_session"]
