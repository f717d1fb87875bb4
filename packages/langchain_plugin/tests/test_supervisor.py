import warnings
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from deputize import Authority
from deputize.errors import Denied
from langchain_deputize import DeputizeCallbackHandler, DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # langgraph-supervisor imports what LangGraph 1 deprecates
    from langgraph_supervisor import create_supervisor

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
Rows = Callable[[Authority], list[str]]


class Director(ScriptedModel):
    """Takes its steps by how many hand-offs were answered or refused: workers share the history."""

    def _turn(self, messages: list[BaseMessage]) -> Any:
        answered = sum(isinstance(m, AIMessage) and str(m.content).endswith(" is done") for m in messages)
        refused = sum(isinstance(m, ToolMessage) and m.status == "error" for m in messages)
        done = answered + refused
        return ScriptedModel(steps=[self.steps[min(done, len(self.steps) - 1)]])._turn([])


def worker(name: str, add: BaseTool) -> Any:
    model = ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, f"{name}1")), f"{name} is done"], speaker=name)
    return create_agent(model, [add], name=name, middleware=[DeputizeMiddleware()])


def supervised(*workers: Any, steps: list[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_supervisor(list(workers), model=Director(steps=steps)).compile()


def transfer_to(agent: str) -> BaseTool:
    @tool(f"transfer_to_{agent}")
    def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Hand on."""
        message = ToolMessage("transferred", tool_call_id=tool_call_id, name=f"transfer_to_{agent}")
        return Command(goto=agent, graph=Command.PARENT, update={"messages": [message]})

    return transfer


def by_hand(add: BaseTool, *names: str, steps: list[Any]) -> Any:
    """A supervisor of one's own: StateGraph, and Command(goto, graph=PARENT)."""
    head = create_agent(
        Director(steps=steps),
        [transfer_to(name) for name in names],
        name="supervisor",
        middleware=[DeputizeMiddleware()],
    )
    graph = StateGraph(MessagesState)
    graph.add_node("supervisor", head, destinations=names)
    graph.add_edge(START, "supervisor")
    for name in names:
        graph.add_node(name, worker(name, add))
        graph.add_edge(name, "supervisor")
    return graph.compile()


def team(make: Make) -> Authority:
    return make(agents={"supervisor": [], "math": ["add"], "web": ["add"]}, delegations={"supervisor": ["math", "web"]})


TURNS = [calls(("transfer_to_math", {}, "h1")), calls(("transfer_to_web", {}, "h2")), "all done"]


def test_langgraph_supervisor_hands_to_its_workers_in_turn(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows, add: BaseTool
) -> None:
    authority = team(make)
    graph = supervised(worker("math", add), worker("web", add), steps=TURNS)
    with authority.session(user="alice", agent="supervisor") as session:
        result = invoke(graph)
        assert outline(session) == ("supervisor", [], [("math", [("add", "done")], []), ("web", [("add", "done")], [])])
        assert all(child.state == "closed" for child in session.tree().children)
        assert all(set(child.scopes) <= set(session.tree().scopes) for child in session.tree().children)
    assert result["messages"][-1].content == "all done"
    assert rows(authority) == [
        "supervisor session.opened",
        "supervisor handoff.announced transfer_to_math",
        "math session.opened",
        "supervisor handoff.taken transfer_to_math",
        "math tool.started add",
        "math tool.finished add",
        "math session.closed",
        "supervisor session.reentered",
        "supervisor handoff.announced transfer_to_web",
        "web session.opened",
        "supervisor handoff.taken transfer_to_web",
        "web tool.started add",
        "web tool.finished add",
        "web session.closed",
        "supervisor session.reentered",
        "supervisor session.closed",
    ]


def test_a_supervisor_made_by_hand_hands_to_its_workers_in_turn(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows, add: BaseTool
) -> None:
    authority = team(make)
    with authority.session(user="alice", agent="supervisor") as session:
        invoke(by_hand(add, "math", "web", steps=TURNS))
        assert outline(session) == (
            "supervisor",
            [("transfer_to_math", "done"), ("transfer_to_web", "done")],
            [("math", [("add", "done")], []), ("web", [("add", "done")], [])],
        )
    assert [row for row in rows(authority) if "handoff." in row or "reentered" in row] == [
        "supervisor handoff.announced transfer_to_math",
        "supervisor handoff.taken transfer_to_math",
        "supervisor session.reentered",
        "supervisor handoff.announced transfer_to_web",
        "supervisor handoff.taken transfer_to_web",
        "supervisor session.reentered",
    ]


def test_a_supervisor_below_the_session_of_the_graph_keeps_its_session_while_workers_run(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(
        agents={"desk": [], "supervisor": [], "math": ["add"], "web": ["add"]},
        delegations={"desk": ["supervisor"], "supervisor": ["math", "web"]},
    )
    with authority.session(user="alice", agent="desk") as session:
        invoke(by_hand(add, "math", "web", steps=TURNS))
        name, called, children = outline(session)
        states = [node.state for node in session.tree().walk()]
    assert (name, called, len(children)) == ("desk", [], 1)
    assert children[0][0] == "supervisor"
    assert [child[0] for child in children[0][2]] == ["math", "web"]
    assert states == ["open", "closed", "closed", "closed"]


def test_a_hand_off_that_policy_refuses_is_told_to_the_model_and_opens_nothing(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"supervisor": [], "math": ["add"], "web": ["add"]}, delegations={"supervisor": ["math"]})
    graph = by_hand(add, "math", "web", steps=[calls(("transfer_to_web", {}, "h1")), "all done"])
    with authority.session(user="alice", agent="supervisor") as session:
        result = invoke(graph)
        assert outline(session) == ("supervisor", [("transfer_to_web", "denied")], [])
    refusal = next(message for message in result["messages"] if isinstance(message, ToolMessage))
    assert refusal.status == "error"


def test_a_hand_off_that_policy_refuses_stops_langgraph_supervisor(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"supervisor": [], "math": ["add"], "web": ["add"]}, delegations={"supervisor": ["math"]})
    graph = supervised(worker("math", add), worker("web", add), steps=[calls(("transfer_to_web", {}, "h1")), "done"])
    with authority.session(user="alice", agent="supervisor") as session:
        with pytest.raises(Denied):
            invoke(graph)
        assert session.tree().children == []


def test_of_two_hand_offs_at_once_each_is_announced_and_those_not_taken_are_told(
    make: Make, invoke: Invoke, rows: Rows, add: BaseTool
) -> None:
    authority = team(make)
    both = calls(("transfer_to_math", {}, "h1"), ("transfer_to_web", {}, "h2"))
    graph = supervised(worker("math", add), worker("web", add), steps=[both, "all done", "all done"])
    with authority.session(user="alice", agent="supervisor") as session:
        invoke(graph)
        opened = len(session.tree().children)
    told = rows(authority)
    announced = sum("handoff.announced" in row for row in told)
    taken = sum("handoff.taken" in row for row in told)
    lost = sum("handoff.not_taken" in row for row in told)
    assert (announced, taken, taken + lost) == (2, opened, 2)
    assert opened >= 1


def swarm(add: BaseTool, *, returns: bool) -> Any:
    """Two agents that hand to each other; alice's second turn calls a tool."""
    last = calls(("add", {"a": 1, "b": 1}, "a2"))

    class Alice(ScriptedModel):
        def _turn(self, messages: list[BaseMessage]) -> Any:
            back = any(isinstance(m, ToolMessage) and m.name == "transfer_to_alice" for m in messages)
            called = any(isinstance(m, ToolMessage) and m.name == "add" for m in messages)
            step = "done" if called else last if back else calls(("transfer_to_bob", {}, "a1"))
            return ScriptedModel(steps=[step])._turn([])

    bob = calls(("transfer_to_alice", {}, "b1")) if returns else AIMessage("done")
    graph = StateGraph(MessagesState)
    guard = [DeputizeMiddleware()]
    alice = create_agent(Alice(steps=[]), [transfer_to("bob"), add], name="alice", middleware=guard)
    graph.add_node("alice", alice, destinations=("bob",))
    other = create_agent(ScriptedModel(steps=[bob]), [transfer_to("alice")], name="bob", middleware=guard)
    graph.add_node("bob", other, destinations=("alice",))
    graph.add_edge(START, "alice")
    return graph.compile()


def test_a_hand_off_back_returns_to_the_session_above_with_all_its_rights(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows, add: BaseTool
) -> None:
    authority = make(agents={"alice": ["add"], "bob": ["look"]}, delegations={"alice": ["bob"], "bob": ["alice"]})
    with authority.session(user="ann", agent="alice") as session:
        invoke(swarm(add, returns=True))
        assert outline(session) == (
            "alice",
            [("transfer_to_bob", "done"), ("add", "done")],
            [("bob", [("transfer_to_alice", "done")], [])],
        )
    assert "alice session.returned transfer_to_alice" in rows(authority)


def test_an_agent_known_by_registration_alone_gets_its_session(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    """create_react_agent gives no label: its name in the registry, or in the handler's, is what tells."""
    authority = make(
        agents={"desk": [], "chief": [], "math": ["add"]}, delegations={"desk": ["chief"], "chief": ["math"]}
    )
    graph = supervised(worker("math", add), steps=[calls(("transfer_to_math", {}, "h1")), "all done"])
    with authority.session(user="alice", agent="desk") as session:
        invoke(graph, callbacks=[DeputizeCallbackHandler(agents={"supervisor": "chief"})])
        assert outline(session) == ("desk", [], [("chief", [], [("math", [("add", "done")], [])])])
