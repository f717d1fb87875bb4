"""Facts of the installed LangChain that the design leans on, without our own code: callbacks."""
# ruff: noqa: ARG002  # the signatures are LangChain's

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.callbacks.manager import CallbackManager
from langchain_core.runnables.config import ContextThreadPoolExecutor
from langchain_core.tools import BaseTool, StructuredTool, tool
from langchain_core.tracers.context import _configure_hooks, register_configure_hook

from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.watch import ADD, Watch, release, said, scripted

Invoke = Callable[..., Any]


class Stop(Exception):
    """Raised by handlers."""


def test_a_sync_handler_that_raises_stops_the_tool_in_every_mode(invoke: Invoke) -> None:
    ran: list[str] = []

    @tool
    def probe() -> None:
        """Tell that it ran."""
        ran.append("sync")

    @tool
    async def aprobe() -> None:
        """Tell that it ran."""
        ran.append("async")

    class Refuse(BaseCallbackHandler):
        raise_error = True
        run_inline = True

        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            raise Stop

    with pytest.raises(Stop):
        invoke(scripted("a", calls(("probe", {}, "c")), tools=[probe]), callbacks=[Refuse()])
    with pytest.raises(Stop):
        asyncio.run(aprobe.ainvoke({}, {"callbacks": [Refuse()]}))
    assert ran == []


def test_an_async_handler_does_not_stop_a_sync_tool() -> None:
    ran: list[str] = []

    @tool
    def probe() -> None:
        """Tell that it ran."""
        ran.append("ran")

    class Refuse(AsyncCallbackHandler):
        raise_error = True

        async def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            raise Stop

    probe.invoke({}, {"callbacks": [Refuse()]})
    assert ran == ["ran"]


def test_a_configure_hook_is_asked_for_get_alone_and_yields_to_a_handler_of_its_class() -> None:
    class Ambient(BaseCallbackHandler):
        """One of its class is enough."""

    class Hook:
        asked = 0

        def get(self) -> BaseCallbackHandler:
            self.asked += 1
            return ambient

    ambient, hook = Ambient(), Hook()
    register_configure_hook(hook, inheritable=True, handle_class=Ambient)  # type: ignore[arg-type]  # the fact itself
    try:
        assert ambient in CallbackManager.configure().inheritable_handlers
        mine = Ambient()
        assert [h for h in CallbackManager.configure([mine]).handlers if isinstance(h, Ambient)] == [mine]
        assert hook.asked > 0
    finally:
        _configure_hooks[:] = [entry for entry in _configure_hooks if entry[0] is not hook]


async def test_a_stream_that_is_closed_early_ends_its_runs_with_generator_exit(add: BaseTool) -> None:
    watch = Watch()
    stream = scripted("solo", ADD, tools=[add]).astream({"messages": [("user", "?")]}, {"callbacks": [watch]})
    await anext(stream)
    await stream.aclose()
    assert watch.of("GeneratorExit")


async def test_the_end_of_a_tool_that_is_cancelled_is_told_as_an_error_from_core_1_7_5_and_not_before() -> None:
    waiting = asyncio.Event()

    @tool
    async def wait() -> None:
        """Wait for ever."""
        waiting.set()
        await asyncio.Event().wait()

    watch = Watch()
    task = asyncio.create_task(wait.ainvoke({}, {"callbacks": [watch]}))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    told = ["tool", "tool error"] if release("langchain-core") >= (1, 7, 5) else ["tool"]
    assert [kind for kind, _ in watch.told] == told


def test_callbacks_given_to_an_inner_call_add_to_those_around_it(invoke: Invoke, add: BaseTool) -> None:
    inner = scripted("inner", ADD, tools=[add])

    @tool
    def ask() -> str:
        """Ask."""
        inner.invoke({"messages": [("user", "?")]}, {"callbacks": []})
        return "asked"

    watch = Watch()
    invoke(scripted("boss", calls(("ask", {}, "c0")), tools=[ask]), callbacks=[watch])
    assert "add" in {run["tool"] for run in watch.of("tool")}


