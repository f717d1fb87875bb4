"""A LangChain agent that calls four tools, with and without the guard. The model answers at once."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool

from benchmarks.measure import Case, Group, Sample, looped
from benchmarks.workplace import Workplace
from deputize import Authority
from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls

NUMBERS = range(4)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def build(*, quick: bool) -> Group:
    """One run has five turns of the model and four tool calls, each asked for, permitted and recorded."""
    place = Workplace()
    loops = 2 if quick else 12
    stores = {"memory": ":memory:", "file, NORMAL": "agent.db"}
    authorities = {name: place.tools(store, ["add"]) for name, store in stores.items()}
    loop = asyncio.new_event_loop()
    cases: list[Case] = []
    for kind in ("sync", "async"):
        base = f"unguarded, {kind}"
        cases.append(Case(name=base, sample=_sample(kind, loop, _graph(), None, loops)))
        cases += [
            Case(
                name=f"guarded, {kind}, {name}",
                sample=_sample(kind, loop, _graph(DeputizeMiddleware()), authority, loops),
                against=base,
                at_most=1.2,
            )
            for name, authority in authorities.items()
        ]

    def close() -> None:
        loop.close()
        place.close()

    return Group(
        name="agent",
        title="LangChain: one agent run of four tool calls, opening and closing its session included",
        clock="wall time",
        unit="ms",
        cases=cases,
        rounds=2 if quick else 15,
        close=close,
    )


def _graph(*middleware: DeputizeMiddleware) -> Any:  # noqa: ANN401  # LangGraph's type has four parameters
    steps = [calls(("add", {"a": number, "b": 1}, f"call-{number}")) for number in NUMBERS]
    return create_agent(ScriptedModel(steps=[*steps, "done"]), [add], name="boss", middleware=list(middleware))


def _sample(
    kind: str,
    loop: asyncio.AbstractEventLoop,
    graph: Any,
    authority: Authority | None,
    loops: int,  # noqa: ANN401  # as above
) -> Sample:
    question = {"messages": [("user", "go")]}

    def sync_run() -> None:
        if authority is None:
            graph.invoke(question)
            return
        with authority.session(user="alice", agent="boss"):
            graph.invoke(question)

    async def async_run() -> None:
        if authority is None:
            await graph.ainvoke(question)
            return
        async with await authority.asession(user="alice", agent="boss"):
            await graph.ainvoke(question)

    op: Callable[[], object] = sync_run if kind == "sync" else partial(_in_loop, loop, async_run)
    return looped(op, loops, cpu=False, unit="ms")


def _in_loop(loop: asyncio.AbstractEventLoop, run: Callable[[], Any]) -> None:
    loop.run_until_complete(run())
