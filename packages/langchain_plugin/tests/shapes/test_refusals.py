"""What policy refuses, and what no guard saw (scenarios 16 and 17)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool

from deputize.errors import Denied, NoSession
from langchain_deputize import DeputizeCallbackHandler, DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import ONE, Stage, add, agent, answers, asked, asking, said

Build = Callable[..., Stage]


def unguarded(name: str, *steps: Any, tools: Any) -> Any:
    return create_agent(ScriptedModel(steps=[*steps, "done"]), tools, name=name)


@pytest.mark.requirement("I16")
def test_a_refused_tool_of_a_sub_agent_does_not_run_and_its_agent_goes_on(stage: Build) -> None:
    ran: list[str] = []

    @tool
    def drop(table: str) -> str:
        """Drop a table."""
        ran.append(table)
        return "dropped"

    research = agent("research", calls(("drop", {"table": "t"}, "c1")), tools=[drop])
    boss = agent("boss", asked("c0"), tools=[asking(research)], handoffs={"ask": "research"})
    told = stage(agents={"boss": ["drop"], "research": ["look"]}, delegations={"boss": ["research"]}).run(
        boss, agent="boss"
    )
    assert told.result["messages"][-1].content == "done"
    assert ran == []
    assert told.tree == "boss(ask){research(drop:denied)}"
    row = told.of("tool.denied")[0]
    assert row["chain"] == ["spiffe://local/agent/research", "spiffe://local/agent/boss"]
    assert row["reference"]
    assert row["policies"]


def test_a_refusal_is_a_message_with_code_policy_and_reference(stage: Build) -> None:
    told = stage(agents={"solo": ["look"]}).run(agent("solo", ONE), agent="solo")
    row, message = told.of("tool.denied")[0], answers(told.result)[0]
    assert (message.status, message.tool_call_id) == ("error", "c1")
    assert message.content == (
        f"Refused: {row['code']} (policy: {row['policies'][0]}, ref {row['reference']}). "
        "This tool is not available to you in this task; do not retry it."
    )


def test_a_refusal_can_be_raised_instead_and_is_recorded_alike(stage: Build) -> None:
    loud = DeputizeMiddleware(on_denied="raise")
    told = stage(agents={"solo": ["look"]}).run(agent("solo", ONE, guard=loud), agent="solo", raises=Denied)
    assert isinstance(told.error, Denied)
    assert told.error.code == "access_denied"
    assert told.tree == "solo(add:denied)"


def test_a_tool_of_a_sub_agent_that_no_guard_saw_is_refused_and_recorded(stage: Build) -> None:
    ran: list[str] = []

    @tool
    def probe() -> str:
        """Tell that it ran."""
        ran.append("ran")
        return "ran"

    research = unguarded("research", calls(("probe", {}, "c1")), tools=[probe])
    boss = agent("boss", asked("c0"), tools=[asking(research)], handoffs={"ask": "research"})
    told = stage(agents={"boss": ["probe"], "research": ["probe"]}, delegations={"boss": ["research"]}).run(
        boss, agent="boss"
    )
    assert ran == []
    assert told.tree == "boss(ask:failed){research}"
    assert told.rows == [
        "boss session.opened",
        "boss tool.started ask",
        "research session.opened",
        "research tool.unguarded probe",
        "boss tool.failed ask",
        "research session.closed",
        "boss session.closed",
    ]
    assert "tool_unguarded" in str(answers(told.result)[0].content)


def test_a_tool_of_the_only_agent_that_no_guard_saw_stops_the_run(stage: Build) -> None:
    told = stage(agents={"solo": ["add"]}).run(unguarded("solo", ONE, tools=[add]), agent="solo", raises=Denied)
    assert isinstance(told.error, Denied)
    assert told.error.code == "tool_unguarded"


def test_tools_that_no_guard_saw_can_be_recorded_only(stage: Build) -> None:
    told = stage(agents={"solo": ["add"]}).run(
        unguarded("solo", ONE, tools=[add]), agent="solo", callbacks=[DeputizeCallbackHandler(unguarded="record")]
    )
    assert answers(told.result)[0].content == "3"
    assert told.counted["solo tool.unguarded add"] == 1


def test_a_session_that_was_revoked_runs_no_tool(stage: Build) -> None:
    solo = agent("solo", ONE)

    def work(session: Any) -> Any:
        session.revoke("test")
        return solo.invoke(said("go"))

    async def wait(session: Any) -> Any:
        await session.arevoke("test")
        return await solo.ainvoke(said("go"))

    told = stage(agents={"solo": ["add"]}).play(work, wait, agent="solo")
    assert str(answers(told.result)[0].content).split()[1] == "session_revoked"


def test_a_guard_without_a_session_denies(waits: bool) -> None:
    def run(graph: Any) -> Any:
        return asyncio.run(graph.ainvoke(said("go"))) if waits else graph.invoke(said("go"))

    message = answers(run(agent("solo", ONE)))[0]
    assert (message.status, str(message.content).split()[1]) == ("error", "no_session")
    with pytest.raises(NoSession):
        run(agent("solo", ONE, guard=DeputizeMiddleware(on_denied="raise")))