def test_a_handler_that_may_not_raise_stops_nothing(invoke: Invoke) -> None:
    ran: list[str] = []

    @tool
    def probe() -> None:
        """Tell that it ran."""
        ran.append("ran")

    class Refuse(BaseCallbackHandler):
        run_inline = True

        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            raise Stop

    invoke(scripted("a", calls(("probe", {}, "c")), tools=[probe]), callbacks=[Refuse()])
    assert ran == ["ran"]


async def test_a_handler_that_is_not_inline_runs_outside_the_context_of_an_async_tool() -> None:
    seen: list[str] = []
    inside: contextvars.ContextVar[str] = contextvars.ContextVar("inside", default="unset")

    @tool
    async def look() -> None:
        """Look."""
        seen.append(inside.get())

    class Sets(BaseCallbackHandler):
        def __init__(self, *, inline: bool) -> None:
            self.run_inline = inline

        def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
            inside.set("set")

    for inline in (False, True):
        await asyncio.create_task(look.ainvoke({}, {"callbacks": [Sets(inline=inline)]}))
    assert seen == ["unset", "set"]


def test_a_thread_of_ones_own_has_neither_handler_nor_context_and_one_of_langchains_has_both() -> None:
    watch = Watch()
    inner = scripted("inner", ADD)

    def in_thread() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inner.invoke, said("?")).result()

    def in_langchains() -> None:
        with ContextThreadPoolExecutor(1) as pool:
            pool.submit(inner.invoke, said("?")).result()

    counts = []
    for body in (in_thread, in_langchains):
        watch.told.clear()
        asking = StructuredTool.from_function(body, name="ask", description="Ask.")
        scripted("boss", calls(("ask", {}, "c0")), tools=[asking]).invoke(said("go"), {"callbacks": [watch]})
        counts.append([run["tool"] for run in watch.of("tool")])
    assert counts == [["ask"], ["ask", "add"]]


async def test_a_task_and_to_thread_keep_the_handler() -> None:
    watch = Watch()
    inner = scripted("inner", ADD)

    async def ask() -> None:
        await asyncio.gather(asyncio.create_task(inner.ainvoke(said("?"))), asyncio.to_thread(inner.invoke, said("?")))

    asking = StructuredTool.from_function(coroutine=ask, name="ask", description="Ask.")
    await scripted("boss", calls(("ask", {}, "c0")), tools=[asking]).ainvoke(said("go"), {"callbacks": [watch]})
    assert [run["tool"] for run in watch.of("tool")] == ["ask", "add", "add"]


def test_a_tool_tells_its_call_id_its_arguments_and_its_own_metadata() -> None:
    watch = Watch()

    @tool
    def look(where: str) -> str:
        """Look."""
        return where

    look.metadata = {"mine": "yes"}
    scripted("solo", calls(("look", {"where": "here"}, "c7")), tools=[look]).invoke(said("go"), {"callbacks": [watch]})
    (told,) = watch.of("tool")
    assert (told["tool_call_id"], told["inputs"]) == ("c7", {"where": "here"})
    assert (told["metadata"]["mine"], told["metadata"]["langgraph_node"]) == ("yes", "tools")


async def test_streams_and_events_tell_what_an_invocation_tells() -> None:
    counts = []
    solo = scripted("solo", ADD)
    for read in (
        lambda config: solo.astream(said("go"), config),
        lambda config: solo.astream_events(said("go"), config, version="v2"),
    ):
        watch = Watch()
        assert [chunk async for chunk in read({"callbacks": [watch]})]
        counts.append(len(watch.of("chain")))
    watch = Watch()
    await solo.ainvoke(said("go"), {"callbacks": [watch]})
    assert counts == [len(watch.of("chain"))] * 2
