"""Facts of compiled graphs that `secure` leans on, each without our own code. Some are private: they change first."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel
from langgraph.runtime import get_runtime

from langchain_deputize.testing import ScriptedModel, calls

Invoke = Callable[..., Any]
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))
MESSAGES = {"messages": [("user", "go")]}


def agent(*tools: BaseTool, name: str = "solo", steps: Any = (ADD,), **options: Any) -> Any:
    return create_agent(ScriptedModel(steps=[*steps, "done"]), list(tools), name=name, **options)


def hosted(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return graph.compile()


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_all_ways_to_run_a_graph_go_through_the_stream_and_astream_of_its_class(add: BaseTool) -> None:
    ran: list[str] = []
    graph = agent(add)

    class Through(type(graph)):  # type: ignore[misc]  # a class that is known at run time
        def stream(self, *args: Any, **kwargs: Any) -> Any:
            ran.append("stream")
            yield from super().stream(*args, **kwargs)

        async def astream(self, *args: Any, **kwargs: Any) -> Any:
            ran.append("astream")
            async for part in super().astream(*args, **kwargs):
                yield part

    graph = graph.copy()
    graph.__class__ = Through

    async def read() -> None:
        async for _ in graph.astream_events(MESSAGES, version="v2"):
            pass
        async for _ in await graph.astream_events(MESSAGES, version="v3"):
            pass

    for kept in (graph, graph.copy(), graph.with_config({"tags": ["x"]}), hosted(graph)):
        kept.invoke(MESSAGES)
        kept.batch([MESSAGES])
        asyncio.run(kept.ainvoke(MESSAGES))
    list(graph.stream_events(MESSAGES, version="v3"))
    asyncio.run(read())
    assert ran == ["stream", "stream", "astream"] * 4 + ["stream", "astream", "astream"]


def test_a_copy_of_a_graph_keeps_its_class_and_none_of_the_attributes_that_were_put_on_it(add: BaseTool) -> None:
    graph = agent(add)
    graph.ours = True
    assert not hasattr(graph.copy(), "ours")
    assert type(graph.copy()) is type(graph)


def test_the_node_of_an_agents_tools_is_bound_to_its_tool_node_and_a_subgraph_to_its_graph(add: BaseTool) -> None:
    inner = agent(add)
    tools = inner.nodes["tools"].bound
    assert isinstance(tools, ToolNode)
    assert tools.tools_by_name == {"add": add}
    node = hosted(inner).nodes["node"]
    assert [isinstance(found, Pregel) for found in (node.bound, *node.subgraphs)] == [True, True]

    def run(state: MessagesState) -> Any:
        return inner.invoke(state)

    node = hosted(run).nodes["node"]
    assert node.bound.func is run
    assert list(node.subgraphs) == [inner]


def test_a_tool_node_looks_at_its_wrappers_anew_with_each_call(invoke: Invoke, add: BaseTool) -> None:
    seen: list[str] = []

    def wrap(request: Any, execute: Any) -> Any:
        seen.append(request.tool_call["name"])
        return execute(request)

    async def awrap(request: Any, execute: Any) -> Any:
        seen.append(request.tool_call["name"])
        return await execute(request)

    graph = agent(add)
    node = graph.nodes["tools"].bound
    assert (node._wrap_tool_call, node._awrap_tool_call) == (None, None)  # the fact itself
    node._wrap_tool_call, node._awrap_tool_call = wrap, awrap  # the fact itself
    invoke(graph)
    assert seen == ["add"]


def test_a_tool_node_runs_a_sync_wrapper_in_async_programs_and_no_async_one_in_sync_programs(add: BaseTool) -> None:
    seen: list[str] = []

    def wrap(request: Any, execute: Any) -> Any:
        seen.append("sync")
        return execute(request)

    async def awrap(request: Any, execute: Any) -> Any:
        seen.append("async")
        return await execute(request)

    for options in ({"wrap_tool_call": wrap}, {"awrap_tool_call": awrap}):
        graph = StateGraph(MessagesState)
        graph.add_node("tools", ToolNode([add], **options))  # type: ignore[arg-type]  # one of the two
        graph.add_edge(START, "tools")
        flow = graph.compile()
        flow.invoke({"messages": [ADD]})
        asyncio.run(flow.ainvoke({"messages": [ADD]}))
    assert seen == ["sync", "sync", "async"]


def test_the_namespace_of_a_part_of_another_graph_has_a_bar_and_its_run_has_one_control(
    invoke: Invoke, add: BaseTool
) -> None:
    """`thread_id` or none: what is asked is the config that a tool call sees."""
    told: list[tuple[bool, int]] = []

    def wrap(request: Any, execute: Any) -> Any:
        configurable = request.runtime.config["configurable"]
        told.append(("|" in configurable["checkpoint_ns"], id(configurable["__pregel_runtime"].control)))
        return execute(request)

    inner = agent(add, steps=[calls(("add", {"a": 1, "b": 2}, "c1"), ("add", {"a": 1, "b": 2}, "c2"))])
    inner.nodes["tools"].bound._wrap_tool_call = wrap  # as above
    invoke(inner)
    invoke(hosted(inner))
    assert [nested for nested, _ in told] == [False, False, True, True]
    assert [len({control for _, control in told[run : run + 2]}) for run in (0, 2)] == [1, 1]


def test_a_task_of_a_functional_graph_is_no_runnable_and_holds_its_function() -> None:
    @task
    def ask(text: str) -> str:
        return text

    @entrypoint()
    def front(text: str) -> str:
        return ask(text).result()

    assert type(ask).__module__ == "langgraph.func"
    assert ask.func.__closure__ is None
    assert isinstance(front, Pregel)
    assert any(cell.cell_contents is ask for cell in front.nodes["front"].bound.func.__closure__)


def test_deepagents_holds_its_sub_agents_in_the_closure_of_its_task_tool_and_passes_no_middleware_to_them(
    add: BaseTool,
) -> None:
    deepagents = pytest.importorskip("deepagents")

    class Seen(deepagents.middleware.SubAgentMiddleware.__mro__[1]):  # type: ignore[misc]  # AgentMiddleware
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            seen.append(request.tool_call["name"])
            return handler(request)

    seen: list[str] = []
    model = ScriptedModel(steps=[calls(("task", {"description": "d", "subagent_type": "general-purpose"}, "t")), "x"])
    deep = deepagents.create_deep_agent(model=model, tools=[add], name="deep", middleware=[Seen()])
    run = deep.nodes["tools"].bound.tools_by_name["task"].func
    held = dict(zip(run.__code__.co_freevars, run.__closure__, strict=True))["subagent_graphs"].cell_contents
    assert list(held) == ["general-purpose"]
    assert isinstance(held["general-purpose"], Pregel)
    assert isinstance(held["general-purpose"].nodes["tools"].bound, ToolNode)
    deep.invoke(MESSAGES, {"recursion_limit": 50})
    assert seen == ["task"]


def test_a_user_of_langgraph_server_is_an_object_with_an_identity_in_the_configurable(invoke: Invoke) -> None:
    found: list[object] = []

    def node(_: MessagesState) -> Any:
        info = get_runtime().server_info
        found.append(info.user if info is not None else None)
        return {}

    user = SimpleNamespace(identity="alice")
    for given in (user, {"identity": "admin"}):
        invoke(hosted(node), configurable={"langgraph_auth_user": given})
    assert found == [user, None]  # LangGraph, too, takes no mapping for a user
