"""No token reaches anything that is kept, printed, traced or sent to a model (I9)."""

import asyncio
import copy
import pickle  # noqa: TID251  # what others may try
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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


def agents(spy: Spy, heard: list[str]) -> Any:
    def look() -> None:
        access, session = current_access(), current_session()
        spy.tokens |= {access.reveal(), session.present(), session.authority.engine.identity(session.agent).token}
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
        checkpointer=InMemorySaver(),
    )


@pytest.mark.requirement("WL-09")
@pytest.mark.requirement("A-18")
@pytest.mark.requirement("I9")
@pytest.mark.parametrize("mode", ["sync", "async", "langsmith"])
def test_a_token_is_in_nothing_that_is_kept_printed_traced_or_told(
    make: Make, mode: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    authority = make(
        agents={"boss": ["crm:read"], "research": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["research"]},
    )
    spy, heard, tracer, everything, wire = Spy(), [], Tracer(), Everything(), Wire()
    client = langsmith.Client(api_url="http://127.0.0.1:1", api_key="k", auto_batch_tracing=False, session=wire)
    tracing = langsmith.tracing_context(enabled=mode == "langsmith", client=client)
    graph = agents(spy, heard)
    caplog.set_level(0)
    seen: list[str] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with tracing, authority.session(user="alice", agent="boss", task="read") as session:
            config: Any = {
                **session_config(session, thread_id="t1"),
                "callbacks": [DeputizeCallbackHandler(session), tracer, everything],
            }
            modes: Any = ["values", "updates", "messages", "debug", "tasks", "checkpoints", "custom"]
            start: Any = {"messages": [("user", "go")]}
            if mode != "async":
                seen += [repr(chunk) for chunk in graph.stream(start, config, stream_mode=modes)]
            else:

                async def read_all() -> None:
                    seen.extend([repr(chunk) async for chunk in graph.astream(start, config, stream_mode=modes)])

                asyncio.run(read_all())
            state = graph.get_state(config)
            seen += [repr(config), repr(state), repr(session), str(session.tree()), repr(list(RUNS._runs.values()))]
        kept = graph.checkpointer
        stored = [repr(vars(kept)), repr(kept.storage), repr(kept.blobs), repr(kept.writes)]
    sinks = {
        "messages": heard,
        "streams and states": seen,
        "checkpoints": stored,
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
    assert bool(wire.sent) is (mode == "langsmith")
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
            assert token not in text, sink
            assert token.rpartition(".")[2] not in text, sink
        assert "eyJ" not in text, sink


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
    graph = agents(Spy(), [])
    with authority.session(user="alice", agent="boss") as session:
        graph.invoke({"messages": [("user", "go")]}, session_config(session, thread_id="t1"))
        assert ambient_session() is session
        assert current_call() is None
    assert ambient_session() is None
