"""No token reaches anything that is kept, printed, traced or sent to a model (I9)."""

import asyncio
import copy
import pickle  # noqa: TID251  # what others may try
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import langsmith
import pytest
import requests
from langchain.agents import create_agent
from langchain.tools import ToolRuntime
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.config import get_store, get_stream_writer
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite import SqliteStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import StreamMode

from deputize import Authority
from deputize.runtime import ambient_session, current_call
from langchain_deputize import (
    DeputizeAuth,
    DeputizeCallbackHandler,
    DeputizeMiddleware,
    current_access,
    current_session,
    secure_tool,
    session_config,
)
from langchain_deputize.runs import RUNS
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
CRM = "https://crm.example/mcp"


class Tracer(BaseTracer):
    """Keeps every run as LangSmith would get it."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.text.append(repr(run.model_dump()) + repr(run))


class Wire(requests.Session):
    """Keeps what LangSmith's client would send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        self.sent.append(repr((args, kwargs)))
        response = requests.Response()
        response.status_code, response._content = 200, b"{}"
        return response


class Everything(BaseCallbackHandler):
    """Keeps everything that any other handler is told."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *args, **kwargs: self.text.append(repr((name, args, kwargs)))
        return super().__getattribute__(name)


@dataclass
class Context:
    """What the user of LangGraph passes as context."""

    tenant: str = "t"


@dataclass
class Spy:
    """The tokens that were there, and what the tools printed of them."""

    tokens: set[str] = field(default_factory=set)
    printed: list[str] = field(default_factory=list)


class Listening(ScriptedModel):
    """Keeps what the model is told."""

    heard: Any  # a list, kept as it is: pydantic would copy one that it knew as such

    def _turn(self, messages: list[BaseMessage]) -> Any:
        self.heard.append(repr(messages))
        return super()._turn(messages)


def agents(spy: Spy, heard: list[str], saver: Any, store: Any) -> Any:
    def look() -> None:
        access, session = current_access(), current_session()
        spy.tokens |= {access.reveal(), session.present(), session.authority.engine.identity(session.agent).token}
        shown = f"{access!r} {session!r} {access.auth()!r}"
        get_stream_writer()(shown)
        get_store().put(("notes",), access.id, {"shown": shown})
        spy.printed += [
            repr(access),
            str(access),
            f"{access!r:>10}",
            repr(session),
            repr(access.auth()),
            repr(DeputizeAuth()),
        ]

    @tool
    def read() -> str:
        """Read."""
        look()
        return "rows"

    @tool
    def fail(runtime: ToolRuntime) -> str:
        """Fail, and print what there is to print."""
        look()
        raise RuntimeError(f"{current_access()!r} {current_session()!r} {runtime!r}")

    @tool
    def drop() -> str:
        """Be refused."""
        return "dropped"

    secured = [secure_tool(t, scopes=["crm:read"], resource=CRM) for t in (read, fail)]
    turns = [calls(("read", {}, "r1"), ("drop", {}, "d1")), calls(("fail", {}, "f1")), "done"]
    guard = DeputizeMiddleware()
    inner = create_agent(
        Listening(steps=turns, heard=heard),
        [*secured, drop],
        name="research",
        middleware=[guard],
        context_schema=Context,
    )

    @tool
    def ask(question: str) -> str:
        """Ask the other agent."""
        try:
            return str(inner.invoke({"messages": [("user", question)]}, context=Context())["messages"][-1].content)
        except RuntimeError as error:
            return f"failed: {error}"

    return create_agent(
        Listening(steps=[calls(("ask", {"question": "?"}, "a1")), calls(("read", {}, "r2")), "done"], heard=heard),
        [ask, secured[0]],
        name="boss",
        middleware=[DeputizeMiddleware(handoffs={"ask": "research"})],
        checkpointer=saver,
        store=store,
    )


@dataclass
class Seen:
    """What a run showed and left behind."""

    chunks: list[str] = field(default_factory=list)  # streams, states, and what the objects print
    kinds: set[str] = field(default_factory=set)  # of chunks
    stored: list[bytes] = field(default_factory=list)  # files of the checkpointer and of the store

    def keep(self, folder: Path) -> None:
        self.stored += [path.read_bytes() for path in sorted(folder.iterdir())]


ANY_TOKEN = re.compile(r"eyJ[\w-]+\.eyJ")  # also one that the spy did not see; three letters alone come by chance
MODES: Any = list(get_args(StreamMode))
START: Any = {"messages": [("user", "go")]}


def streamed(build: Callable[..., Any], config: Any, folder: Path) -> Seen:
    """By `stream`, in every mode at once."""
    seen = Seen()
    paths = str(folder / "checkpoints.db"), str(folder / "store.db")
    with SqliteSaver.from_conn_string(paths[0]) as saver, SqliteStore.from_conn_string(paths[1]) as store:
        store.setup()
        graph = build(saver, store)
        for path, mode, chunk in graph.stream(START, config, stream_mode=MODES, subgraphs=True):
            seen.kinds.add(mode)
            seen.chunks.append(repr((path, chunk)))
        seen.chunks += [repr(graph.get_state(config)), repr(list(graph.get_state_history(config)))]
        seen.keep(folder)  # also what is only in the write-ahead log
    return seen


def streamed_async(build: Callable[..., Any], config: Any, folder: Path) -> Seen:
    """By `astream`, in every mode at once."""
    seen = Seen()
    paths = str(folder / "checkpoints.db"), str(folder / "store.db")

    async def main() -> None:
        async with (
            AsyncSqliteSaver.from_conn_string(paths[0]) as saver,
            AsyncSqliteStore.from_conn_string(paths[1]) as store,
        ):
            await store.setup()
            graph = build(saver, store)
            async for path, mode, chunk in graph.astream(START, config, stream_mode=MODES, subgraphs=True):
                seen.kinds.add(mode)
                seen.chunks.append(repr((path, chunk)))
            seen.chunks += [repr(await graph.aget_state(config))]
            seen.chunks += [repr(state) async for state in graph.aget_state_history(config)]
            seen.keep(folder)

    asyncio.run(main())
    return seen


def by_events(build: Callable[..., Any], config: Any, folder: Path) -> Seen:
    """By `astream_events`, over what is kept in memory."""
    seen = Seen()
    saver, store = InMemorySaver(), InMemoryStore()
    graph = build(saver, store)

    async def main() -> None:
        async for event in graph.astream_events(START, config, version="v2"):
            seen.kinds.add(event["event"])
            seen.chunks.append(repr(event))

    asyncio.run(main())
    kept = [repr(vars(saver)), repr(saver.storage), repr(saver.blobs), repr(saver.writes), repr(store.search(()))]
    seen.stored += [text.encode() for text in kept]
    del folder
    return seen


@pytest.mark.requirement("WL-09")
@pytest.mark.requirement("A-18")
@pytest.mark.requirement("I9")
@pytest.mark.parametrize("traced", [False, True], ids=["", "langsmith"])
@pytest.mark.parametrize("read", [streamed, streamed_async, by_events])
def test_a_token_is_in_nothing_that_is_kept_printed_traced_or_told(
    make: Make,
    read: Callable[..., Seen],
    traced: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    authority = make(
        agents={"boss": ["crm:read"], "research": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["research"]},
    )
    spy, heard, tracer, everything, wire = Spy(), [], Tracer(), Everything(), Wire()
    client = langsmith.Client(api_url="http://127.0.0.1:1", api_key="k", auto_batch_tracing=False, session=wire)
    tracing = langsmith.tracing_context(enabled=traced, client=client)
    caplog.set_level(0)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with tracing, authority.session(user="alice", agent="boss", task="read") as session:
            config: Any = {
                **session_config(session, thread_id="t1"),
                "callbacks": [DeputizeCallbackHandler(session), tracer, everything],
            }
            seen = read(lambda saver, store: agents(spy, heard, saver, store), config, tmp_path)
            seen.chunks += [repr(config), repr(session), str(session.tree()), repr(list(RUNS._runs.values()))]
            seen.chunks += [session.tree().to_html(), session.tree().to_mermaid(), session.tree().to_dot()]
    sinks = {
        "messages": heard,
        "streams and states": seen.chunks,
        "checkpoints and stores": [data.decode("latin-1") for data in seen.stored],
        "tracer": tracer.text,
        "LangSmith": wire.sent,
        "other handlers": everything.text,
        "warnings": [str(item.message) for item in warned],
        "logs": [record.getMessage() for record in caplog.records],
        "output": list(capfd.readouterr()),
        "repr": spy.printed,
        "records": [repr(row) for row in authority.audit],
    }
    assert len(spy.tokens) >= 4
    assert tracer.text
    assert bool(wire.sent) is traced
    assert {"on_tool_end", "on_custom_event"} & seen.kinds or seen.kinds == set(MODES)
    assert any("Access" in text for text in sinks["checkpoints and stores"])  # what the tools put into the store
    assert [(call.tool, call.outcome) for call in session.tree().calls] == [("ask", "done"), ("read", "done")]
    below = session.tree().children[0]
    assert sorted((call.tool, call.outcome) for call in below.calls) == [
        ("drop", "denied"),
        ("fail", "failed"),
        ("read", "done"),
    ]
    assert any("fail" in text for text in heard)
    for sink, texts in sinks.items():
        text = "\n".join(texts)
        for token in spy.tokens:
            _, payload, signature = token.split(".")
            assert payload not in text, sink
            assert signature not in text, sink
        assert not ANY_TOKEN.search(text), sink


@pytest.mark.requirement("I9")
def test_neither_session_nor_access_can_be_pickled_and_access_not_copied(make: Make) -> None:
    authority = make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})
    with authority.session(user="alice", agent="solo") as session:
        access = session.access(CRM, ["crm:read"])
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                attempt(access)
        with pytest.raises(TypeError):
            pickle.dumps(session)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # LangGraph's, of an untyped ToolRuntime
def test_after_a_run_nothing_is_left_in_the_context(make: Make) -> None:
    authority = make(
        agents={"boss": ["crm:read"], "research": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["research"]},
    )
    graph = agents(Spy(), [], InMemorySaver(), InMemoryStore())
    with authority.session(user="alice", agent="boss") as session:
        graph.invoke({"messages": [("user", "go")]}, session_config(session, thread_id="t1"))
        assert ambient_session() is session
        assert current_call() is None
    assert ambient_session() is None
