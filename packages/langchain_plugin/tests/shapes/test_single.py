"""One agent with tools (scenarios 1 and 2)."""

from collections.abc import Callable

from langchain_core.tools import tool

from langchain_deputize import current_access, secure_tool
from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.shapes.kit import ONE, Stage, add, agent, answers

Build = Callable[..., Stage]
CRM = "https://crm.example/mcp"


def test_one_tool_of_one_agent_is_one_call_of_one_session(stage: Build) -> None:
    told = stage(agents={"solo": ["add"]}).run(agent("solo", ONE), agent="solo", task="sum")
    assert answers(told.result)[0].content == "3"
    assert told.tree == "solo(add)"
    assert told.rows == [
        "solo session.opened",
        "solo tool.started add",
        "solo tool.finished add",
        "solo session.closed",
    ]


def test_two_parallel_calls_are_of_one_session_and_keep_their_call_ids(stage: Build) -> None:
    both = calls(("add", {"a": 1, "b": 2}, "c1"), ("add", {"a": 3, "b": 4}, "c2"))
    told = stage(agents={"solo": ["add"]}).run(agent("solo", both), agent="solo")
    assert [message.content for message in answers(told.result)] == ["3", "7"]
    assert told.tree == "solo(add, add)"
    assert {(row["sid"], row["call_id"]) for row in told.of("tool.started")} == {
        (told.session.id, "c1"),
        (told.session.id, "c2"),
    }


def test_two_parallel_calls_have_two_tokens(stage: Build) -> None:
    seen: list[str] = []

    @tool
    def read() -> str:
        """Read."""
        seen.append(current_access().reveal())
        return "rows"

    secured = secure_tool(read, scopes=["crm:read"], resource=CRM)
    both = calls(("read", {}, "c1"), ("read", {}, "c2"))
    place = stage(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})
    told = place.run(agent("solo", both, tools=[secured, add]), agent="solo")
    assert told.tree == "solo(read, read)"
    assert len(set(seen)) == 2
    assert told.counted["solo exchange.permitted read"] == 2
