"""Agents side by side: RunnableParallel, the functional API, batch (scenario 13)."""

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableParallel
from langchain_core.tools import tool
from langgraph.func import entrypoint, task

from langchain_deputize import current_access, secure_tool
from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.shapes.kit import ONE, Stage, agent, said

Build = Callable[..., Stage]
CRM = "https://crm.example/mcp"
PAIR: dict[str, Any] = {
    "agents": {"host": [], "p1": ["crm:read"], "p2": ["crm:read"]},
    "resources": {CRM: ["crm:read"]},
    "delegations": {"host": ["p1", "p2"]},
}
SOLO: dict[str, Any] = {"agents": {"host": [], "p1": ["add"]}, "delegations": {"host": ["p1"]}}


def test_the_branches_of_a_runnable_parallel_share_neither_session_nor_token(stage: Build) -> None:
    seen: list[str] = []

    @tool
    def read() -> str:
        """Read."""
        seen.append(current_access().reveal())
        return "rows"

    secured = secure_tool(read, scopes=["crm:read"], resource=CRM)
    branches: Any = {n: agent(n, calls(("read", {}, "r1")), tools=[secured]) for n in ("p1", "p2")}
    told = stage(**PAIR).run(RunnableParallel(branches), agent="host")
    assert told.tree == "host{p1(read), p2(read)}"
    assert len(set(seen)) == 2
    assert told.counted["p1 exchange.permitted read"] == told.counted["p2 exchange.permitted read"] == 1


def test_each_task_of_the_functional_api_that_runs_an_agent_opens_a_session(stage: Build, waits: bool) -> None:
    worker = agent("p1", ONE)
    graph: Any
    if waits:

        @task
        async def astep(text: str) -> str:
            return str((await worker.ainvoke(said(text)))["messages"][-1].content)

        @entrypoint()
        async def aflow(text: str) -> list[str]:
            return [*await asyncio.gather(astep("1"), astep("2")), await astep("3")]

        graph = aflow
    else:

        @task
        def step(text: str) -> str:
            return str(worker.invoke(said(text))["messages"][-1].content)

        @entrypoint()
        def flow(text: str) -> list[str]:
            both = [step("1"), step("2")]
            return [*(one.result() for one in both), step("3").result()]

        graph = flow
    told = stage(**SOLO).run(graph, {"text": "go"}, agent="host")
    assert told.result == ["done"] * 3
    assert told.tree == "host{p1(add), p1(add), p1(add)}"


def test_each_item_of_a_batch_is_a_run_of_its_own(stage: Build) -> None:
    worker = agent("p1", ONE)
    told = stage(**SOLO).play(
        lambda _: worker.batch([said("1"), said("2"), said("3")]),
        lambda _: worker.abatch([said("1"), said("2"), said("3")]),
        agent="host",
    )
    assert told.tree == "host{p1(add), p1(add), p1(add)}"
