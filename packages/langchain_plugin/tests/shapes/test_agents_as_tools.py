"""Agents in the body of tools: `@tool`, `agent.as_tool()`, several at once, without a name (scenarios 3 to 5)."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import tool

from deputize.errors import UnknownAgent
from langchain_deputize import DeputizeMiddleware, current_session
from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.shapes.kit import ONE, Stage, add, agent, answers, asked, asking, said

Build = Callable[..., Stage]
TEAM: dict[str, Any] = {
    "agents": {"boss": ["add", "drop"], "research": ["add"]},
    "delegations": {"boss": ["research"]},
}
TO_RESEARCH = {"ask": "research"}


@pytest.mark.requirement("I1")
def test_an_agent_in_a_tool_has_a_session_below_the_one_that_asks(stage: Build) -> None:
    boss = agent(
        "boss",
        asked("c0"),
        calls(("add", {"a": 1, "b": 1}, "c2")),
        tools=[asking(agent("research", ONE)), add],
        handoffs=TO_RESEARCH,
    )
    told = stage(**TEAM).run(boss, agent="boss")
    assert [message.content for message in answers(told.result)] == ["done", "2"]
    assert told.tree == "boss(ask, add){research(add)}"
    assert [node.scopes for node in told.nodes] == [["tool:add", "tool:drop"], ["tool:add"]]
    assert told.rows == [
        "boss session.opened",
        "boss tool.started ask",
        "research session.opened",
        "research tool.started add",
        "research tool.finished add",
        "research session.closed",
        "boss tool.finished ask",
        "boss tool.started add",
        "boss tool.finished add",
        "boss session.closed",
    ]
    assert [row["chain"] for row in told.of("tool.started")] == [
        ["spiffe://local/agent/boss"],
        ["spiffe://local/agent/research", "spiffe://local/agent/boss"],
        ["spiffe://local/agent/boss"],
    ]


@pytest.mark.filterwarnings("ignore:This API is in beta")  # as_tool
def test_a_named_agent_made_a_tool_by_langchain_is_a_hand_off_without_a_word(stage: Build) -> None:
    research = agent("research", ONE)
    wrapped = research.as_tool(name="ask", description="Ask.", arg_types={"messages": list})
    boss = agent("boss", calls(("ask", {"messages": [("user", "?")]}, "c0")), tools=[wrapped])
    told = stage(**TEAM).run(boss, agent="boss")
    assert told.tree == "boss(ask){research(add)}"


def test_one_agent_asked_three_times_in_parallel_has_three_sessions(stage: Build) -> None:
    boss = agent("boss", asked("q0", "q1", "q2"), tools=[asking(agent("research", ONE))], handoffs=TO_RESEARCH)
    told = stage(**TEAM).run(boss, agent="boss")
    assert told.tree == "boss(ask, ask, ask){research(add), research(add), research(add)}"
    assert len({node.sid for node in told.nodes}) == 4
    assert told.counted == {
        "boss session.opened": 1,
        "boss tool.started ask": 3,
        "research session.opened": 3,
        "research tool.started add": 3,
        "research tool.finished add": 3,
        "research session.closed": 3,
        "boss tool.finished ask": 3,
        "boss session.closed": 1,
    }


def test_an_agent_without_a_name_is_refused_and_never_taken_for_the_one_that_started_it(stage: Build) -> None:
    ran: list[str] = []

    @tool
    def probe() -> str:
        """Tell that it ran."""
        ran.append(current_session().name)
        return "ran"

    loud = DeputizeMiddleware(on_denied="raise")
    inner = agent(None, calls(("probe", {}, "c1")), tools=[probe], guard=loud)
    boss = agent("boss", asked("c0"), tools=[asking(inner)], guard=loud)
    told = stage(agents={"boss": ["probe", "ask"]}).run(boss, agent="boss", raises=UnknownAgent)
    assert isinstance(told.error, UnknownAgent)
    assert told.error.code == "unknown_agent"
    assert ran == []
    assert told.tree == "boss(ask:failed)"
    assert told.rows == [
        "boss session.opened",
        "boss tool.started ask",
        "boss agent.unnamed probe",
        "boss tool.failed ask",
        "boss session.closed",
    ]


def test_a_named_agent_below_one_without_a_name_has_no_session_either(stage: Build) -> None:
    middle = agent(None, asked("c1"), tools=[asking(agent("research", ONE))])
    boss = agent("boss", asked("c0"), tools=[asking(middle)])
    told = stage(agents={"boss": ["ask"], "research": ["add"]}, delegations={"boss": ["research"]}).run(
        boss, agent="boss"
    )
    assert len(told.nodes) == 1
    assert told.counted["boss agent.unnamed ask"] == 1


def test_the_graph_that_the_host_starts_may_be_without_a_name(stage: Build) -> None:
    told = stage(agents={"solo": ["add"]}).run(agent(None, ONE), agent="solo")
    assert told.tree == "solo(add)"


def test_an_agent_that_is_not_registered_is_refused_and_where_the_registry_is_ones_own_with_the_line_to_add(
    stage: Build, form: str
) -> None:
    loud = DeputizeMiddleware(handoffs=TO_RESEARCH, on_denied="raise")
    boss = agent("boss", asked("c0"), tools=[asking(agent("reserch", ONE))], guard=loud)
    told = stage(**TEAM).run(boss, agent="boss", raises=UnknownAgent)
    assert isinstance(told.error, UnknownAgent)
    assert told.error.code == "unknown_agent"
    assert ("[agents.reserch]" in told.error.denial.enough) is (form == "embedded")  # else an operator reads it
    assert told.error.denial.reference


def test_a_tool_that_wraps_an_agent_and_was_not_declared_is_a_tool_like_any_other(stage: Build) -> None:
    boss = agent("boss", asked("c0"), tools=[asking(agent("research", ONE))])
    told = stage(**TEAM).run(boss, said("go"), agent="boss")
    assert told.tree == "boss(ask:denied)"
    assert answers(told.result)[0].status == "error"
