"""deepagents: sub-agents by the tool `task`, its own and compiled ones (scenario 11)."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import tool

from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import ONE, Stage, add, agent

deepagents = pytest.importorskip("deepagents")  # the oldest LangChain that we support has none

Build = Callable[..., Stage]
TASKS = calls(
    ("task", {"description": "count things", "subagent_type": "analyst"}, "t1"),
    ("task", {"description": "sum it up", "subagent_type": "compiled"}, "t2"),
)
TEAM: dict[str, Any] = {
    "agents": {"deep": ["drop"], "analyst": ["add"], "compiled": ["add"]},
    "delegations": {"deep": ["analyst", "compiled"]},
}


@tool
def drop() -> str:
    """Drop a table."""
    raise AssertionError("it ran")


def deep(*steps: Any, analyst: list[Any]) -> Any:
    guard = DeputizeMiddleware()
    sub: Any = {
        "name": "analyst",
        "description": "Counts.",
        "system_prompt": "Count.",
        "tools": [add, drop],
        "model": ScriptedModel(steps=[*analyst, "counted"]),
        "middleware": [guard],
    }
    compiled: Any = {"name": "compiled", "description": "Sums.", "runnable": agent("inside", ONE)}
    return deepagents.create_deep_agent(
        model=ScriptedModel(steps=[*steps, "done"]),
        tools=[add],
        name="deep",
        middleware=[guard],
        subagents=[sub, compiled],
    )


def test_two_tasks_in_parallel_have_a_session_each_below_the_main_agent(stage: Build) -> None:
    told = stage(**TEAM).run(deep(TASKS, analyst=[ONE]), agent="deep")
    assert told.tree == "deep(task, task){analyst(add), compiled(add)}"
    assert told.counted == {
        "deep session.opened": 1,
        "deep tool.started task": 2,
        "analyst session.opened": 1,
        "compiled session.opened": 1,
        "analyst tool.started add": 1,
        "analyst tool.finished add": 1,
        "compiled tool.started add": 1,
        "compiled tool.finished add": 1,
        "analyst session.closed": 1,
        "compiled session.closed": 1,
        "deep tool.finished task": 2,
        "deep session.closed": 1,
    }


def test_the_text_of_each_task_is_the_task_of_its_session(stage: Build) -> None:
    told = stage(**TEAM).run(deep(TASKS, analyst=[ONE]), agent="deep", task="the whole")
    digests = [row["detail"].get("task_digest") for row in told.of("session.opened")]
    assert None not in digests
    assert len(set(digests)) == 3


def test_a_tool_that_the_sub_agent_may_not_use_does_not_run(stage: Build) -> None:
    told = stage(**TEAM).run(deep(TASKS, analyst=[calls(("drop", {}, "d1"))]), agent="deep")
    assert told.tree == "deep(task, task){analyst(drop:denied), compiled(add)}"


def test_a_task_for_an_agent_that_may_not_be_asked_is_refused_and_opens_nothing(stage: Build) -> None:
    place = stage(agents=TEAM["agents"], delegations={"deep": ["compiled"]})
    told = place.run(deep(TASKS, analyst=[ONE]), agent="deep")
    assert {node.agent for node in told.nodes} == {"deep", "compiled"}
    assert sorted(call.outcome for call in told.nodes[0].calls) == ["denied", "done"]
