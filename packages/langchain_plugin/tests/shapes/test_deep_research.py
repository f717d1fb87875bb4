"""The shape of open_deep_research: a node that gathers graphs without a name, whose tools code calls directly."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, MessagesState, StateGraph

from langchain_deputize import DeputizeCallbackHandler, secure_tool
from packages.langchain_plugin.tests.shapes.kit import Stage, add, said

Build = Callable[..., Stage]
TEAM: dict[str, Any] = {"agents": {"lead": [], "researcher": ["add"]}, "delegations": {"lead": ["researcher"]}}

pytestmark = pytest.mark.parametrize("waits", [True], ids=["async"], indirect=True)  # it is async upstream


def research() -> Any:
    secured = secure_tool(add)

    async def researcher_tools(state: MessagesState, config: RunnableConfig) -> Any:
        try:
            found = str(await secured.ainvoke({"a": 1, "b": 1}, config))
        except Exception as error:  # noqa: BLE001  # upstream turns every exception into text for the model
            found = f"Error: {error}"
        return {"messages": [("ai", found)]}

    inner = StateGraph(MessagesState)
    inner.add_node("researcher_tools", researcher_tools)
    inner.add_edge(START, "researcher_tools")
    researcher = inner.compile()

    async def supervisor_tools(state: MessagesState, config: RunnableConfig) -> Any:
        found = await asyncio.gather(*(researcher.ainvoke(said(str(n)), config) for n in range(3)))
        return {"messages": [result["messages"][-1] for result in found]}

    outer = StateGraph(MessagesState)
    outer.add_node("supervisor_tools", supervisor_tools)
    outer.add_edge(START, "supervisor_tools")
    return outer.compile()


def test_graphs_without_a_name_are_known_by_the_node_that_gathers_them(stage: Build) -> None:
    told = stage(**TEAM).run(
        research(), agent="lead", callbacks=[DeputizeCallbackHandler(agents={"@supervisor_tools": "researcher"})]
    )
    assert told.tree == "lead{researcher(add), researcher(add), researcher(add)}"
    assert [message.text for message in told.result["messages"][1:]] == ["2", "2", "2"]


def test_without_the_registration_no_tool_of_theirs_runs_and_no_exception_is_needed_to_see_it(stage: Build) -> None:
    told = stage(**TEAM).run(research(), agent="lead")
    assert told.tree == "lead"
    assert all(message.text.startswith("Error: ") for message in told.result["messages"][1:])
    assert told.counted["lead agent.unnamed add"] == 3
