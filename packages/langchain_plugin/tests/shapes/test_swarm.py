"""The swarm of the package langgraph-swarm (scenario 9)."""

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, ToolMessage
from langgraph_swarm import create_handoff_tool, create_swarm

from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import Stage, add

Build = Callable[..., Stage]


class Alice(ScriptedModel):
    """Hands on to bob, and adds when bob handed back."""

    def _turn(self, messages: list[BaseMessage]) -> Any:
        used = {message.name for message in messages if isinstance(message, ToolMessage)}
        step: Any = calls(("transfer_to_bob", {}, "a1"))
        if "transfer_to_alice" in used:
            step = "done" if "add" in used else calls(("add", {"a": 1, "b": 1}, "a2"))
        return ScriptedModel(steps=[step])._turn([])


def swarm() -> Any:
    guard = [DeputizeMiddleware()]
    alice = create_agent(Alice(steps=[]), [create_handoff_tool(agent_name="bob"), add], name="alice", middleware=guard)
    back = ScriptedModel(steps=[calls(("transfer_to_alice", {}, "b1"))])
    bob = create_agent(back, [create_handoff_tool(agent_name="alice"), add], name="bob", middleware=guard)
    return create_swarm([alice, bob], default_active_agent="alice").compile()


def test_a_hand_off_back_returns_to_the_session_above_with_all_its_rights(stage: Build) -> None:
    place = stage(agents={"alice": ["add"], "bob": ["look"]}, delegations={"alice": ["bob"], "bob": ["alice"]})
    told = place.run(swarm(), agent="alice")
    assert told.tree == "alice(transfer_to_bob, add){bob(transfer_to_alice)}"
    assert told.rows == [
        "alice session.opened",
        "alice tool.started transfer_to_bob",
        "alice handoff.announced transfer_to_bob",
        "alice tool.finished transfer_to_bob",
        "bob session.opened",
        "alice handoff.taken transfer_to_bob",
        "bob tool.started transfer_to_alice",
        "bob handoff.announced transfer_to_alice",
        "bob tool.finished transfer_to_alice",
        "alice session.returned transfer_to_alice",
        "bob session.closed",
        "alice tool.started add",
        "alice tool.finished add",
        "alice session.closed",
    ]


def test_an_agent_may_not_hand_on_to_whom_policy_does_not_let_it(stage: Build) -> None:
    place = stage(agents={"alice": ["add"], "bob": ["add"]}, delegations={"bob": ["alice"]})
    told = place.run(swarm(), agent="alice", recursion_limit=12, raises=Exception)
    assert {node.agent for node in told.nodes} == {"alice"}
    assert len(told.of("handoff.announced")) == 0
