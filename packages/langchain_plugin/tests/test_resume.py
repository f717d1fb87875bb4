"""Interrupt, resume, retry, and the next turn of a thread: the same sessions, found again by their keys."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from deputize import Authority, Session
from deputize.config import load
from deputize.errors import DeputizeError
from deputize.testing import FakeClock
from langchain_deputize import DeputizeCallbackHandler, DeputizeMiddleware, secure_tool, session_config
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Run = Callable[..., Any]
Outline = Callable[..., Any]
Rows = Callable[..., list[str]]

TEAM: dict[str, Any] = {
    "agents": {"desk": [], "boss": [], "solo": ["ask_human"], "other": ["add"]},
    "delegations": {"desk": ["boss", "solo"], "boss": ["solo", "other"]},
}


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """`run(graph, input, config)`: one turn, or a resume."""

    def go(graph: Any, given: Any, config: Any) -> Any:
        given = {"messages": [("user", given)]} if isinstance(given, str) else given
        if request.param == "sync":
            return graph.invoke(given, config)
        return asyncio.run(graph.ainvoke(given, config))

    return go


@tool
def ask_human() -> str:
    """Wait for a human."""
    return f"they say {interrupt('may I?')}"


def member(name: str, *tools: BaseTool, steps: list[Any], **more: Any) -> Any:
    guard = DeputizeMiddleware(handoffs={"ask": "solo", "ask_other": "other"})
    return create_agent(ScriptedModel(steps=steps), list(tools), name=name, middleware=[guard], **more)


def asking(agent: Any, name: str = "ask") -> BaseTool:
    def ask(question: str) -> str:
        """Ask the other agent."""
        return str(agent.invoke({"messages": [("user", question)]})["messages"][-1].content)

    return tool(name)(ask)


def waiting_team(*asked: Any) -> Any:
    solo = member("solo", ask_human, steps=[calls(("ask_human", {}, "c1")), "done"])
    turn = calls(*asked) if asked else calls(("ask", {"question": "?"}, "c0"))
    return member("boss", asking(solo), steps=[turn, "done"], checkpointer=InMemorySaver())


def ids(session: Session) -> list[str]:
    return [node.sid for node in session.tree().walk()]


def opened(authority: Authority) -> list[str]:
    return [str(row["sid"]) for row in authority.audit.find(type="session.opened")]


def test_a_suspended_run_goes_on_in_the_sessions_that_it_had(
    make: Make, run: Run, rows: Rows, outline: Outline
) -> None:
    authority, graph = make(**TEAM), waiting_team()
    session = authority.session(user="alice", agent="desk", key="t1")
    config = session_config(session, thread_id="t1")
    assert "__interrupt__" in run(graph, "go", config)
    assert outline(session) == (
        "desk",
        [],
        [("boss", [("ask", "suspended")], [("solo", [("ask_human", "suspended")], [])])],
    )
    assert [node.state for node in session.tree().walk()] == ["open"] * 3
    before = ids(session)
    result = run(graph, Command(resume="yes"), config)
    assert result["messages"][-1].content == "done"
    assert outline(session) == ("desk", [], [("boss", [("ask", "done")], [("solo", [("ask_human", "done")], [])])])
    assert (ids(session), opened(authority)) == (before, before)
    assert [row for row in rows(authority) if "reissued" not in row] == [
        "desk session.opened",
        "boss session.opened",
        "boss tool.started ask",
        "solo session.opened",
        "solo tool.started ask_human",
        "solo tool.suspended ask_human",
        "solo session.suspended",
        "boss tool.suspended ask",
        "boss session.suspended",
        "boss session.resumed",
        "boss tool.started ask",
        "solo session.resumed",
        "solo tool.started ask_human",
        "solo tool.finished ask_human",
        "boss tool.finished ask",
        "solo session.closed",
    ]


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("agent", ["desk", "boss", "solo"])
def test_what_was_revoked_while_it_waited_does_not_go_on(make: Make, run: Run, agent: str) -> None:
    authority, graph = make(**TEAM), waiting_team()
    session = authority.session(user="alice", agent="desk", key="t1")
    config = session_config(session, thread_id="t1")
    run(graph, "go", config)
    next(held for held in authority.sessions() if held.name == agent).revoke("looks odd")
    before = opened(authority)
    told: list[str] = []
    if agent == "solo":  # boss may go on, and reads why its tool did not
        messages = run(graph, Command(resume="yes"), config)["messages"]
        told = [str(message.content) for message in messages if message.type == "tool"]
    else:
        with pytest.raises(DeputizeError) as refused:
            run(graph, Command(resume="yes"), config)
        assert refused.value.code == "session_revoked"
    assert [text.partition(" (")[0] for text in told] == ["Refused: session_revoked"] * (agent == "solo")
    assert opened(authority) == before
    assert authority.audit.find(type="tool.finished") == []


def test_parallel_calls_of_one_agent_go_on_each_in_its_own_session(make: Make, run: Run, outline: Outline) -> None:
    graph = waiting_team(("ask", {"question": "1"}, "b1"), ("ask", {"question": "2"}, "b2"))
    authority = make(**TEAM)
    session = authority.session(user="alice", agent="boss", key="t1")
    config = session_config(session, thread_id="t1")
    waiting = run(graph, "go", config)["__interrupt__"]
    before = sorted(ids(session))
    run(graph, Command(resume={waiting[0].id: "yes"}), config)
    assert sorted(node.state for node in session.tree().walk()) == ["closed", "open", "open"]
    run(graph, Command(resume={waiting[1].id: "no"}), config)
    done = ("solo", [("ask_human", "done")], [])
    assert outline(session) == ("boss", [("ask", "done"), ("ask", "done")], [done, done])
    assert sorted(ids(session)) == before


def test_an_agent_that_had_finished_inside_what_was_suspended_runs_again_in_its_session(
    make: Make, run: Run, add: BaseTool, outline: Outline
) -> None:
    solo = member("solo", ask_human, steps=[calls(("ask_human", {}, "c1")), "done"])
    other = member("other", add, steps=[calls(("add", {"a": 1, "b": 2}, "c2")), "done"])
    first, second = asking(other, "ask_other"), asking(solo)

    def ask(question: str) -> str:
        """Ask both."""
        return str(first.func(question)) + str(second.func(question))  # type: ignore[attr-defined]  # made by @tool

    guard = DeputizeMiddleware(handoffs={"ask": "solo"})
    turn = calls(("ask", {"question": "?"}, "c0"))
    model = ScriptedModel(steps=[turn, "done"])
    graph = create_agent(model, [tool(ask)], name="boss", middleware=[guard], checkpointer=InMemorySaver())
    authority = make(**TEAM)
    session = authority.session(user="alice", agent="boss", key="t1")
    config = session_config(session, thread_id="t1")
    run(graph, "go", config)
    before = ids(session)
    run(graph, Command(resume="yes"), config)
    assert (ids(session), opened(authority)) == (before, before)
    assert [child[0] for child in outline(session)[2]] == ["other", "solo"]
    assert [node.state for node in session.tree().walk()] == ["open", "closed", "closed"]


@pytest.mark.parametrize("fan_out", [False, True], ids=["gathered in a node", "by Send"])
def test_unnamed_graphs_at_once_go_on_each_in_its_own_session(make: Make, fan_out: bool, outline: Outline) -> None:
    guard = [DeputizeMiddleware()]
    model = ScriptedModel(steps=[calls(("ask_human", {}, "c1")), "done"])
    unnamed = create_agent(model, [ask_human], middleware=guard)

    async def research(state: Any) -> Any:
        del state
        question = {"messages": [("user", "?")]}
        await asyncio.gather(*(unnamed.ainvoke(question) for _ in range(1 if fan_out else 3)))
        return {"messages": []}

    building = StateGraph(MessagesState)
    building.add_node("research", research)
    building.add_conditional_edges(START, lambda state: [Send("research", state) for _ in range(3 if fan_out else 1)])
    graph = building.compile(checkpointer=InMemorySaver())
    authority = make(**TEAM)
    session = authority.session(user="alice", agent="desk", key="t1")
    config: Any = {
        "callbacks": [DeputizeCallbackHandler(session, agents={"@research": "solo"})],
        "configurable": {"thread_id": "t1"},
    }
    given: Any = {"messages": [("user", "go")]}
    for _ in range(6):
        result = asyncio.run(graph.ainvoke(given, config))
        if "__interrupt__" not in result:
            break
        given = Command(resume={one.id: "yes" for one in result["__interrupt__"]})
    assert "__interrupt__" not in result
    assert len(opened(authority)) == 4
    # One that was cancelled because a sibling in its node waits has failed, and is called again.
    assert [(name, called[-1]) for name, called, _ in outline(session)[2]] == [("solo", ("ask_human", "done"))] * 3


@pytest.mark.parametrize("thread", [{}, {"thread_id": "t1"}], ids=["no thread", "a thread"])
@pytest.mark.parametrize("called", [False, True], ids=["in a node", "by a tool"])
def test_attempts_at_one_activation_share_a_session(
    make: Make, outline: Outline, thread: dict[str, str], called: bool
) -> None:
    tries: list[int] = []

    @tool
    def flaky() -> str:
        """Fail twice."""
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return "ok"

    policy = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False, retry_on=ConnectionError)
    solo = member("solo", flaky, steps=[calls(("flaky", {}, "c1")), "done"])

    def ask(state: Any) -> Any:
        del state
        secure_tool(asking(solo), handoff_to="solo").invoke({"question": "?"})
        return {"messages": []}

    building = StateGraph(MessagesState)
    building.add_node("solo", ask if called else solo, retry_policy=policy)
    building.add_edge(START, "solo")
    authority = make(agents={"desk": [], "solo": ["flaky"]}, delegations={"desk": ["solo"]})
    with authority.session(user="alice", agent="desk") as session:
        building.compile().invoke({"messages": [("user", "go")]}, {"configurable": thread})
        tried = [("flaky", "failed"), ("flaky", "failed"), ("flaky", "done")]
        assert outline(session)[2] == [("solo", tried, [])]
        lasts = bool(thread) and not called
        assert [node.state for node in session.tree().walk()] == ["open", "open" if lasts else "closed"]


async def test_a_run_in_a_thread_that_is_cancelled_or_left_early_leaves_no_sub_agent_open(make: Make) -> None:
    started = asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait for good."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    solo = member("solo", wait, steps=[calls(("wait", {}, "c1")), "done"])

    @tool
    async def ask(question: str) -> str:
        """Ask the other agent."""
        return str((await solo.ainvoke({"messages": [("user", question)]}))["messages"][-1].content)

    turn = calls(("ask", {"question": "?"}, "c0"))
    graph = member("boss", ask, steps=[turn, "done"], checkpointer=InMemorySaver())
    authority = make(agents={"boss": [], "solo": ["wait"]}, delegations={"boss": ["solo"]})
    session = authority.session(user="alice", agent="boss", key="t1")
    given: Any = {"messages": [("user", "go")]}
    running = asyncio.create_task(graph.ainvoke(given, session_config(session, thread_id="t1")))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    started.clear()
    stream = graph.astream(given, session_config(session, thread_id="t2"))
    reading = asyncio.create_task(anext(stream))
    await reading
    reading = asyncio.create_task(anext(stream))
    await started.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await stream.aclose()
    assert [node.state for node in session.tree().walk()] == ["open", "closed", "closed"]
    assert [call.outcome for node in session.tree().children for call in node.calls] == ["failed", "failed"]


async def test_many_threads_of_one_graph_wait_and_go_on_without_mixing(make: Make, outline: Outline) -> None:
    authority, graph = make(**TEAM), waiting_team()
    sessions = {f"user{n}": authority.session(user=f"user{n}", agent="desk", key="t") for n in range(12)}

    async def turn(given: Any) -> None:
        configs = [session_config(session, thread_id=user) for user, session in sessions.items()]
        await asyncio.gather(*(graph.ainvoke(given, config) for config in configs))

    await turn({"messages": [("user", "go")]})
    before = {user: ids(session) for user, session in sessions.items()}
    await turn(Command(resume="yes"))
    assert {user: ids(session) for user, session in sessions.items()} == before
    done = ("desk", [], [("boss", [("ask", "done")], [("solo", [("ask_human", "done")], [])])])
    assert all(outline(session) == done for session in sessions.values())


def test_two_calls_of_a_tool_in_one_node_are_two_sessions_also_where_the_first_failed(
    make: Make, outline: Outline
) -> None:
    broken = [False, True]

    @tool
    def flaky() -> str:
        """Fail once."""
        if broken.pop():
            raise ConnectionError
        return "ok"

    solo = member("solo", flaky, steps=[calls(("flaky", {}, "c1")), "done"])
    ask = secure_tool(asking(solo), handoff_to="solo")

    def node(state: Any) -> Any:
        del state
        with pytest.raises(ConnectionError):
            ask.invoke({"question": "1"})
        ask.invoke({"question": "2"})
        return {"messages": []}

    building = StateGraph(MessagesState)
    building.add_node("node", node)
    building.add_edge(START, "node")
    for config in ({}, {"configurable": {"thread_id": "t1"}}):
        broken[:] = [False, True]
        authority = make(agents={"desk": [], "solo": ["flaky"]}, delegations={"desk": ["solo"]})
        with authority.session(user="alice", agent="desk") as session:
            building.compile().invoke({"messages": [("user", "go")]}, config)
            children = [("solo", [("flaky", "failed")], []), ("solo", [("flaky", "done")], [])]
            assert outline(session)[2] == children
            assert [node.state for node in session.tree().walk()] == ["open", "closed", "closed"]


def test_a_run_that_failed_leaves_no_session_open_and_goes_on_in_a_new_one(make: Make, run: Run) -> None:
    broken = [True]

    @tool
    def flaky() -> str:
        """Fail once."""
        if broken.pop():
            raise ConnectionError
        return "ok"

    solo = member("solo", flaky, steps=[calls(("flaky", {}, "c1")), "done"])
    graph = member(
        "boss", asking(solo), steps=[calls(("ask", {"question": "?"}, "c0")), "done"], checkpointer=InMemorySaver()
    )
    authority = make(agents={"boss": [], "solo": ["flaky"]}, delegations={"boss": ["solo"]})
    session = authority.session(user="alice", agent="boss", key="t1")
    config = session_config(session, thread_id="t1")
    with pytest.raises(ConnectionError):
        run(graph, "go", config)
    assert [node.state for node in session.tree().walk()] == ["open", "closed"]
    broken.append(False)
    assert run(graph, None, config)["messages"][-1].content == "done"
    assert [node.state for node in session.tree().walk()] == ["open", "closed", "closed"]
    assert len(opened(authority)) == 3


def alice(config: dict[str, Any]) -> str:
    """Whom the server verified."""
    del config
    return "alice"


def served(authority: Authority, add: BaseTool) -> Any:
    guard = DeputizeMiddleware(authority=authority, agent="boss", subject=alice)
    model = ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, "c1")), "done"])
    return create_agent(model, [add], name="boss", middleware=[guard])


def test_the_root_of_a_thread_that_expired_is_continued_by_a_linked_one(tmp_path: Any, run: Run, add: BaseTool) -> None:
    (tmp_path / "deputize.toml").write_text(
        '[authority]\nissuer = "http://127.0.0.1:1"\n[store]\nurl = "sqlite::memory:"\n'
        '[agents.boss]\nopen = true\nuse = { local = ["add"] }\n',
        encoding="utf-8",
    )
    clock = FakeClock()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with Authority.from_configuration(load(str(tmp_path / "deputize.toml")), clock=clock) as authority:
        for _ in range(3):
            for _ in range(2):
                answer = run(served(authority, add), "go", config)["messages"][-2]
                assert (answer.status, answer.content) == ("success", "3")
            clock.advance(4000)
        rows = authority.audit.find(type="session.opened")
        assert [row["detail"].get("continues") for row in rows] == [None, rows[0]["sid"], rows[1]["sid"]]
        run(served(authority, add), "go", config)
        newest = authority.audit.find(type="session.opened")[-1]
        authority.revoke(session=newest["sid"], reason="looks odd")
        answer = run(served(authority, add), "go", config)["messages"][-2]
        assert answer.content.startswith("Refused: session_revoked")
        clock.advance(4000)
        answer = run(served(authority, add), "go", config)["messages"][-2]
        assert answer.content.startswith("Refused: session_revoked")
        assert len(authority.audit.find(type="session.opened")) == 4
