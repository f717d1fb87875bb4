"""One agent that acts as several, by a member of its state: LangGraph tells nothing of it, so the guard reads it."""

from collections.abc import Callable
from typing import Annotated, Any, NotRequired

import pytest
from langchain.agents import AgentState, create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.types import Command

from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import Stage, add, answers

Build = Callable[..., Stage]
TEAM: dict[str, Any] = {
    "agents": {"desk": ["go_on"], "clerk": ["add"], "refund": ["add"]},
    "delegations": {"desk": ["clerk"]},
}


class Stepping(AgentState[Any]):
    """The docs' state-driven steps."""

    current_step: NotRequired[str]


@tool
def go_on(step: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Go on to a step."""
    message = ToolMessage("on", tool_call_id=tool_call_id, name="go_on")
    return Command(update={"current_step": step, "messages": [message]})


def desk(*steps: Any) -> Any:
    return create_agent(
        ScriptedModel(steps=[*steps, "done"]),
        [go_on, add],
        name="desk",
        state_schema=Stepping,
        middleware=[DeputizeMiddleware(persona_key="current_step")],
    )


def test_calls_of_a_step_are_in_one_session_of_its_agent(stage: Build) -> None:
    adding = (calls(("add", {"a": 1, "b": n}, f"c{n}")) for n in range(2))
    told = stage(**TEAM).run(desk(calls(("go_on", {"step": "clerk"}, "s1")), *adding), agent="desk", stays=["clerk"])
    assert told.tree == "desk(go_on){clerk(add, add)}"


def test_what_the_step_may_not_do_is_refused_though_the_agent_itself_might(stage: Build) -> None:
    back = calls(("go_on", {"step": "desk"}, "s2"))
    told = stage(**TEAM).run(desk(calls(("go_on", {"step": "clerk"}, "s1")), back), agent="desk", stays=["clerk"])
    assert told.tree == "desk(go_on){clerk(go_on:denied)}"


@pytest.mark.parametrize("step", ["refund", "root"], ids=["not to be asked", "no agent"])
def test_a_step_of_whom_the_agent_may_not_ask_is_refused(stage: Build, step: str) -> None:
    then = calls(("add", {"a": 1, "b": 1}, "c1"))
    told = stage(**TEAM).run(desk(calls(("go_on", {"step": step}, "s1")), then), agent="desk")
    assert told.tree == "desk(go_on)"
    assert answers(told.result)[-1].status == "error"
