import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool

from deputize import Authority
from deputize.errors import Denied, NoSession, UnknownAgent
from langchain_deputize import DeputizeCallbackHandler, DeputizeMiddleware, current_session
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
Rows = Callable[[Authority], list[str]]

GUARD = DeputizeMiddleware(handoffs={"ask": "research"})


def agent(name: str | None, *steps: Any, tools: list[BaseTool], guard: DeputizeMiddleware | None = GUARD) -> Any:
    return create_agent(
        ScriptedModel(steps=[*steps, "done"]), tools, name=name, middleware=[guard] if guard is not None else []
    )


def asks(graph: Any) -> BaseTool:
    """The docs' pattern: an agent in the body of a plain tool."""

    @tool
    def ask(question: str) -> str:
        """Ask the other agent."""
        return str(graph.invoke({"messages": [("user", question)]})["messages"][-1].content)

    return ask


def asks_async(graph: Any) -> BaseTool:
    @tool
    async def ask(question: str) -> str:
        """Ask the other agent."""
        answer = await graph.ainvoke({"messages": [("user", question)]})
        return str(answer["messages"][-1].content)

    return ask


def answers(result: Any) -> list[ToolMessage]:
    return [message for message in result["messages"] if isinstance(message, ToolMessage)]


def test_one_agent_with_one_tool_is_one_session_with_one_call(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows, add: BaseTool
) -> None:
    authority = make(agents={"solo": ["add"]})
    solo = agent("solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    with authority.session(user="alice", agent="solo", task="sum") as session:
        result = invoke(solo)
        assert outline(session) == ("solo", [("add", "done")], [])
    assert answers(result)[0].content == "3"
    assert session.tree().to_dict() == {
        "agent": "solo",
        "sid": session.id,
        "subject": "local|alice",
        "scopes": ["tool:add"],
        "state": "closed",
        "calls": [{"tool": "add", "outcome": "done", "policy": "agent.solo.use"}],
        "children": [],
    }
    assert rows(authority) == [
        "solo session.opened",
        "solo tool.started add",
        "solo tool.finished add",
        "solo session.closed",
    ]


def test_two_parallel_calls_of_one_agent_are_two_calls_of_one_session(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"solo": ["add"]})
    solo = agent("solo", calls(("add", {"a": 1, "b": 2}, "c1"), ("add", {"a": 3, "b": 4}, "c2")), tools=[add])
    with authority.session(user="alice", agent="solo") as session:
        assert [message.content for message in answers(invoke(solo))] == ["3", "7"]
        assert outline(session) == ("solo", [("add", "done"), ("add", "done")], [])
    started = authority.audit.find(type="tool.started")
    assert {row["call_id"] for row in started} == {"c1", "c2"}
    assert {row["sid"] for row in started} == {session.id}


