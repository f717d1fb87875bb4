import asyncio
import copy
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks.manager import CallbackManager
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, MessagesState, StateGraph

from deputize import Authority
from deputize import runtime as deputize_runtime
from deputize.errors import ConfigurationError, Denied, InvalidRequest, NoSession
from deputize.runtime import carry
from langchain_deputize import (
    DeputizeCallbackHandler,
    DeputizeMiddleware,
    current_session,
    secure_tool,
    session_config,
)
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
Rows = Callable[[Authority], list[str]]
ADD = calls(("add", {"a": 1, "b": 2}, "c1"))


def adder(name: str | None, add: BaseTool) -> Any:
    return create_agent(ScriptedModel(steps=[ADD, "done"]), [add], name=name, middleware=[DeputizeMiddleware()])


def test_the_handler_is_ambient_also_where_the_plugin_is_imported_inside_the_with() -> None:
    program = """
from deputize import Authority
authority = Authority(agents={"solo": ["add"]})
with authority.session(user="alice", agent="solo") as session:
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langchain_deputize import DeputizeMiddleware
    from langchain_deputize.testing import ScriptedModel, calls
    @tool
    def add(a: int, b: int) -> int:
        "Add."
        return a + b
    model = ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, "c1")), "done"])
    create_agent(model, [add], name="solo", middleware=[DeputizeMiddleware()]).invoke({"messages": [("user", "go")]})
    call, = session.tree().calls
    print(call.tool, call.outcome)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["add", "done"]


def test_import_loads_neither_langgraph_nor_langsmith() -> None:
    program = (
        "import sys, langchain_deputize; print(sorted({'langgraph', 'langsmith', 'langchain'} & set(sys.modules)),"
        " langchain_deputize.secure_tool.__name__, 'DeputizeAuth' in dir(langchain_deputize))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[] secure_tool True"


def test_every_public_name_can_be_had_and_no_other() -> None:
    import langchain_deputize

    for name in langchain_deputize.__all__:
        assert getattr(langchain_deputize, name).__name__ == name
    with pytest.raises(AttributeError):
        langchain_deputize.nothing  # noqa: B018  # the access is the test


def test_after_the_with_nothing_is_ambient(make: Make, invoke: Invoke, add: BaseTool) -> None:
    authority = make(agents={"solo": ["add"]})
    with authority.session(user="alice", agent="solo"):
        pass
    invoke(create_agent(ScriptedModel(steps=[ADD, "done"]), [add]))  # unguarded, and none of our business
    assert authority.audit.find(type="tool.unguarded") == []


def test_a_handler_given_by_hand_works_without_a_with(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"solo": ["add"]})
    session = authority.session(user="alice", agent="solo")
    invoke(adder("solo", add), callbacks=[DeputizeCallbackHandler(session)])
    assert outline(session) == ("solo", [("add", "done")], [])
    assert session.state == "open"


def test_handlers_by_hand_and_ambient_and_twice_open_each_session_once(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"desk": [], "solo": ["add"]}, delegations={"desk": ["solo"]})
    with authority.session(user="alice", agent="desk") as session:
        graph = adder("solo", add).with_config({"callbacks": [DeputizeCallbackHandler(session)]})
        invoke(graph, callbacks=[DeputizeCallbackHandler(session), DeputizeCallbackHandler()])
        assert outline(session) == ("desk", [], [("solo", [("add", "done")], [])])


async def test_a_stream_that_outlives_the_with_is_refused_and_one_with_its_own_config_goes_on(
    make: Make, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"solo": ["add"]})
    start = {"messages": [("user", "go")]}
    with authority.session(user="alice", agent="solo"):
        stream = adder("solo", add).astream(start, stream_mode="values")
        await anext(stream)
    late = [state async for state in stream][-1]["messages"][-2]
    assert isinstance(late, ToolMessage)
    assert str(late.content).split()[1] == "session_closed"

    session = authority.session(user="alice", agent="solo")
    config = session_config(session, thread_id="t1")
    assert config["configurable"] == {"thread_id": "t1"}
    states = [state async for state in adder("solo", add).astream(start, config, stream_mode="values")]
    assert states[-1]["messages"][-2].content == "3"
    assert outline(session) == ("solo", [("add", "done")], [])
    session.close()


def test_nodes_act_in_the_session_of_their_agent(make: Make, invoke: Invoke, outline: Outline, rows: Rows) -> None:
    """Hand-written nodes, a graph without a name by its node, and what runs in none of them."""
    seen: dict[str, str] = {}

    @tool
    def look(where: str) -> str:
        """Tell whose session it is in."""
        seen[where] = current_session().name
        return where

    guarded = secure_tool(look)

    def writer(state: MessagesState) -> dict[str, Any]:
        seen["writer"] = current_session().name
        guarded.invoke({"where": "tool of writer"})
        return {"messages": []}

    def plain(state: MessagesState) -> dict[str, Any]:
        seen["plain"] = current_session().name
        return {"messages": []}

    inner = StateGraph(MessagesState)
    inner.add_node("step", lambda state: {"messages": [guarded.invoke({"where": "tool of inner"})]})  # noqa: ARG005  # the graph hands it over
    inner.add_edge(START, "step")
    inner_graph = inner.compile()

    def research(state: MessagesState) -> dict[str, Any]:
        return dict(inner_graph.invoke(state))

    outer = StateGraph(MessagesState)
    for name, node in (("writer", writer), ("plain", plain), ("research", research)):
        outer.add_node(name, node)
    outer.add_edge(START, "writer")
    outer.add_edge("writer", "plain")
    outer.add_edge("plain", "research")
    authority = make(
        agents={"desk": [], "author": ["look"], "scholar": ["look"]}, delegations={"desk": ["author", "scholar"]}
    )
    handler = DeputizeCallbackHandler(agents={"writer": "author", "@research": "scholar"})
    with authority.session(user="alice", agent="desk") as session:
        invoke(outer.compile(), callbacks=[handler])
        assert outline(session) == (
            "desk",
            [],
            [("author", [("look", "done")], []), ("scholar", [("look", "done")], [])],
        )
    assert seen == {
        "writer": "author",
        "tool of writer": "author",
        "plain": "desk",
        "tool of inner": "scholar",
    }


def test_names_registered_on_an_inner_call_add_to_those_around_it(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    inner = adder(None, add)
    handler = DeputizeCallbackHandler(agents={"@tools": "helper"})

    @tool
    def ask() -> str:
        """Ask."""
        return str(inner.invoke({"messages": [("user", "?")]}, {"callbacks": [handler]})["messages"][-1].content)

    authority = make(agents={"boss": ["ask"], "helper": ["add"]}, delegations={"boss": ["helper"]})
    boss = create_agent(
        ScriptedModel(steps=[calls(("ask", {}, "c0")), "done"]), [ask], name="boss", middleware=[DeputizeMiddleware()]
    )
    with authority.session(user="alice", agent="boss") as session:
        invoke(boss)
        assert outline(session) == ("boss", [("ask", "done")], [("helper", [("add", "done")], [])])


def test_a_graph_in_a_node_without_a_name_gets_no_tool(make: Make, add: BaseTool) -> None:
    guarded = secure_tool(add)
    inner = StateGraph(MessagesState)
    inner.add_node("step", lambda state: {"messages": [str(guarded.invoke({"a": 1, "b": 1}))]})  # noqa: ARG005  # the graph hands it over
    inner.add_edge(START, "step")
    outer = StateGraph(MessagesState)
    outer.add_node("sub", inner.compile())
    outer.add_edge(START, "sub")
    authority = make(agents={"desk": ["add"]})
    with authority.session(user="alice", agent="desk"), pytest.raises(Denied) as refusal:
        outer.compile().invoke({"messages": [("user", "go")]})
    assert refusal.value.code == "unknown_agent"
    assert len(authority.audit.find(type="agent.unnamed")) == 1


def test_a_session_that_user_code_opens_in_a_tool_is_the_one_that_is_used(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    inner = adder("research", add)

    @tool
    def ask() -> str:
        """Ask, with a narrower session of one's own making."""
        with deputize_runtime.handoff("research", scopes=["add"]):
            return str(inner.invoke({"messages": [("user", "?")]})["messages"][-1].content)

    authority = make(agents={"boss": ["ask"], "research": ["add"]}, delegations={"boss": ["research"]})
    boss = create_agent(
        ScriptedModel(steps=[calls(("ask", {}, "c0")), "done"]), [ask], name="boss", middleware=[DeputizeMiddleware()]
    )
    with authority.session(user="alice", agent="boss") as session:
        invoke(boss)
        assert outline(session) == ("boss", [("ask", "done")], [("research", [("add", "done")], [])])


