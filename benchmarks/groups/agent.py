"""A LangChain agent that calls four tools, with and without the guard. The model answers at once."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import BaseTool, tool

from benchmarks.measure import Case, Group, Sample, looped
from benchmarks.serving.agents import remote, tenuo
from benchmarks.workplace import Workplace
from deputize import Authority
from langchain_deputize import DeputizeMiddleware, session_config
from langchain_deputize.testing import ScriptedModel, calls

NUMBERS = range(4)
BOUNDS = {"file, NORMAL": 1.2}
OWN = ("in memory", "file, NORMAL")  # where a run that opens its own session is measured too
Around = Callable[[], Any]  # a block around the run
_nothing: Around = nullcontext
QUESTION = {"messages": [("user", "go")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class _Empty(BaseCallbackHandler):
    """A handler that does nothing, as cheaply as one can."""

    run_inline = True


def build(*, quick: bool) -> Group:
    """One run has five turns of the model and four tool calls, each asked for, permitted and recorded."""
    place, stack = Workplace(), ExitStack()
    authorities = {
        "in memory": place.tools(":memory:", ["add"]),
        "file, NORMAL": place.tools("agent.db", ["add"]),
        "file, FULL": place.tools("full.db", ["add"], durability="full"),
        "at a server": stack.enter_context(remote(place, ["add"])),
    }
    loop = asyncio.new_event_loop()
    sync = _cases("sync", _sync, authorities, loops=2 if quick else 10)
    waits = _cases("async", partial(_async, loop), authorities, loops=2 if quick else 10)

    def close() -> None:
        loop.close()
        stack.close()
        place.close()

    return Group(
        name="agent",
        title="LangChain: one agent run of four tool calls in an open session, or opening and closing its own",
        clock="CPU time of all threads",
        unit="ms",
        cases=[*sync, *waits],
        rounds=2 if quick else 15,
        close=close,
    )


def _cases(
    kind: str, make: Callable[..., Callable[[], object]], authorities: Mapping[str, Authority], *, loops: int
) -> list[Case]:
    base = f"unguarded, {kind}"
    empty = {"callbacks": [_Empty()]}
    cases = [
        Case(name=base, sample=_sample(make(_graph(), _nothing, None), loops)),
        Case(name=f"an empty handler, {kind}", sample=_sample(make(_graph(), _nothing, empty), loops), against=base),
    ]
    for where, authority in authorities.items():
        session = authority.session(user="alice", agent="boss")
        config = session_config(session)
        name = f"guarded, {kind}, {where}"
        guarded = _sample(make(_graph(DeputizeMiddleware()), _nothing, config), loops)
        cases.append(Case(name=name, sample=guarded, against=base, at_most=BOUNDS.get(where)))
        if where in OWN:
            opening = partial(authority.session, user="alice", agent="boss")
            own = _sample(make(_graph(DeputizeMiddleware()), opening, None), loops)
            cases.append(Case(name=f"{name} + its session", sample=own, against=base))
    tools, block = tenuo([add])
    theirs = _sample(make(_graph(tools=tools), block, None), loops)
    cases.append(Case(name=f"tenuo's wrapper, {kind}", sample=theirs, against=base))
    return cases


def _graph(*middleware: DeputizeMiddleware, tools: Sequence[BaseTool] = (add,)) -> Any:  # noqa: ANN401  # LangGraph's type has four parameters
    steps = [calls(("add", {"a": number, "b": 1}, f"call-{number}")) for number in NUMBERS]
    return create_agent(ScriptedModel(steps=[*steps, "done"]), list(tools), name="boss", middleware=list(middleware))


def _sync(graph: Any, around: Around, config: Any) -> Callable[[], object]:  # noqa: ANN401  # as above
    def run() -> None:
        with around():
            graph.invoke(QUESTION, config)

    return run


def _async(
    loop: asyncio.AbstractEventLoop,
    graph: Any,  # noqa: ANN401  # as above
    around: Around,
    config: Any,  # noqa: ANN401  # as above
) -> Callable[[], object]:
    async def run() -> None:
        found = around()
        if isinstance(found, AbstractAsyncContextManager):
            async with found:
                await graph.ainvoke(QUESTION, config)
        else:
            with found:
                await graph.ainvoke(QUESTION, config)

    return lambda: loop.run_until_complete(run())


def _sample(op: Callable[[], object], loops: int) -> Sample:
    return looped(op, loops, cpu=True, threads=True, unit="ms")
