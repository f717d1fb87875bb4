"""A LangChain agent that calls four tools, with and without the guard. The model answers at once."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool

from benchmarks.measure import Case, Group, Sample, looped
from benchmarks.workplace import Workplace
from deputize import Authority, Session
from langchain_deputize import DeputizeMiddleware, session_config
from langchain_deputize.testing import ScriptedModel, calls

NUMBERS = range(4)
QUESTION = {"messages": [("user", "go")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def build(*, quick: bool) -> Group:
    """One run has five turns of the model and four tool calls, each asked for, permitted and recorded."""
    place = Workplace()
    loops = 2 if quick else 10
    authorities = {store: place.tools(store, ["add"]) for store in (":memory:", "agent.db")}
    loop = asyncio.new_event_loop()
    cases: list[Case] = []
    for kind, make in (("sync", _sync), ("async", partial(_async, loop))):
        base = f"unguarded, {kind}"
        cases.append(Case(name=base, sample=_sample(make(_graph(), None, None), loops)))
        for store, authority in authorities.items():
            for session in (authority.session(user="alice", agent="boss"), None):
                where = "in memory" if store == ":memory:" else "file, NORMAL"
                cases.append(
                    Case(
                        name=f"guarded, {kind}, {where}" + (" + its session" if session is None else ""),
                        sample=_sample(make(_graph(DeputizeMiddleware()), authority, session), loops),
                        against=base,
                        at_most=1.2,
                    )
                )

    def close() -> None:
        loop.close()
        place.close()

    return Group(
        name="agent",
        title="LangChain: one agent run of four tool calls in an open session, or opening and closing its own",
        clock="CPU time of all threads",
        unit="ms",
        cases=cases,
        rounds=2 if quick else 15,
        close=close,
    )


def _graph(*middleware: DeputizeMiddleware) -> Any:  # noqa: ANN401  # LangGraph's type has four parameters
    steps = [calls(("add", {"a": number, "b": 1}, f"call-{number}")) for number in NUMBERS]
    return create_agent(ScriptedModel(steps=[*steps, "done"]), [add], name="boss", middleware=list(middleware))


def _sync(graph: Any, authority: Authority | None, session: Session | None) -> Callable[[], object]:  # noqa: ANN401  # as above
    config = None if session is None else session_config(session)

    def run() -> None:
        if authority is None or session is not None:
            graph.invoke(QUESTION, config)
            return
        with authority.session(user="alice", agent="boss"):
            graph.invoke(QUESTION)

    return run


def _async(
    loop: asyncio.AbstractEventLoop,
    graph: Any,  # noqa: ANN401  # as above
    authority: Authority | None,
    session: Session | None,
) -> Callable[[], object]:
    config = None if session is None else session_config(session)

    async def run() -> None:
        if authority is None or session is not None:
            await graph.ainvoke(QUESTION, config)
            return
        async with await authority.asession(user="alice", agent="boss"):
            await graph.ainvoke(QUESTION)

    return lambda: loop.run_until_complete(run())


def _sample(op: Callable[[], object], loops: int) -> Sample:
    return looped(op, loops, cpu=True, threads=True, unit="ms")
