"""`secure(graph)`: whose session the runs of a graph are, where no `with` can stand."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from deputize import Authority, Session
from deputize.errors import ConfigurationError, NoSession, SessionEnded
from langchain_deputize import langgraph_user, secure, session_config
from langchain_deputize.runs import RUNS
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))
MESSAGES = {"messages": [("user", "go")]}
TEAM = {"agents": {"front": [], "back": ["add"]}, "delegations": {"front": ["back"]}}


def user_of(config: dict[str, Any]) -> str | None:
    user = (config.get("configurable") or {}).get("verified_user")
    return str(user) if user else None


def solo(*tools: BaseTool, steps: Any = (ADD,), name: str | None = "boss", **options: Any) -> Any:
    return create_agent(ScriptedModel(steps=[*steps, "done"]), list(tools), name=name, **options)


@tool
def to_back() -> Command[Any]:
    """Hand on to back."""
    return Command(goto="back", graph=Command.PARENT)


def team(add: BaseTool, back_model: ScriptedModel | None = None, **options: Any) -> Any:
    """Front hands on to back, which adds. No middleware anywhere."""
    model = back_model or ScriptedModel(steps=[ADD, "done"], speaker="back")
    graph = StateGraph(MessagesState)
    front = solo(to_back, steps=[calls(("to_back", {}, "h1"))], name="front")
    graph.add_node("front", front, destinations=("back",))
    graph.add_node("back", create_agent(model, [add], name="back"))
    graph.add_edge(START, "front")
    return graph.compile(**options)


def root_of(authority: Authority, agent: str, user: str = "alice", thread: str = "t1") -> Session:
    return authority.session(agent=agent, user=user, key=f"langgraph:{thread}")


def opened(authority: Authority) -> list[str]:
    return [str(row["agent"]).rpartition("/")[2] for row in authority.audit.find(type="session.opened")]


def answers(result: Any) -> list[ToolMessage]:
    return [message for message in result["messages"] if isinstance(message, ToolMessage)]


def test_a_hand_off_in_a_secured_graph_opens_below_the_one_that_handed_on(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(**TEAM)
    graph = secure(team(add), authority=authority, agent="front", subject=user_of)
    result = invoke(graph, configurable={"thread_id": "t1", "verified_user": "alice"})
    assert [message.content for message in answers(result)][-1] == "3"
    expected = ("front", [("to_back", "done")], [("back", [("add", "done")], [])])
    assert outline(root_of(authority, "front")) == expected
    kinds = [row["type"] for row in authority.audit if str(row["type"]).startswith("handoff")]
    assert kinds == ["handoff.announced", "handoff.taken"]


def test_what_was_handed_on_to_dies_with_the_session_that_handed_on(make: Make, invoke: Invoke, add: BaseTool) -> None:
    """The attack: alice's session is revoked after the hand-off, while the other agent's model is thinking."""
    authority = make(**TEAM)

    class Revoked(ScriptedModel):
        def _turn(self, messages: Any) -> Any:
            if len(authority.audit.find(type="session.revoked")) == 0:
                root_of(authority, "front").revoke("compromised")
            return super()._turn(messages)

    graph = secure(
        team(add, Revoked(steps=[ADD, "done"], speaker="back")), authority=authority, agent="front", subject=user_of
    )
    result = invoke(graph, configurable={"thread_id": "t1", "verified_user": "alice"})
    assert answers(result)[-1].status == "error"
    assert [row["tool"] for row in authority.audit.find(type="tool.started")] == ["to_back"]
    with pytest.raises(SessionEnded):
        invoke(graph, configurable={"thread_id": "t1", "verified_user": "alice"})


def test_runs_of_one_thread_and_user_share_a_session_and_others_have_their_own(
    make: Make, invoke: Invoke, add: BaseTool
) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = secure(solo(add, checkpointer=InMemorySaver()), authority=authority, agent="boss", subject=user_of)
    for thread, user in (("t1", "alice"), ("t1", "alice"), ("t2", "alice"), ("t3", "bob")):
        invoke(graph, configurable={"thread_id": thread, "verified_user": user})
    assert [row["sub"] for row in authority.audit.find(type="session.opened")] == [
        "local|alice",
        "local|alice",
        "local|bob",
    ]
    assert len({row["sid"] for row in authority.audit.find(type="tool.started")}) == 3


def test_without_a_thread_the_session_ends_with_the_run(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = secure(solo(add), authority=authority, agent="boss", subject=lambda _: "alice")
    for _ in range(2):
        invoke(graph)
    assert len(authority.audit.find(type="session.opened")) == 2
    assert len(authority.audit.find(type="session.closed")) == 2


def test_where_nobody_vouches_for_a_user_nothing_runs(make: Make, invoke: Invoke, add: BaseTool) -> None:
    asked: list[Any] = []

    class Asked(ScriptedModel):
        def _turn(self, messages: Any) -> Any:
            asked.append(messages)
            return super()._turn(messages)

    authority = make(agents={"boss": ["add"]})
    agent = create_agent(Asked(steps=[ADD, "done"]), [add], name="boss")
    graph = secure(agent, authority=authority, agent="boss", subject=langgraph_user)
    with pytest.raises(NoSession):
        invoke(graph, configurable={"thread_id": "t1"})
    assert asked == []
    assert opened(authority) == []


@pytest.mark.parametrize("named", [None, "", 7])
def test_what_is_no_name_of_a_user_opens_nothing(make: Make, invoke: Invoke, add: BaseTool, named: Any) -> None:
    authority = make(agents={"boss": ["add"]})
    with pytest.raises(NoSession):
        invoke(secure(solo(add), authority=authority, agent="boss", subject=lambda _: named))
    assert opened(authority) == []


@pytest.mark.filterwarnings("ignore:The v3 streaming protocol")
def test_every_way_to_run_a_graph_opens_its_session(make: Make, outline: Outline, add: BaseTool) -> None:
    async def events(graph: Any, config: Any, version: Any) -> None:
        found = graph.astream_events(MESSAGES, config, version=version)
        if version == "v3":
            found = await found
        async for _ in found:
            pass

    async def stream(graph: Any, config: Any) -> None:
        async for _ in graph.astream(MESSAGES, config, stream_mode="updates"):
            pass

    ways: dict[str, Callable[[Any, Any], object]] = {
        "invoke": lambda g, c: g.invoke(MESSAGES, c),
        "ainvoke": lambda g, c: asyncio.run(g.ainvoke(MESSAGES, c)),
        "stream": lambda g, c: list(g.stream(MESSAGES, c, stream_mode="messages")),
        "astream": lambda g, c: asyncio.run(stream(g, c)),
        "batch": lambda g, c: g.batch([MESSAGES], c),
        "abatch": lambda g, c: asyncio.run(g.abatch([MESSAGES], c)),
        "events v2": lambda g, c: asyncio.run(events(g, c, "v2")),
        "events v3": lambda g, c: asyncio.run(events(g, c, "v3")),
        "sync events": lambda g, c: list(g.stream_events(MESSAGES, c, version="v3")),
        "with_config": lambda g, c: g.with_config(c).invoke(MESSAGES),
        "copy": lambda g, c: g.copy().invoke(MESSAGES, c),
        "in a chain": lambda g, c: (g | (lambda state: state)).invoke(MESSAGES, c),
    }
    authority = make(agents={"boss": ["add"]})
    graph = secure(solo(add), authority=authority, agent="boss", subject=user_of)
    assert type(graph).__name__ == "CompiledStateGraph"
    assert isinstance(graph, CompiledStateGraph)
    for name, way in ways.items():
        way(graph, {"configurable": {"thread_id": name, "verified_user": "alice"}})
        assert outline(root_of(authority, "boss", thread=name)) == ("boss", [("add", "done")], []), name


def test_a_stream_that_is_read_late_or_left_early_ends_its_session_when_it_ends(make: Make, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = secure(solo(add), authority=authority, agent="boss", subject=lambda _: "alice")
    late = graph.stream(MESSAGES, stream_mode="updates")
    assert opened(authority) == []  # nothing runs before somebody reads
    next(late)
    assert authority.audit.find(type="session.closed") == []
    late.close()
    assert len(authority.audit.find(type="session.closed")) == 1

    async def leave() -> None:
        early = graph.astream(MESSAGES, stream_mode="updates")
        await anext(early)
        await early.aclose()
        assert len(RUNS) == 0  # not only when the loop gets round to it

    asyncio.run(leave())
    assert len(authority.audit.find(type="session.closed")) == 2


def test_the_root_is_opened_and_closed_off_the_loop(tmp_path: Path, add: BaseTool) -> None:
    blockbuster = pytest.importorskip("blockbuster")
    with Authority(agents={"boss": ["add"]}, store=str(tmp_path / "store.db")) as authority:
        graph = secure(solo(add), authority=authority, agent="boss", subject=user_of)

        async def serve() -> None:
            for thread in ({}, {"thread_id": "t1"}):
                with blockbuster.blockbuster_ctx():
                    await graph.ainvoke(MESSAGES, {"configurable": {"verified_user": "alice", **thread}})

        asyncio.run(serve())
        assert len(authority.audit.find(type="session.opened")) == 2
        assert len(authority.audit.find(type="session.closed")) == 1


def test_the_authority_may_be_named_by_its_file(tmp_path: Path, invoke: Invoke, add: BaseTool) -> None:
    path = tmp_path / "deputize.toml"
    path.write_text(
        'version = 1\n[authority]\nusers = "unrestricted"\n[store]\nurl = "sqlite::memory:"\n'
        '[agents.boss]\nopen = true\nuse = { local = ["add"] }\n',
        encoding="utf-8",
    )
    graph = secure(solo(add), authority=str(path), agent="boss", subject=user_of)
    assert answers(invoke(graph, configurable={"verified_user": "alice"}))[0].content == "3"


def test_runs_in_the_background_keep_their_users_apart(make: Make, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = secure(solo(add), authority=authority, agent="boss", subject=user_of)

    async def serve() -> None:
        configs = [{"configurable": {"thread_id": f"t{n}", "verified_user": f"user{n}"}} for n in range(10)]
        await asyncio.gather(*(asyncio.create_task(graph.ainvoke(MESSAGES, config)) for config in configs))

    asyncio.run(serve())
    started = authority.audit.find(type="tool.started")
    assert sorted(row["sub"] for row in started) == [f"local|user{n}" for n in range(10)]


def test_inside_a_session_of_the_host_no_root_is_opened(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"boss": ["add"]})
    graph = secure(solo(add), authority=authority, agent="boss", subject=lambda _: "mallory")
    with authority.session(user="alice", agent="boss") as session:
        invoke(graph)
        assert outline(session) == ("boss", [("add", "done")], [])
    given = authority.session(user="alice", agent="boss")
    invoke(graph, **session_config(given))
    assert outline(given) == ("boss", [("add", "done")], [])
    assert {row["sub"] for row in authority.audit.find(type="session.opened")} == {"local|alice"}


def test_as_a_part_of_another_graph_a_secured_one_opens_nothing(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(**TEAM)
    inner = secure(solo(add, name="back"), authority=authority, agent="back", subject=lambda _: "mallory")
    graph = StateGraph(MessagesState)
    graph.add_node("node", inner)
    graph.add_edge(START, "node")
    bare = graph.compile()
    result = invoke(bare)
    assert [message.status for message in answers(result)] == ["error"]
    assert opened(authority) == []
    outer = secure(bare, authority=authority, agent="front", subject=lambda _: "alice")
    invoke(outer, configurable={"thread_id": "t1"})
    assert outline(root_of(authority, "front")) == ("front", [], [("back", [("add", "done")], [])])
    assert opened(authority) == ["front", "back"]


def test_a_functional_graph_can_be_secured(make: Make, outline: Outline, add: BaseTool) -> None:
    authority = make(**TEAM)
    back = solo(add, name="back")

    @task
    def ask(text: str) -> str:
        return str(back.invoke({"messages": [("user", text)]})["messages"][-2].content)

    @entrypoint()
    def front(text: str) -> str:
        return ask(text).result()

    graph = secure(front, authority=authority, agent="front", subject=lambda _: "alice")
    assert graph.invoke("go", {"configurable": {"thread_id": "t1"}}) == "3"
    assert outline(root_of(authority, "front")) == ("front", [], [("back", [("add", "done")], [])])


@pytest.mark.parametrize(
    "chosen",
    [{"run_name": "back"}, {"run_name": "back", "metadata": {"lc_agent_name": "back"}}, {"run_name": "@node"}],
)
def test_a_client_of_a_server_chooses_no_agent_by_the_names_in_its_config(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool, chosen: dict[str, Any]
) -> None:
    authority = make(agents={"front": ["add"], "back": ["add"]}, delegations={"front": ["back"]})
    plain = secure(solo(add, name=None), authority=authority, agent="front", subject=lambda _: "alice")
    invoke(plain, configurable={"thread_id": "t1"}, **chosen)
    assert outline(root_of(authority, "front")) == ("front", [("add", "done")], [])
    assert opened(authority) == ["front"]


def test_what_is_no_compiled_graph_or_is_secured_already_is_refused_at_once(make: Make, add: BaseTool) -> None:
    authority = make(agents={"boss": ["add"]})
    wrong: list[Any] = [
        StateGraph(MessagesState),
        solo(add) | (lambda state: state),
        secure(solo(add), authority=authority, agent="boss", subject=user_of),
    ]
    for graph in wrong:
        with pytest.raises(ConfigurationError):
            secure(graph, authority=authority, agent="boss", subject=user_of)


def server_user(identity: object, *, authenticated: object = True) -> SimpleNamespace:
    return SimpleNamespace(identity=identity, is_authenticated=authenticated, display_name="x")


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        (server_user("alice"), "alice"),
        (server_user("corp|ceo"), "local|corp|ceo"),  # not the ceo whom the issuer `corp` tells of
        (server_user(""), None),
        (server_user(7), None),
        (server_user("langgraph-studio-user", authenticated=False), None),
        (server_user("alice", authenticated="yes"), None),
        ({"identity": "admin", "is_authenticated": True}, None),
        ("admin", None),
        (None, None),
    ],
)
def test_only_a_user_that_the_server_vouched_for_is_taken_from_it(user: object, expected: str | None) -> None:
    assert langgraph_user({"configurable": {"langgraph_auth_user": user}}) == expected


def test_without_any_configurable_there_is_no_server_user() -> None:
    assert langgraph_user({}) is None
    assert langgraph_user({"configurable": {}}) is None