def test_a_thread_of_ones_own_is_refused_unless_it_is_carried(make: Make, outline: Outline, add: BaseTool) -> None:
    inner = adder("research", add)

    def work() -> str:
        return str(inner.invoke({"messages": [("user", "?")]})["messages"][-2].content)

    @tool
    def ask(carried: bool) -> str:
        """Ask in a thread."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(carry(work) if carried else work).result()

    authority = make(agents={"boss": ["ask"], "research": ["add"]}, delegations={"boss": ["research"]})
    with authority.session(user="alice", agent="boss") as session:
        guarded = secure_tool(ask)
        assert "no_session" in str(guarded.invoke({"carried": False}))
        assert guarded.invoke({"carried": True}) == "3"
        assert outline(session) == ("boss", [("ask", "done")] * 2, [("research", [("add", "done")], [])])


def test_code_that_is_no_tool_may_not_be_a_graph(make: Make, invoke: Invoke) -> None:
    """A chain without graphs and tools runs as ever, and opens nothing."""
    authority = make(agents={"desk": ["x"]})
    chain = RunnableLambda(lambda given: len(given["messages"])) | (lambda count: count + 1)
    with authority.session(user="alice", agent="desk") as session:
        assert invoke(chain) == 2
        assert session.tree().children == []


def test_a_name_in_the_run_config_does_not_hide_the_agents_own(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    authority = make(agents={"desk": ["add"], "solo": ["add"]}, delegations={"desk": ["solo"]})
    with authority.session(user="alice", agent="desk") as session:
        invoke(adder("solo", add), run_name="my run")
        assert outline(session) == ("desk", [], [("solo", [("add", "done")], [])])


def test_a_run_below_a_foreign_span_is_not_taken_for_a_call_by_the_host(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    """LangSmith's own spans, and callback managers made by hand, put an id that we know nothing of in between."""
    inner = adder("helper", add)

    def writer(state: MessagesState) -> dict[str, Any]:
        manager = CallbackManager([], parent_run_id=uuid4())
        RunnableLambda(inner.invoke).invoke(state, {"callbacks": manager})
        return {"messages": []}

    outer = StateGraph(MessagesState)
    outer.add_node("writer", writer)
    outer.add_edge(START, "writer")
    authority = make(
        agents={"desk": [], "author": [], "helper": ["add"]}, delegations={"desk": ["author"], "author": ["helper"]}
    )
    with authority.session(user="alice", agent="desk") as session:
        invoke(outer.compile(), callbacks=[DeputizeCallbackHandler(agents={"writer": "author"})])
        assert outline(session) == ("desk", [], [("author", [], [("helper", [("add", "done")], [])])])


