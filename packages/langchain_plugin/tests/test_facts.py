"""Facts of the installed LangChain and LangGraph that the design leans on, each without our own code."""
# ruff: noqa: ARG002  # the signatures are LangChain's

import asyncio
import contextvars
import importlib.metadata
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.callbacks.manager import CallbackManager
from langchain_core.tools import BaseTool, tool
from langchain_core.tracers.context import _configure_hooks, register_configure_hook
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langchain_deputize.testing import ScriptedModel, calls

Invoke = Callable[..., Any]


class Stop(Exception):
    """Raised by handlers."""


class Watch(BaseCallbackHandler):
    """Writes down what it is told."""

    raise_error = True
    run_inline = True

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.told.append(("chain", kwargs))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.told.append(("chain end", kwargs))

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append((type(error).__name__, kwargs))

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.told.append(("tool", {**kwargs, "tool": serialized["name"]}))

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.told.append(("tool end", {**kwargs, "output": output}))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [kwargs for name, kwargs in self.told if name == kind]


def scripted(name: str | None, *steps: Any, tools: list[BaseTool], middleware: Any = ()) -> Any:
    return create_agent(ScriptedModel(steps=[*steps, "done"]), tools, name=name, middleware=middleware)


ADD = calls(("add", {"a": 1, "b": 2}, "c1"))


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


def test_a_task_of_a_graph_carries_a_step_tag_and_the_agents_own_run_does_not(invoke: Invoke, add: BaseTool) -> None:
    watch = Watch()
    invoke(scripted("solo", ADD, tools=[add]), callbacks=[watch])
    root, *tasks = watch.of("chain")
    assert (root["name"], root["metadata"]["lc_agent_name"], root["tags"]) == ("solo", "solo", [])
    assert {task["name"] for task in tasks} == {"model", "tools"}
    assert all(any(tag.startswith("graph:step:") for tag in task["tags"]) for task in tasks)
    assert all(task["parent_run_id"] == root["run_id"] for task in tasks)


def test_an_unnamed_agent_inherits_the_label_of_the_agent_around_it(invoke: Invoke, add: BaseTool) -> None:
    inner = scripted(None, ADD, tools=[add])

    @tool
    def ask() -> str:
        """Ask."""
        return str(inner.invoke({"messages": [("user", "?")]})["messages"][-1].content)

    watch = Watch()
    invoke(scripted("boss", calls(("ask", {}, "c0")), tools=[ask]), callbacks=[watch])
    unnamed = next(run for run in watch.of("chain") if run["name"] == "LangGraph")
    assert unnamed["metadata"]["lc_agent_name"] == "boss"
    assert unnamed["metadata"]["langgraph_node"] == "tools"


def test_middleware_runs_before_the_tool_starts_and_under_the_same_parent(invoke: Invoke, add: BaseTool) -> None:
    order: list[tuple[str, UUID]] = []
    inside: contextvars.ContextVar[str] = contextvars.ContextVar("inside", default="")

    class Around(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            order.append(("guard", request.runtime.config["callbacks"].parent_run_id))
            token = inside.set("guard")
            try:
                return handler(request)
            finally:
                inside.reset(token)

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            order.append(("guard", request.runtime.config["callbacks"].parent_run_id))
            token = inside.set("guard")
            try:
                return await handler(request)
            finally:
                inside.reset(token)

    class Start(BaseCallbackHandler):
        run_inline = True

        def on_tool_start(self, *args: Any, parent_run_id: UUID, tool_call_id: str, **kwargs: Any) -> None:
            order.append((f"start {tool_call_id} {inside.get()}", parent_run_id))

    invoke(scripted("solo", ADD, tools=[add], middleware=[Around()]), callbacks=[Start()])
    assert [what for what, _ in order] == ["guard", "start c1 guard"]
    assert order[0][1] == order[1][1]


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


def test_a_command_to_the_parent_graph_ends_the_delegator_with_an_error_and_starts_a_sibling(invoke: Invoke) -> None:
    @tool
    def hand_on() -> Command[Any]:
        """Hand on."""
        return Command(goto="other", graph=Command.PARENT)

    graph = StateGraph(MessagesState)
    graph.add_node("first", scripted("first", calls(("hand_on", {}, "h")), tools=[hand_on]), destinations=("other",))
    graph.add_node("other", scripted("other", tools=[]))
    graph.add_edge(START, "first")
    watch = Watch()
    invoke(graph.compile(), callbacks=[watch])
    assert isinstance(watch.of("tool end")[0]["output"], Command)
    assert len(watch.of("ParentCommand")) == 3
    nodes = {run["name"]: run for run in watch.of("chain") if run["name"] in {"first", "other"} and run["tags"]}
    root = watch.of("chain")[0]
    tasks = [run for run in watch.of("chain") if run["parent_run_id"] == root["run_id"]]
    assert [task["name"] for task in tasks] == ["first", "other"]
    assert set(nodes) == {"first", "other"}


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

    class Ends(Watch):
        def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
            self.told.append(("tool error", kwargs))

    watch = Ends()
    task = asyncio.create_task(wait.ainvoke({}, {"callbacks": [watch]}))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    told = ["tool", "tool error"] if _core_version() >= (1, 7, 5) else ["tool"]
    assert [kind for kind, _ in watch.told] == told


def _core_version() -> tuple[int, ...]:
    return tuple(int(part) for part in importlib.metadata.version("langchain-core").split(".")[:3])


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
