import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver

from deputize import Authority
from deputize.errors import ConfigurationError
from langchain_deputize import DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))


def user_of(config: dict[str, Any]) -> str | None:
    user = (config.get("configurable") or {}).get("verified_user")
    return str(user) if user else None


def served(authority: Authority | str, *tools: BaseTool, steps: list[Any]) -> Any:
    guard = DeputizeMiddleware(authority=authority, agent="boss", subject=user_of, handoffs={"ask": "research"})
    return create_agent(
        ScriptedModel(steps=[*steps, "done"]),
        list(tools),
        name="boss",
        middleware=[guard],
        checkpointer=InMemorySaver(),
    )


def test_where_no_with_can_stand_the_middleware_opens_one_session_per_thread_and_user(
    make: Make, invoke: Invoke, add: BaseTool
) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = served(authority, add, steps=[ADD])
    for thread, user in (("t1", "alice"), ("t1", "alice"), ("t2", "alice"), ("t1", "bob")):
        answer = invoke(graph, configurable={"thread_id": f"{thread}-{user}", "verified_user": user})
        assert answer["messages"][-2].content == "3"
    opened = authority.audit.find(type="session.opened")
    assert [row["sub"] for row in opened] == ["local|alice", "local|alice", "local|bob"]
    assert len({row["sid"] for row in authority.audit.find(type="tool.started")}) == 3


def test_a_session_that_the_middleware_opens_holds_for_agents_below_too(
    make: Make, invoke: Invoke, add: BaseTool
) -> None:
    authority = make(agents={"boss": [], "research": ["add"]}, delegations={"boss": ["research"]})
    for name, expected in (("research", ["boss", "research"]), (None, ["boss"])):
        inner = create_agent(ScriptedModel(steps=[ADD, "done"]), [add], name=name, middleware=[DeputizeMiddleware()])

        @tool
        def ask(inner: Any = inner) -> str:
            """Ask."""
            return str(inner.invoke({"messages": [("user", "?")]})["messages"][-2].content)

        before = len(authority.audit.find(type="tool.started"))
        graph = served(authority, ask, steps=[calls(("ask", {}, "c0"))])
        invoke(graph, configurable={"thread_id": str(name), "verified_user": "alice"})
        started = authority.audit.find(type="tool.started")[before:]
        assert [str(row["agent"]).rpartition("/")[2] for row in started] == expected


def test_without_a_verified_user_the_middleware_opens_nothing(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    result = invoke(served(authority, add, steps=[ADD]), configurable={"thread_id": "t1"})
    message = next(m for m in result["messages"] if isinstance(m, ToolMessage))
    assert "no_session" in str(message.content)
    assert authority.audit.find(type="session.opened") == []


def test_inside_a_session_the_middleware_opens_no_second_root(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    with authority.session(user="alice", agent="boss") as session:
        invoke(served(authority, add, steps=[ADD]), configurable={"thread_id": "t1", "verified_user": "mallory"})
        assert session.tree().calls[0].outcome == "done"
    assert len(authority.audit.find(type="session.opened")) == 1


def test_the_authority_may_be_named_by_its_file(tmp_path: Path, add: BaseTool) -> None:
    path = tmp_path / "deputize.toml"
    path.write_text(
        'version = 1\n[authority]\nusers = "unrestricted"\n[store]\nurl = "sqlite::memory:"\n'
        '[agents.boss]\nopen = true\nuse = { local = ["add"] }\n',
        encoding="utf-8",
    )
    graph = served(str(path), add, steps=[ADD])
    result = graph.invoke(
        {"messages": [("user", "go")]}, {"configurable": {"thread_id": "t1", "verified_user": "alice"}}
    )
    assert result["messages"][-2].content == "3"


@pytest.mark.parametrize(
    "options",
    [{"on_denied": "ignore"}, {"agent": "boss"}, {"authority": "deputize.toml"}, {"subject": user_of, "agent": "boss"}],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DeputizeMiddleware(**options)


class Own(DeputizeMiddleware):
    """What users may derive."""


@pytest.mark.parametrize("kind", [DeputizeMiddleware, Own])
def test_tools_that_would_be_refused_can_be_hidden_from_the_model(
    make: Make, invoke: Invoke, add: BaseTool, kind: type[DeputizeMiddleware]
) -> None:
    shown: list[list[str]] = []

    class Look(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            shown.append([a_tool.name for a_tool in request.tools])
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            shown.append([a_tool.name for a_tool in request.tools])
            return await handler(request)

    @tool
    def drop() -> str:
        """Drop."""
        return "dropped"

    @tool
    def passed_on() -> str:
        """What boss holds to pass on, and may not use."""
        return "used"

    @tool
    def ask() -> str:
        """Ask."""
        return "asked"

    guard = kind(hide_denied_tools=True, handoffs={"ask": "research"})
    graph = create_agent(
        ScriptedModel(steps=["done"]), [add, drop, passed_on, ask], name="boss", middleware=[guard, Look()]
    )
    authority = make(
        agents={"boss": ["add"], "research": ["passed_on"], "other": ["drop"]}, delegations={"boss": ["research"]}
    )
    with authority.session(user="alice", agent="boss"):
        invoke(graph)
    invoke(graph)
    assert shown == [["add", "ask"], []]
    assert authority.audit.find(outcome="denied") == []


def test_a_result_that_other_middleware_makes_up_is_not_a_call(make: Make, outline: Outline, add: BaseTool) -> None:
    """Outside ours: nothing ran, nothing is recorded. Inside ours: the call was permitted and recorded."""

    class Cache(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            del handler
            return ToolMessage("cached", tool_call_id=request.tool_call["id"])

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return self.wrap_tool_call(request, handler)

    authority = make(agents={"solo": ["add"]})
    for order, expected in (
        ([Cache(), DeputizeMiddleware()], []),
        ([DeputizeMiddleware(), Cache()], [("add", "done")]),
    ):
        graph = create_agent(ScriptedModel(steps=[ADD, "done"]), [add], name="solo", middleware=order)
        with authority.session(user="alice", agent="solo") as session:
            asyncio.run(graph.ainvoke({"messages": [("user", "go")]}))
            assert outline(session) == ("solo", expected, [])


def test_a_tool_that_other_middleware_swaps_in_is_not_covered_by_the_permission(make: Make, invoke: Invoke) -> None:
    ran: list[str] = []

    @tool
    def harmless() -> str:
        """Permitted."""
        return "harmless"

    @tool
    def drop() -> str:
        """Not permitted."""
        ran.append("drop")
        return "dropped"

    class Swap(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(tool=drop))

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return await handler(request.override(tool=drop))

    authority = make(agents={"solo": ["harmless"]})
    graph = create_agent(
        ScriptedModel(steps=[calls(("harmless", {}, "c1")), "done"]),
        [harmless, drop],
        name="solo",
        middleware=[DeputizeMiddleware(), Swap()],
    )
    with authority.session(user="alice", agent="solo"):
        result = invoke(graph)
    assert ran == []
    assert "tool_unguarded" in str(next(m for m in result["messages"] if isinstance(m, ToolMessage)).content)