def test_options_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        DeputizeCallbackHandler(unguarded="allow")


def test_a_config_may_be_copied_with_its_handler(make: Make) -> None:
    session = make(agents={"solo": ["add"]}).session(user="alice", agent="solo")
    handler = DeputizeCallbackHandler(session)
    assert copy.deepcopy(handler) is handler
    assert copy.copy(handler) is handler
    session.close()


def test_current_session_outside_any_is_refused() -> None:
    with pytest.raises(NoSession):
        current_session()


def test_a_suspended_run_is_recorded_as_such(make: Make, invoke: Invoke, rows: Rows) -> None:
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import interrupt

    @tool
    def ask_human() -> str:
        """Wait for a human."""
        return str(interrupt("may I?"))

    authority = make(
        agents={"desk": [], "boss": [], "solo": ["ask_human"]}, delegations={"desk": ["boss"], "boss": ["solo"]}
    )
    inner = create_agent(
        ScriptedModel(steps=[calls(("ask_human", {}, "c1")), "done"]),
        [ask_human],
        name="solo",
        middleware=[DeputizeMiddleware()],
    )

    @tool
    def ask() -> str:
        """Ask the other agent."""
        return str(inner.invoke({"messages": [("user", "?")]})["messages"][-1].content)

    graph = create_agent(
        ScriptedModel(steps=[calls(("ask", {}, "c0")), "done"]),
        [ask],
        name="boss",
        middleware=[DeputizeMiddleware(handoffs={"ask": "solo"})],
        checkpointer=InMemorySaver(),
    )
    with authority.session(user="alice", agent="desk"):
        result = invoke(graph, configurable={"thread_id": "t1"})
    assert "__interrupt__" in result
    assert [row for row in rows(authority) if "suspended" in row or "closed" in row] == [
        "solo tool.suspended ask_human",
        "solo session.suspended",
        "boss tool.suspended ask",
        "boss session.suspended",
        "desk session.closed",  # and with it those that waited
    ]


