"""The next turn of a thread begins with the agent that the last one ended with: in its session, as narrow as it was."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_swarm import create_handoff_tool, create_swarm

from deputize import Authority, Session
from deputize.config import load
from deputize.errors import DeputizeError
from deputize.testing import FakeClock
from langchain_deputize import DeputizeMiddleware, session_config
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Turn = Callable[..., Any]
Outline = Callable[..., Any]
Rows = Callable[..., list[str]]

NARROW: dict[str, Any] = {
    "agents": {"desk": ["add"], "alice": ["add"], "bob": ["add", "look"]},
    "delegations": {"desk": ["alice"], "alice": ["bob"], "bob": ["alice"]},
}
WIDE: dict[str, Any] = {**NARROW, "delegations": {"desk": ["alice", "bob"], "alice": ["bob"], "bob": ["alice"]}}


class Member(ScriptedModel):
    """Does what the last human message says: `on` hands on, `use` calls a tool, once a turn."""

    tool: str
    to: str

    def _turn(self, messages: list[BaseMessage]) -> Any:
        last = max(number for number, message in enumerate(messages) if message.type == "human")
        told = str(messages[last].content)
        since = [message for message in messages[last:] if isinstance(message, ToolMessage)]
        mine = {"on": f"transfer_to_{self.to}", "use": self.tool}
        wanted = next((mine[word] for word in told.split() if len(since) < told.split().index(word) + 1), None)
        args = {"a": 1, "b": 2} if wanted == "add" else {}
        step = "done" if wanted is None else calls((wanted, args, f"{last}-{len(since)}"))
        return ScriptedModel(steps=[step])._turn([])


def team(add: BaseTool) -> Any:
    """Alice and bob, who hand on to each other."""

    def member(name: str, other: str) -> Any:
        model = Member(steps=[], tool="add", to=other)
        tools = [create_handoff_tool(agent_name=other), add]
        return create_agent(model, tools, name=name, middleware=[DeputizeMiddleware()])

    return create_swarm([member("alice", "bob"), member("bob", "alice")], default_active_agent="alice")


@pytest.fixture
def swarm(add: BaseTool) -> Any:
    return team(add).compile(checkpointer=InMemorySaver())


@pytest.fixture(params=["sync", "async"])
def turn(request: pytest.FixtureRequest, swarm: Any) -> Turn:
    """`turn(session, text)`: one turn of thread t1."""

    def go(session: Session, text: str) -> Any:
        config: Any = session_config(session, thread_id="t1")
        given = {"messages": [("user", text)]}
        return swarm.invoke(given, config) if request.param == "sync" else asyncio.run(swarm.ainvoke(given, config))

    return go


@pytest.mark.requirement("I1")
@pytest.mark.parametrize("mappings", [NARROW, WIDE], ids=["only alice may hand on to bob", "desk may, too"])
def test_a_turn_that_begins_with_a_later_agent_finds_it_below_the_one_that_handed_on(
    make: Make, turn: Turn, outline: Outline, rows: Rows, mappings: dict[str, Any]
) -> None:
    authority = make(**mappings)
    session = authority.session(user="ann", agent="desk", key="t1")
    turn(session, "on use")
    before = [node.sid for node in session.tree().walk()]
    turn(session, "use")
    assert outline(session) == (
        "desk",
        [],
        [("alice", [("transfer_to_bob", "done")], [("bob", [("add", "done"), ("add", "done")], [])])],
    )
    assert [node.sid for node in session.tree().walk()] == before
    assert [row for row in rows(authority) if "resumed" in row] == ["bob session.resumed"]


def test_a_turn_that_hands_back_and_on_again_stays_in_the_same_two_sessions(
    make: Make, turn: Turn, outline: Outline, rows: Rows
) -> None:
    authority = make(**WIDE)
    session = authority.session(user="ann", agent="desk", key="t1")
    turn(session, "on use")
    turn(session, "on use")
    turn(session, "on use")
    name, _, (alice,) = outline(session)
    assert (name, alice[0], [child[0] for child in alice[2]]) == ("desk", "alice", ["bob"])
    assert [outcome for _, outcome in alice[1]] == ["done"] * 3
    assert sum(row.startswith(("alice session.opened", "bob session.opened")) for row in rows(authority)) == 2
    assert "alice session.returned transfer_to_alice" in rows(authority)


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("agent", ["alice", "bob"])
def test_whoever_was_revoked_between_two_turns_does_not_come_back_beside_the_chain(
    make: Make, turn: Turn, agent: str
) -> None:
    authority = make(**WIDE)
    session = authority.session(user="ann", agent="desk", key="t1")
    turn(session, "on use")
    used = len(authority.audit.find(type="tool.finished"))
    sid = next(node.sid for node in session.tree().walk() if node.agent == agent)
    authority.revoke(session=sid, reason="looks odd")
    for _ in range(2):
        with pytest.raises(DeputizeError) as refused:
            turn(session, "use")
        assert refused.value.code == "session_revoked"
    assert len(authority.audit.find(type="tool.finished")) == used
    assert len(authority.audit.find(type="session.opened")) == 3


@pytest.mark.requirement("I1")
def test_a_policy_that_was_widened_between_two_turns_widens_no_session(make: Make, turn: Turn) -> None:
    authority = make(**NARROW)
    session = authority.session(user="ann", agent="desk", key="t1")
    turn(session, "on use")
    before = [(node.sid, node.scopes) for node in session.tree().walk()]
    agents = {name: [*tools, "drop"] for name, tools in NARROW["agents"].items()}
    authority.update(agents=agents, delegations=WIDE["delegations"])
    turn(session, "use")
    assert [(node.sid, node.scopes) for node in session.tree().walk()] == before


@pytest.mark.requirement("I1")
def test_a_hand_off_that_the_next_turn_takes_is_below_the_one_that_handed_on(make: Make, add: BaseTool) -> None:
    authority = make(**WIDE)
    graph = team(add).compile(checkpointer=InMemorySaver(), interrupt_before=["bob"])
    session = authority.session(user="ann", agent="desk", key="t1")
    config: Any = session_config(session, thread_id="t1")
    graph.invoke({"messages": [("user", "on use")]}, config)
    assert [node.agent for node in session.tree().walk()] == ["desk", "alice"]
    graph.invoke(None, config)
    (alice,) = session.tree().children
    (bob,) = alice.children
    assert (alice.agent, bob.agent, [call.outcome for call in bob.calls]) == ("alice", "bob", ["done"])
    told = [row["type"] for row in authority.audit.find(session=alice.sid) if str(row["type"]).startswith("handoff.")]
    assert told == ["handoff.announced", "handoff.not_taken", "handoff.taken"]  # by the turn's end; then after all


def test_another_thread_of_the_same_root_has_sessions_of_its_own(make: Make, swarm: Any, outline: Outline) -> None:
    authority = make(**WIDE)
    session = authority.session(user="ann", agent="desk")
    for thread in ("t1", "t2"):
        swarm.invoke({"messages": [("user", "on use")]}, session_config(session, thread_id=thread))
    assert [child[0] for child in outline(session)[2]] == ["alice", "alice"]
    swarm.invoke({"messages": [("user", "use")]}, session_config(session, thread_id="t1"))
    first, second = outline(session)[2]
    assert (len(first[2][0][1]), len(second[2][0][1])) == (2, 1)


def test_a_session_of_a_thread_that_expired_is_followed_by_a_new_one_that_the_record_shows(
    tmp_path: Any, turn: Turn
) -> None:
    (tmp_path / "deputize.toml").write_text(
        """
        [authority]
        issuer = "http://127.0.0.1:1"
        [store]
        url = "sqlite::memory:"
        [agents.desk]
        open = true
        session_ttl = "2h"
        delegate_to = ["alice"]
        delegate = { local = ["add"] }
        [agents.alice]
        session_ttl = "10m"
        delegate_to = ["bob"]
        delegate = { local = ["add"] }
        use = { local = ["add"] }
        [agents.bob]
        session_ttl = "10m"
        delegate_to = ["alice"]
        use = { local = ["add"] }
        """,
        encoding="utf-8",
    )
    clock = FakeClock()
    with Authority.from_configuration(load(str(tmp_path / "deputize.toml")), clock=clock) as authority:
        session = authority.session(user="ann", agent="desk", key="t1")
        for _ in range(3):
            turn(session, "use")
            clock.advance(700)
        tree = session.tree()
        assert [(node.agent, node.state) for node in tree.children] == [("alice", "expired")] * 3
        assert [call.outcome for node in tree.children for call in node.calls] == ["done"] * 3
        assert len(authority.audit.find(type="session.opened")) == 4
