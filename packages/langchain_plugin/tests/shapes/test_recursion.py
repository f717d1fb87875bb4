"""An agent that asks itself (scenario 6)."""

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool

from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import Stage, add, said

Build = Callable[..., Stage]
REC: dict[str, Any] = {"agents": {"rec": ["add"]}, "delegations": {"rec": ["rec"]}}


class Counting(ScriptedModel):
    """Asks itself with one less until none is left, and adds then."""

    def _turn(self, messages: list[BaseMessage]) -> Any:
        left = int(messages[0].text)
        step: Any = calls(("again", {"left": left - 1}, f"d{left}")) if left else calls(("add", {"a": 1, "b": 1}, "a"))
        if any(isinstance(message, ToolMessage) for message in messages):
            step = "done"
        return ScriptedModel(steps=[step])._turn([])


def recursive() -> Any:
    def again(left: int) -> str:
        return str(graph.invoke(said(str(left)))["messages"][-1].content)

    async def aagain(left: int) -> str:
        return str((await graph.ainvoke(said(str(left))))["messages"][-1].content)

    tools: list[BaseTool] = [StructuredTool.from_function(again, coroutine=aagain, description="Ask oneself."), add]
    guard = DeputizeMiddleware(handoffs={"again": "rec"})
    graph = create_agent(Counting(steps=[]), tools, name="rec", middleware=[guard])
    return graph


def test_each_turn_of_a_recursion_has_a_session_below_the_one_before(stage: Build) -> None:
    told = stage(**REC).run(recursive(), "2", agent="rec")
    assert told.tree == "rec(again){rec(again){rec(add)}}"
    assert [row["chain"] for row in told.of("session.opened")] == [["spiffe://local/agent/rec"] * n for n in (1, 2, 3)]


def test_a_recursion_stops_at_the_depth_limit_and_the_refusal_is_recorded(stage: Build) -> None:
    told = stage(**REC).run(recursive(), "9", agent="rec")
    assert told.tree == "rec(again){rec(again){rec(again){rec(again){rec(again:failed)}}}}"
    assert [row["code"] for row in told.of("handoff.denied")] == ["depth_exceeded"]