async def test_event_streams_see_the_same_sessions(make: Make, outline: Outline, add: BaseTool) -> None:
    authority = make(agents={"desk": [], "solo": ["add"]}, delegations={"desk": ["solo"]})
    async with authority.session(user="alice", agent="desk") as session:
        events = adder("solo", add).astream_events({"messages": [("user", "go")]}, version="v2")
        assert {event["event"] async for event in events} >= {"on_tool_start", "on_tool_end"}
        await asyncio.sleep(0)
        assert outline(session) == ("desk", [], [("solo", [("add", "done")], [])])


@pytest.mark.requirement("I4")
def test_no_run_becomes_anothers_by_the_run_id_that_its_client_chose(make: Make) -> None:
    authority = make(agents={"solo": ["wait"]})
    chosen, started, go_on = uuid4(), Event(), Event()
    subjects: list[str] = []

    @tool
    def wait() -> str:
        """Say for whom, and wait."""
        subjects.append(current_session().subject)
        started.set()
        go_on.wait(5)
        return "waited"

    turn = calls(("wait", {}, "c1"))
    solo = create_agent(ScriptedModel(steps=[turn, "done"]), [wait], name="solo", middleware=[DeputizeMiddleware()])

    def run(user: str) -> None:
        with authority.session(user=user, agent="solo"):
            solo.invoke({"messages": [("user", "go")]}, {"run_id": chosen})

    with ThreadPoolExecutor(1) as pool:
        alices = pool.submit(run, "alice")
        assert started.wait(5)
        with pytest.raises(InvalidRequest):
            run("mallory")
        go_on.set()
        alices.result()
    run("mallory")
    assert subjects == ["local|alice", "local|mallory"]


@pytest.mark.requirement("I4")
async def test_what_an_agent_leaves_in_the_background_never_acts_as_the_one_above(make: Make, outline: Outline) -> None:
    ran: list[str] = []
    ended = asyncio.Event()
    left: list[asyncio.Task[Any]] = []

    @tool
    def wipe() -> str:
        """Wipe."""
        ran.append("wipe")
        return "wiped"

    call = {"name": "wipe", "args": {}, "id": "b1", "type": "tool_call"}
    unnamed = create_agent(
        ScriptedModel(steps=[calls(("wipe", {}, "b2")), "done"]), [wipe], middleware=[DeputizeMiddleware()]
    )

    class Leaves(AgentMiddleware[Any, Any, Any]):
        async def abefore_model(self, *_: object) -> None:
            async def later() -> list[Any]:
                await ended.wait()
                answered = await unnamed.ainvoke({"messages": [("user", "go")]})
                return [await secure_tool(wipe).ainvoke(call), answered["messages"][2]]

            left.append(asyncio.create_task(later()))

    research = create_agent(ScriptedModel(steps=["done"]), [], name="research", middleware=[Leaves()])

    @tool
    async def ask() -> str:
        """Ask."""
        await research.ainvoke({"messages": [("user", "?")]})
        return "asked"

    boss = create_agent(
        ScriptedModel(steps=[calls(("ask", {}, "a")), "done"]),
        [ask],
        name="boss",
        middleware=[DeputizeMiddleware(handoffs={"ask": "research"})],
    )
    authority = make(agents={"boss": ["wipe"], "research": ["add"]}, delegations={"boss": ["research"]})
    with authority.session(user="alice", agent="boss") as session:
        await boss.ainvoke({"messages": [("user", "go")]})
        ended.set()
        assert [message.status for message in await left[0]] == ["error", "error"]
        assert outline(session) == ("boss", [("ask", "done")], [("research", [("wipe", "denied")], [])])
    assert ran == []
