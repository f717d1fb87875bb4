"""Sessions that are opened where no `with` can stand."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from deputize import Authority
from deputize.errors import Denied, DeputizeError
from langchain_deputize import DeputizeMiddleware, secure
from langchain_deputize.guard import Call
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))


def guard(authority: Authority, agent: str, *, user: str | None = "alice") -> DeputizeMiddleware:
    return DeputizeMiddleware(authority=authority, agent=agent, subject=lambda _: user)


def swarm(authority: Authority, add: BaseTool) -> Any:
    """Front hands on to back; each has the middleware that opens a session by itself."""

    @tool
    def to_back() -> Command[Any]:
        """Hand on to back."""
        return Command(goto="back", graph=Command.PARENT)

    front = create_agent(
        ScriptedModel(steps=[calls(("to_back", {}, "h1")), "done"]),
        [to_back],
        name="front",
        middleware=[guard(authority, "front")],
    )
    back = create_agent(
        ScriptedModel(steps=[ADD, "done"], speaker="back"), [add], name="back", middleware=[guard(authority, "back")]
    )
    graph = StateGraph(MessagesState)
    graph.add_node("front", front, destinations=("back",))
    graph.add_node("back", back)
    graph.add_edge(START, "front")
    return graph.compile(checkpointer=InMemorySaver())


def answers(result: Any) -> list[str]:
    return [str(message.content) for message in result["messages"] if isinstance(message, ToolMessage)]


def test_an_agent_that_another_one_hands_on_to_becomes_no_root_of_its_own(
    make: Make, invoke: Invoke, add: BaseTool
) -> None:
    """The attack: alice's session is revoked, and an agent of the same graph goes on with a new one."""
    authority = make(agents={"front": [], "back": ["add"]}, delegations={"front": ["back"]})
    authority.session(agent="front", user="alice", key="langgraph:t1").revoke("compromised")
    back = create_agent(ScriptedModel(steps=[ADD, "done"]), [add], name="back", middleware=[guard(authority, "back")])
    graph = StateGraph(MessagesState)
    graph.add_node("front", lambda _: {})
    graph.add_node("back", back)
    graph.add_edge(START, "front")
    graph.add_edge("front", "back")
    result = invoke(graph.compile(checkpointer=InMemorySaver()), configurable={"thread_id": "t1"})
    assert ["no_session" in answer for answer in answers(result)] == [True]
    assert authority.audit.find(type="tool.started") == []
    assert [str(row["agent"]).rpartition("/")[2] for row in authority.audit.find(type="session.opened")] == ["front"]


def test_in_a_swarm_no_middleware_opens_a_session_by_itself(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"front": [], "back": ["add"]}, delegations={"front": ["back"]})
    result = invoke(swarm(authority, add), configurable={"thread_id": "t1"})
    assert ["no_session" in answer for answer in answers(result)] == [True]
    assert authority.audit.find(type="session.opened") == []


@pytest.mark.parametrize("own", [None, {"configurable": {"thread_id": "t2"}}], ids=["as it is", "a thread of its own"])
def test_an_agent_that_a_node_starts_becomes_no_root_whatever_config_it_is_given(
    make: Make, invoke: Invoke, add: BaseTool, own: Any
) -> None:
    authority = make(agents={"front": ["add"], "back": ["add"]})
    back = create_agent(ScriptedModel(steps=[ADD, "done"]), [add], name="back", middleware=[guard(authority, "back")])

    def start(_: Any) -> Any:
        return {"messages": back.invoke({"messages": [("user", "go")]}, own)["messages"]}

    async def astart(_: Any) -> Any:
        return {"messages": (await back.ainvoke({"messages": [("user", "go")]}, own))["messages"]}

    graph = StateGraph(MessagesState)
    graph.add_node("start", RunnableLambda(start, afunc=astart))
    graph.add_edge(START, "start")
    result = invoke(graph.compile(), configurable={"thread_id": "t1"})
    assert ["no_session" in answer for answer in answers(result)] == [True]
    assert authority.audit.find(type="session.opened") == []
    alone = invoke(back, configurable={"thread_id": "t3"})  # a graph of its own it may be
    assert answers(alone) == ["3"]


def test_in_a_session_of_the_host_the_same_swarm_runs_below_it(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"front": [], "back": ["add"]}, delegations={"front": ["back"]})
    with authority.session(user="alice", agent="front") as session:
        invoke(swarm(authority, add), configurable={"thread_id": "t1"})
        assert outline(session) == ("front", [("to_back", "done")], [("back", [("add", "done")], [])])
    assert len({row["txn"] for row in authority.audit.find(type="session.opened")}) == 1


def test_secured_the_same_swarm_runs_below_one_root(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"front": [], "back": ["add"]}, delegations={"front": ["back"]})
    graph = secure(swarm(authority, add), authority=authority, agent="front", subject=lambda _: "alice")
    invoke(graph, configurable={"thread_id": "t1"})
    root = authority.session(agent="front", user="alice", key="langgraph:t1")
    assert outline(root) == ("front", [("to_back", "done")], [("back", [("add", "done")], [])])
    assert len({row["txn"] for row in authority.audit.find(type="session.opened")}) == 1


def test_two_agents_in_the_tool_nodes_of_one_graph_do_not_both_become_roots(
    make: Make, invoke: Invoke, add: BaseTool
) -> None:
    authority = make(agents={"front": ["add"], "back": ["add"]})
    graph = StateGraph(MessagesState)
    previous = START
    for name in ("front", "back"):
        turn = calls(("add", {"a": 1, "b": 2}, name))
        hooks = guard(authority, name)
        node = ToolNode([add], wrap_tool_call=hooks.wrap_tool_call, awrap_tool_call=hooks.awrap_tool_call)
        graph.add_node(f"{name}-model", lambda _, turn=turn: {"messages": [turn]})
        graph.add_node(name, node)
        graph.add_edge(previous, f"{name}-model")
        graph.add_edge(f"{name}-model", name)
        previous = name
    flow = graph.compile()
    for _ in range(2):
        result = invoke(flow)
        assert ["no_session" in answer for answer in answers(result)] == [False, True]
    assert {row["tool"] for row in authority.audit.find(type="tool.started")} == {"add"}
    assert len(authority.audit.find(type="tool.started")) == 2


def test_under_a_server_a_call_without_a_session_is_told_what_to_add(invoke: Invoke, add: BaseTool) -> None:
    """Studio and `langgraph dev` run the graph themselves: the advice for a `with` is of no use there."""
    asked: dict[str, Denied] = {}

    class Told(DeputizeMiddleware):
        where = ""

        def _answer(self, call: Call, error: DeputizeError) -> ToolMessage:
            assert isinstance(error, Denied)
            asked[self.where] = error
            return super()._answer(call, error)

    told = Told()
    agent = create_agent(ScriptedModel(steps=[ADD, "done"]), [add], name="boss", middleware=[told])
    for told.where, config in (("script", {}), ("server", {"langgraph_request_id": "r", "assistant_id": "a"})):
        assert "no_session" in answers(invoke(agent, configurable=config))[0]
    assert {error.code for error in asked.values()} == {"no_session"}
    assert asked["script"].denial.enough != asked["server"].denial.enough
