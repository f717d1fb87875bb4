"""What `secure` finds in a graph and guards, and what it says of the rest."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel.remote import RemoteGraph

from deputize import Authority
from deputize.errors import ConfigurationError, Denied
from langchain_deputize import DeputizeMiddleware, coverage, secure, secure_tool
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))
PAIR = {"agents": {"boss": ["add"], "research": ["add"]}, "delegations": {"boss": ["research"]}}


def agent(*tools: BaseTool, name: str | None = "boss", steps: Any = (ADD,), **options: Any) -> Any:
    return create_agent(ScriptedModel(steps=[*steps, "done"]), list(tools), name=name, **options)


def secured(authority: Authority, graph: Any, **options: Any) -> Any:
    return secure(graph, authority=authority, agent="boss", subject=lambda _: "alice", **options)


def run(authority: Authority, invoke: Invoke, outline: Outline, graph: Any, thread: str = "t1") -> Any:
    invoke(graph, configurable={"thread_id": thread})
    return outline(authority.session(agent="boss", user="alice", key=f"langgraph:{thread}"))


def of_node(function: Callable[..., Any], name: str = "node") -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node(name, function)
    graph.add_edge(START, name)
    return graph.compile()


def unreached(graph: Any) -> list[str]:
    return [item.where for item in coverage(graph).unreached]


def test_an_agent_in_the_body_of_a_tool_is_found_and_guarded(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    research = agent(add, name="research")

    @tool
    def ask(question: str) -> str:
        """Ask."""
        return str([r.invoke({"messages": [("user", question)]})["messages"][-1].content for r in (research,)])

    boss = agent(ask, steps=[calls(("ask", {"question": "?"}, "c0"))])
    authority = make(**PAIR)
    graph = secured(authority, boss, handoffs={"ask": "research"})
    assert coverage(graph).guarded == ("tools", "tools/ask/research/tools")
    assert unreached(graph) == []
    assert run(authority, invoke, outline, graph) == ("boss", [("ask", "done")], [("research", [("add", "done")], [])])


@pytest.mark.filterwarnings("ignore:This API is in beta")
def test_an_agent_that_was_made_a_tool_is_found_and_guarded(make: Make, add: BaseTool) -> None:
    research = agent(add, name="research")
    boss = agent(research.as_tool(name="ask", description="Ask."), add)
    assert coverage(secured(make(**PAIR), boss)).guarded == ("tools", "tools/ask/research/tools")


def test_all_agents_that_a_node_runs_are_found(make: Make, invoke: Invoke, outline: Outline, add: BaseTool) -> None:
    """LangGraph's own list holds the first one only."""
    both = [agent(add, name="research"), agent(add, name="boss")]

    def node(state: MessagesState) -> Any:
        for one in both:
            one.invoke({"messages": state["messages"][:1]})
        return {}

    authority = make(**PAIR)
    graph = secured(authority, of_node(node))
    assert coverage(graph).guarded == ("node/research/tools", "node/boss/tools")
    assert run(authority, invoke, outline, graph)[2] == [("research", [("add", "done")], [])]
    assert len(authority.audit.find(type="tool.started")) == 2


