"""Hand-offs by `Command(goto, graph=PARENT)` in a graph of one's own: a supervisor, and two that hand to each other."""

from collections.abc import Callable
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import Director, Stage, add, adder, answers

Build = Callable[..., Stage]
TEAM: dict[str, Any] = {
    "agents": {"supervisor": [], "math": ["add"], "web": ["add"]},
    "delegations": {"supervisor": ["math", "web"]},
}
TURNS = [calls(("transfer_to_math", {}, "h1")), calls(("transfer_to_web", {}, "h2")), "all done"]


def transfer_to(name: str) -> BaseTool:
    @tool(f"transfer_to_{name}")
    def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Hand on."""
        message = ToolMessage("transferred", tool_call_id=tool_call_id, name=f"transfer_to_{name}")
        return Command(goto=name, graph=Command.PARENT, update={"messages": [message]})

    return transfer


def supervised(*names: str, steps: list[Any]) -> Any:
    guard = [DeputizeMiddleware()]
    tools = [transfer_to(name) for name in names]
    head = create_agent(Director(steps=steps), tools, name="supervisor", middleware=guard)
    graph = StateGraph(MessagesState)
    graph.add_node("supervisor", head, destinations=names)
    graph.add_edge(START, "supervisor")
    for name in names:
        graph.add_node(name, adder(name))
        graph.add_edge(name, "supervisor")
    return graph.compile()


class Alice(ScriptedModel):
    """Hands on to bob, and adds when bob handed back."""

    def _turn(self, messages: list[BaseMessage]) -> Any:
        used = {message.name for message in messages if isinstance(message, ToolMessage)}
        step: Any = calls(("transfer_to_bob", {}, "a1"))
        if "transfer_to_alice" in used:
            step = "done" if "add" in used else calls(("add", {"a": 1, "b": 1}, "a2"))
        return ScriptedModel(steps=[step])._turn([])


def pair() -> Any:
    guard = [DeputizeMiddleware()]
    graph = StateGraph(MessagesState)
    alice = create_agent(Alice(steps=[]), [transfer_to("bob"), add], name="alice", middleware=guard)
    graph.add_node("alice", alice, destinations=("bob",))
    back = ScriptedModel(steps=[calls(("transfer_to_alice", {}, "b1")), AIMessage("never")])
    bob = create_agent(back, [transfer_to("alice")], name="bob", middleware=guard)
    graph.add_node("bob", bob, destinations=("alice",))
    graph.add_edge(START, "alice")
    return graph.compile()


def test_workers_have_sessions_below_the_supervisors_in_turn(stage: Build) -> None:
    told = stage(**TEAM).run(supervised("math", "web", steps=TURNS), agent="supervisor")
    assert told.tree == "supervisor(transfer_to_math, transfer_to_web){math(add), web(add)}"
    assert [row for row in told.rows if "handoff." in row or "session." in row] == [
        "supervisor session.opened",
        "supervisor handoff.announced transfer_to_math",
        "math session.opened",
        "supervisor handoff.taken transfer_to_math",
        "math session.closed",
        "supervisor session.reentered",
        "supervisor handoff.announced transfer_to_web",
        "web session.opened",
        "supervisor handoff.taken transfer_to_web",
        "web session.closed",
        "supervisor session.reentered",
        "supervisor session.closed",
    ]


def test_a_supervisor_below_the_session_of_the_graph_keeps_its_session_while_workers_run(stage: Build) -> None:
    place = stage(
        agents={"desk": [], **TEAM["agents"]}, delegations={"desk": ["supervisor"], "supervisor": ["math", "web"]}
    )
    told = place.run(supervised("math", "web", steps=TURNS), agent="desk")
    assert told.tree == "desk{supervisor(transfer_to_math, transfer_to_web){math(add), web(add)}}"
    assert told.rows[-2:] == ["supervisor session.closed", "desk session.closed"]


def test_a_hand_off_that_policy_refuses_is_told_to_the_model_and_opens_nothing(stage: Build) -> None:
    place = stage(agents=TEAM["agents"], delegations={"supervisor": ["math"]})
    graph = supervised("math", "web", steps=[calls(("transfer_to_web", {}, "h1")), "all done"])
    told = place.run(graph, agent="supervisor")
    assert told.tree == "supervisor(transfer_to_web:denied)"
    assert [message.status for message in answers(told.result)] == ["error"]


def test_a_hand_off_back_returns_to_the_session_above_with_all_its_rights(stage: Build) -> None:
    place = stage(agents={"alice": ["add"], "bob": ["look"]}, delegations={"alice": ["bob"], "bob": ["alice"]})
    told = place.run(pair(), agent="alice")
    assert told.tree == "alice(transfer_to_bob, add){bob(transfer_to_alice)}"
    assert [row for row in told.rows if "handoff." in row or "session." in row] == [
        "alice session.opened",
        "alice handoff.announced transfer_to_bob",
        "bob session.opened",
        "alice handoff.taken transfer_to_bob",
        "bob handoff.announced transfer_to_alice",
        "alice session.returned transfer_to_alice",
        "bob session.closed",
        "alice session.closed",
    ]