@pytest.mark.requirement("I1")
def test_an_agent_as_a_tool_gets_a_session_below_the_one_that_asks(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows, add: BaseTool
) -> None:
    authority = make(agents={"boss": ["add", "drop"], "research": ["add"]}, delegations={"boss": ["research"]})
    inner = agent("research", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    boss = agent(
        "boss",
        calls(("ask", {"question": "?"}, "c0")),
        calls(("add", {"a": 1, "b": 1}, "c2")),
        tools=[asks(inner), add],
    )
    with authority.session(user="alice", agent="boss") as session:
        result = invoke(boss)
        assert outline(session) == (
            "boss",
            [("ask", "done"), ("add", "done")],
            [("research", [("add", "done")], [])],
        )
        child = session.tree().to_dict()["children"][0]  # type: ignore[index]  # to_dict is plain data
        assert (child["scopes"], child["state"]) == (["tool:add"], "closed")
    assert [message.content for message in answers(result)] == ["done", "2"]
    assert rows(authority) == [
        "boss session.opened",
        "boss tool.started ask",
        "research session.opened",
        "research tool.started add",
        "research tool.finished add",
        "research session.closed",
        "boss tool.finished ask",
        "boss tool.started add",
        "boss tool.finished add",
        "boss session.closed",
    ]
    opened = authority.audit.find(type="session.opened")[1]
    assert opened["chain"] == ["spiffe://local/agent/research", "spiffe://local/agent/boss"]


async def test_the_same_in_async_all_the_way_down(make: Make, outline: Outline, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"], "research": ["add"]}, delegations={"boss": ["research"]})
    inner = agent("research", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    boss = agent(
        "boss",
        calls(("ask", {"question": "?"}, "c0")),
        calls(("add", {"a": 1, "b": 1}, "c2")),
        tools=[asks_async(inner), add],
    )
    async with authority.session(user="alice", agent="boss") as session:
        await boss.ainvoke({"messages": [("user", "go")]})
        assert outline(session) == ("boss", [("ask", "done"), ("add", "done")], [("research", [("add", "done")], [])])


def test_one_agent_asked_three_times_in_parallel_has_three_sessions(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"boss": [], "research": ["add"]}, delegations={"boss": ["research"]})
    inner = agent("research", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    boss = agent("boss", calls(*(("ask", {"question": "?"}, f"q{n}") for n in range(3))), tools=[asks(inner)])
    with authority.session(user="alice", agent="boss") as session:
        invoke(boss)
        name, asked, children = outline(session)
    assert (name, asked) == ("boss", [("ask", "done")] * 3)
    assert children == [("research", [("add", "done")], [])] * 3


def test_an_unnamed_agent_is_refused_and_never_taken_for_the_one_that_started_it(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows, add: BaseTool
) -> None:
    ran: list[str] = []

    @tool
    def probe() -> str:
        """Tell that it ran."""
        ran.append(current_session().name)
        return "ran"

    authority = make(agents={"boss": ["add", "probe", "ask"]})
    inner = agent(None, calls(("probe", {}, "c1")), tools=[probe], guard=DeputizeMiddleware(on_denied="raise"))
    boss = agent(
        "boss",
        calls(("ask", {"question": "?"}, "c0")),
        tools=[asks(inner)],
        guard=DeputizeMiddleware(on_denied="raise"),
    )
    with authority.session(user="alice", agent="boss") as session:
        with pytest.raises(UnknownAgent) as refusal:
            invoke(boss)
        assert outline(session) == ("boss", [("ask", "failed")], [])
    assert refusal.value.code == "unknown_agent"
    assert ran == []
    assert "boss agent.unnamed probe" in rows(authority)


def test_an_unnamed_agent_below_an_unnamed_agent_is_refused_too(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"boss": ["ask", "add"], "research": ["add"]}, delegations={"boss": ["research"]})
    named = agent("research", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    middle = agent(None, calls(("ask", {"question": "?"}, "c1")), tools=[asks(named)], guard=None)
    boss = agent("boss", calls(("ask", {"question": "?"}, "c0")), tools=[asks(middle)], guard=DeputizeMiddleware())
    with authority.session(user="alice", agent="boss") as session:
        message = answers(invoke(boss))[0]
        assert session.tree().to_dict()["children"] == []
    assert message.status == "error"


def test_the_graph_that_the_host_starts_may_be_unnamed(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"solo": ["add"]})
    solo = agent(None, calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    with authority.session(user="alice", agent="solo") as session:
        invoke(solo)
        assert outline(session) == ("solo", [("add", "done")], [])


def test_recursion_opens_one_session_each_and_stops_at_the_depth_limit(
    make: Make, invoke: Invoke, outline: Outline
) -> None:
    authority = make(agents={"rec": ["noop"]}, delegations={"rec": ["rec"]})
    model = ScriptedModel(steps=[calls(("ask", {"question": "?"}, "c0")), "done"])

    @tool
    def ask(question: str) -> str:
        """Ask oneself."""
        return str(graph.invoke({"messages": [("user", question)]})["messages"][-1].content)

    graph = create_agent(model, [ask], name="rec", middleware=[DeputizeMiddleware(handoffs={"ask": "rec"})])
    with authority.session(user="alice", agent="rec") as session:
        invoke(graph)
        tree = outline(session)
    depth = 0
    while tree[2]:
        tree, depth = tree[2][0], depth + 1
    assert depth == 4
    assert [row["code"] for row in authority.audit.find(type="handoff.denied")] == ["depth_exceeded"]


@pytest.mark.requirement("I16")
def test_a_refused_tool_of_a_sub_agent_is_a_message_and_its_body_does_not_run(
    make: Make, invoke: Invoke, outline: Outline
) -> None:
    ran: list[str] = []

    @tool
    def drop(table: str) -> str:
        """Drop a table."""
        ran.append(table)
        return "dropped"

    authority = make(agents={"boss": ["drop"], "research": ["look"]}, delegations={"boss": ["research"]})
    seen: list[ToolMessage] = []
    inner = agent("research", calls(("drop", {"table": "t"}, "c1")), tools=[drop])

    @tool
    def ask(question: str) -> str:
        """Ask the other agent."""
        result = inner.invoke({"messages": [("user", question)]})
        seen.extend(answers(result))
        return str(result["messages"][-1].content)

    boss = agent("boss", calls(("ask", {"question": "?"}, "c0")), tools=[ask])
    with authority.session(user="alice", agent="boss") as session:
        result = invoke(boss)
        assert outline(session) == ("boss", [("ask", "done")], [("research", [("drop", "denied")], [])])
    assert result["messages"][-1].content == "done"
    assert ran == []
    row = authority.audit.find(type="tool.denied")[0]
    assert row["chain"] == ["spiffe://local/agent/research", "spiffe://local/agent/boss"]
    assert (seen[0].status, seen[0].tool_call_id) == ("error", "c1")
    assert seen[0].content == (
        f"Refused: {row['code']} (policy: {row['policies'][0]}, ref {row['reference']}). "  # type: ignore[index]  # a list
        "This tool is not available to you in this task; do not retry it."
    )


def test_a_refusal_can_be_raised_instead(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"solo": ["look"]})
    solo = agent(
        "solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add], guard=DeputizeMiddleware(on_denied="raise")
    )
    with authority.session(user="alice", agent="solo"), pytest.raises(Denied) as refusal:
        invoke(solo)
    assert refusal.value.code == "access_denied"


def test_a_tool_without_a_guard_is_refused_by_the_backstop(
    make: Make, invoke: Invoke, outline: Outline, rows: Rows
) -> None:
    ran: list[str] = []

    @tool
    def probe() -> str:
        """Tell that it ran."""
        ran.append("ran")
        return "ran"

    authority = make(agents={"boss": ["probe"], "research": ["probe"]}, delegations={"boss": ["research"]})
    inner = agent("research", calls(("probe", {}, "c1")), tools=[probe], guard=None)
    boss = agent("boss", calls(("ask", {"question": "?"}, "c0")), tools=[asks(inner)])
    with authority.session(user="alice", agent="boss") as session:
        result = invoke(boss)
        assert outline(session) == ("boss", [("ask", "failed")], [("research", [], [])])
    assert ran == []
    assert "research tool.unguarded probe" in rows(authority)
    assert "tool_unguarded" in str(answers(result)[0].content)


def test_an_unguarded_tool_of_the_only_agent_stops_the_run(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"solo": ["add"]})
    solo = agent("solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add], guard=None)
    with authority.session(user="alice", agent="solo"), pytest.raises(Denied) as refusal:
        invoke(solo)
    assert refusal.value.code == "tool_unguarded"


def test_unguarded_tools_can_be_recorded_only(make: Make, invoke: Invoke, rows: Rows, add: BaseTool) -> None:
    authority = make(agents={"solo": ["add"]})
    solo = agent("solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add], guard=None)
    with authority.session(user="alice", agent="solo"):
        result = invoke(solo, callbacks=[DeputizeCallbackHandler(unguarded="record")])
    assert answers(result)[0].content == "3"
    assert "solo tool.unguarded add" in rows(authority)


def test_middleware_without_a_session_denies(invoke: Invoke, add: BaseTool) -> None:
    solo = agent("solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    message = answers(invoke(solo))[0]
    assert (message.status, str(message.content).split()[1]) == ("error", "no_session")
    loud = agent(
        "solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add], guard=DeputizeMiddleware(on_denied="raise")
    )
    with pytest.raises(NoSession):
        invoke(loud)


def test_an_unregistered_agent_is_refused_with_the_line_to_add(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"], "researcher": ["add"]}, delegations={"boss": ["researcher"]})
    inner = agent("resercher", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    boss = agent(
        "boss",
        calls(("ask", {"question": "?"}, "c0")),
        tools=[asks(inner)],
        guard=DeputizeMiddleware(handoffs={"ask": "researcher"}, on_denied="raise"),
    )
    with authority.session(user="alice", agent="boss"), pytest.raises(UnknownAgent) as refusal:
        invoke(boss)
    assert "[agents.resercher]" in refusal.value.denial.enough
    assert '"researcher"' in refusal.value.denial.asked


def test_a_session_that_ended_runs_no_tool(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"solo": ["add"]})
    solo = agent("solo", calls(("add", {"a": 1, "b": 2}, "c1")), tools=[add])
    with authority.session(user="alice", agent="solo") as session:
        session.revoke("test")
        message = answers(invoke(solo))[0]
    assert str(message.content).split()[1] == "session_revoked"


def test_a_run_that_is_cancelled_closes_what_it_opened(make: Make, add: BaseTool) -> None:
    started = asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    authority = make(agents={"boss": [], "research": ["wait"]}, delegations={"boss": ["research"]})
    inner = agent("research", calls(("wait", {}, "c1")), tools=[wait])
    boss = agent("boss", calls(("ask", {"question": "?"}, "c0")), tools=[asks_async(inner)])

    async def main() -> None:
        async with authority.session(user="alice", agent="boss") as session:
            task = asyncio.create_task(boss.ainvoke({"messages": [("user", "go")]}))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            child = session.tree().children[0]
            assert (session.state, child.state, child.calls[0].outcome) == ("open", "closed", "failed")

    asyncio.run(main())