def test_sub_agents_of_a_deep_agent_are_guarded_also_the_one_that_it_adds_itself(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    deepagents = pytest.importorskip("deepagents")

    class Model(ScriptedModel):
        """The same for all: hands each task on, and does what it was asked as a sub-agent."""

        def _turn(self, messages: Any) -> Any:
            asked = next(str(message.content) for message in messages if message.type == "human")
            work = calls(("add", {"a": 1, "b": 2}, f"add-{asked}"), ("ls", {"path": "/"}, f"ls-{asked}"))
            tasks = [("task", {"description": to, "subagent_type": to}, to) for to in subs]
            first = calls(*tasks) if asked == "go" else work
            return ScriptedModel(steps=["done" if messages[-1].type == "tool" else first])._turn([])

    subs = ["general-purpose", "declared", "compiled"]
    model = Model(steps=[])
    compiled = create_agent(model, [add], name="whatever")
    deep = deepagents.create_deep_agent(
        model=model,
        tools=[add],
        name="boss",
        subagents=[
            {"name": "declared", "description": "d", "system_prompt": "p", "tools": [add], "model": model},
            {"name": "compiled", "description": "c", "runnable": compiled},
        ],
    )
    authority = make(agents={"boss": ["add"], **{name: ["add"] for name in subs}}, delegations={"boss": subs})
    graph = secured(authority, deep)
    assert coverage(graph).guarded == ("tools", *(f"tools/task/{name}/tools" for name in subs))
    assert unreached(graph) == []
    name, called, children = run(authority, invoke, outline, graph)
    assert (name, called) == ("boss", [("task", "done")] * 3)
    work = [("add", "done"), ("ls", "denied")]
    assert sorted((child, sorted(made), below) for child, made, below in children) == [
        (child, work, []) for child in sorted(subs)
    ]


def test_the_guard_stands_inside_of_whatever_wraps_the_calls_of_a_tool_node(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    """So what other middleware answers itself is no call, and what it swaps in has to be permitted itself."""
    ran: list[str] = []

    @tool
    def drop() -> str:
        """Not permitted."""
        ran.append("drop")
        return "dropped"

    class Around(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            kind = request.tool_call["id"]
            if kind == "cached":
                return ToolMessage("cached", tool_call_id=kind)
            if kind == "swapped":
                call = {**request.tool_call, "name": "drop", "args": {}}
                return handler(request.override(tool=drop, tool_call=call))
            return handler(request)

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            answered = self.wrap_tool_call(request, handler)
            return answered if isinstance(answered, ToolMessage) else await answered

    turn = calls(*(("add", {"a": 1, "b": 2}, kind) for kind in ("cached", "swapped", "plain")))
    authority = make(agents={"boss": ["add"]})
    graph = secured(authority, agent(add, drop, steps=[turn], middleware=[Around()]))
    name, called, children = run(authority, invoke, outline, graph)
    assert (name, sorted(called), children) == ("boss", [("add", "done"), ("drop", "denied")], [])
    assert ran == []


def test_with_middleware_of_ours_on_it_already_one_of_the_two_asks(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = secured(authority, agent(add, middleware=[DeputizeMiddleware()]))
    assert run(authority, invoke, outline, graph) == ("boss", [("add", "done")], [])


@pytest.mark.parametrize("hook", ["wrap_tool_call", "awrap_tool_call"])
def test_a_tool_node_with_one_wrapper_is_guarded_in_sync_and_in_async_runs(
    make: Make, add: BaseTool, hook: str
) -> None:
    """LangGraph runs a sync wrapper in async programs too, and runs sync programs without the async one."""
    seen: list[str] = []

    def wrap(request: Any, execute: Any) -> Any:
        seen.append("sync")
        return execute(request)

    async def awrap(request: Any, execute: Any) -> Any:
        seen.append("async")
        return await execute(request)

    options: Any = {hook: wrap if hook == "wrap_tool_call" else awrap}

    def plan(_: MessagesState) -> Any:
        return {"messages": [calls(("add", {"a": 1, "b": 2}, "c1"), ("drop", {}, "c2"))]}

    @tool
    def drop() -> str:
        """Not permitted."""
        raise AssertionError

    graph = StateGraph(MessagesState)
    graph.add_node("plan", plan)
    graph.add_node("tools", ToolNode([add, drop], **options))
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "tools")
    flow = secured(make(agents={"boss": ["add"]}), graph.compile())
    for result in (flow.invoke({"messages": []}), asyncio.run(flow.ainvoke({"messages": []}))):
        assert [message.status for message in result["messages"][-2:]] == ["success", "error"]
    assert seen == (["sync"] * 4 if hook == "wrap_tool_call" else ["async"] * 2)


def test_a_graph_that_two_secured_ones_share_is_guarded_once(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"boss": ["add"]})
    shared = agent(add)
    secured(authority, shared)
    graph = secured(authority, shared)
    assert shared.nodes["tools"].bound._wrap_tool_call.around is None  # a factory secures with each run
    assert run(authority, invoke, outline, graph) == ("boss", [("add", "done")], [])


def test_a_graph_that_refers_to_itself_is_walked_once(make: Make, add: BaseTool) -> None:
    held: list[Any] = []

    @tool
    def again() -> str:
        """Ask itself."""
        return str(held[0].invoke({"messages": []}))

    held.append(agent(add, again))
    assert coverage(secured(make(agents={"boss": ["add", "again"]}), held[0])).guarded == ("tools",)


def test_a_tool_that_a_node_calls_itself_is_reported_and_refused(make: Make, invoke: Invoke, add: BaseTool) -> None:
    guarded = secure_tool(add)

    def node(_: MessagesState) -> Any:
        return {"messages": [("ai", str(add.invoke({"a": 1, "b": 2})))]}

    def careful(_: MessagesState) -> Any:
        return {"messages": [("ai", str(guarded.invoke({"a": 1, "b": 2})))]}

    authority = make(agents={"boss": ["add"]})
    graph = secured(authority, of_node(node))
    assert unreached(graph) == ["node"]
    with pytest.raises(Denied) as refusal:
        invoke(graph)
    assert refusal.value.code == "tool_unguarded"
    fine = secured(authority, of_node(careful))
    assert unreached(fine) == []
    assert invoke(fine)["messages"][-1].content == "3"


def test_a_model_node_that_shares_its_tools_with_a_tool_node_is_not_reported(make: Make, add: BaseTool) -> None:
    tools = [add]
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda _: {"messages": [ScriptedModel(steps=[ADD]).bind_tools(tools).invoke("go")]})
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_edge("model", "tools")
    found = coverage(secured(make(agents={"boss": ["add"]}), graph.compile()))
    assert (found.guarded, found.unreached) == (("tools",), ())


def test_an_agent_without_a_name_is_reported_unless_it_is_registered(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    unnamed = agent(add, name=None)

    def node(state: MessagesState) -> Any:
        return {"messages": unnamed.invoke({"messages": state["messages"]})["messages"]}

    authority = make(**PAIR)
    graph = secured(authority, of_node(node))
    assert unreached(graph) == ["node"]
    assert run(authority, invoke, outline, graph) == ("boss", [], [])
    named = secured(authority, of_node(node), agents={"@node": "research"})
    assert unreached(named) == []
    assert run(authority, invoke, outline, named, "t2") == ("boss", [], [("research", [("add", "done")], [])])


def test_a_graph_that_runs_elsewhere_is_reported(make: Make) -> None:
    class Client:
        runs = None

    remote = RemoteGraph("peer", client=Client(), sync_client=Client())  # type: ignore[arg-type]  # never asked
    graph = StateGraph(MessagesState)
    graph.add_node("peer", remote)
    graph.add_edge(START, "peer")
    found = coverage(secured(make(agents={"boss": ["add"]}), graph.compile()))
    assert [item.where for item in found.unreached] == ["peer"]
    assert str(found) == f"unreached  peer: {found.unreached[0].why}"


def test_what_was_found_is_printed_line_by_line(make: Make, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    assert str(coverage(secured(authority, agent(add)))) == "guarded    tools"
    assert str(coverage(secured(authority, of_node(RunnableLambda(lambda state: state))))) == "no tools found"
    with pytest.raises(ConfigurationError):
        coverage(agent(add))
