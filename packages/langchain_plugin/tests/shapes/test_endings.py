"""Runs that end before their end: sessions are closed, and what happened is recorded."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, tool

from packages.langchain_plugin.tests.shapes.kit import Stage, agent, asked, asking, calls, said

Build = Callable[..., Stage]
TEAM: dict[str, Any] = {"agents": {"boss": [], "research": ["work"]}, "delegations": {"boss": ["research"]}}
FAILED = "boss(ask:failed){research(work:failed)}"
ROWS = [
    "boss session.opened",
    "boss tool.started ask",
    "research session.opened",
    "research tool.started work",
    "research tool.failed work",
    "boss tool.failed ask",
    "research session.closed",  # with the step that it was done in, which might have been tried again
    "boss session.closed",
]
only_async = pytest.mark.parametrize("waits", [True], ids=["async"], indirect=True)


def team(work: BaseTool) -> Any:
    research = agent("research", calls(("work", {}, "w1")), tools=[work])
    return agent("boss", asked("c0"), tools=[asking(research)], handoffs={"ask": "research"})


class Waiting:
    """A tool that says when it began, and never ends."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def __call__(self) -> str:
        self.began.set()
        await asyncio.Event().wait()
        return "never"

    @property
    def tool(self) -> BaseTool:
        return StructuredTool.from_function(coroutine=self.__call__, name="work", description="Work.")


def test_an_exception_in_a_tool_is_a_failed_call_and_closes_what_was_open(stage: Build) -> None:
    def fail() -> str:
        raise ValueError("a secret text")

    async def afail() -> str:
        return fail()

    work = StructuredTool.from_function(fail, coroutine=afail, name="work", description="Fail.")
    told = stage(**TEAM).run(team(work), agent="boss", raises=ValueError)
    assert isinstance(told.error, ValueError)
    assert told.tree == FAILED
    assert told.rows == ROWS
    assert "a secret text" not in repr(told.records)


@only_async
def test_a_run_that_is_cancelled_closes_what_it_opened(stage: Build) -> None:
    async def wait(_: Any) -> None:
        waiting = Waiting()
        task = asyncio.create_task(team(waiting.tool).ainvoke(said("go")))
        await waiting.began.wait()
        task.cancel()
        await task

    told = stage(**TEAM).play(id, wait, agent="boss", raises=asyncio.CancelledError)
    assert told.tree == FAILED
    assert told.rows == ROWS


@only_async
def test_a_run_that_takes_too_long_closes_what_it_opened(stage: Build) -> None:
    async def wait(_: Any) -> None:
        waiting = Waiting()
        async with asyncio.timeout(None) as limit:
            task = asyncio.create_task(waiting.began.wait())
            task.add_done_callback(lambda _: limit.reschedule(asyncio.get_running_loop().time()))
            await team(waiting.tool).ainvoke(said("go"))

    told = stage(**TEAM).play(id, wait, agent="boss", raises=TimeoutError)
    assert isinstance(told.error, TimeoutError)
    assert told.tree == FAILED
    assert told.rows == ROWS


@only_async
def test_a_stream_that_is_closed_once_the_sub_agent_began_closes_what_it_opened(stage: Build) -> None:
    async def wait(_: Any) -> None:
        waiting = Waiting()
        stream = team(waiting.tool).astream(said("go"), stream_mode="updates", subgraphs=True)
        async for path, _ in stream:
            if path:  # the first word of the sub-agent's graph
                break
        await stream.aclose()

    told = stage(**TEAM).play(id, wait, agent="boss")
    assert [node.agent for node in told.nodes] == ["boss", "research"]
    assert {node.state for node in told.nodes[1:]} == {"closed"}
    assert told.rows[-3:] == ["boss tool.failed ask", "research session.closed", "boss session.closed"]


@pytest.mark.parametrize("waits", [False], ids=["sync"], indirect=True)
def test_a_sync_stream_that_is_closed_once_the_sub_agent_began_closes_what_it_opened(stage: Build) -> None:
    @tool
    def work() -> str:
        """Work."""
        return "worked"

    def read(_: Any) -> None:
        stream = team(work).stream(said("go"), stream_mode="updates", subgraphs=True)
        for path, _update in stream:
            if path:
                break
        stream.close()

    told = stage(**TEAM).play(read, id, agent="boss")
    assert [node.agent for node in told.nodes] == ["boss", "research"]
    assert {node.state for node in told.nodes[1:]} == {"closed"}
    assert told.counted["research session.closed"] == 1
