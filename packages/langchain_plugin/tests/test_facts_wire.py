"""Facts of the installed LangGraph that the design leans on, without our own code: what is sent and what is kept."""

import contextvars
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, NotRequired

import pytest
from langchain.agents import AgentState
from langchain.tools import ToolRuntime
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from pydantic import SecretStr

from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.watch import ADD, said, scripted

CANARY = "canary-0815"


class Runs:
    """What LangGraph's client would send."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def stream(self, **sent: Any) -> Iterator[Any]:
        self.sent.append(sent)
        return iter(())

    async def astream(self, **sent: Any) -> AsyncIterator[Any]:
        self.sent.append(sent)
        return
        yield


class Client:
    """LangGraph's client, as far as a run needs it."""

    def __init__(self) -> None:
        self.runs = Runs()


def remote(**config: Any) -> dict[str, Any]:
    """What a RemoteGraph that is a node sends."""
    client: Any = Client()
    graph = StateGraph(MessagesState)
    graph.add_node("peer", RemoteGraph("peer", sync_client=client))
    graph.add_edge(START, "peer")
    graph.compile().invoke(said("go"), config)
    sent: dict[str, Any] = client.runs.sent[0]
    return sent


@pytest.mark.parametrize("key", ["access_token", "__hidden", "_credentials"])
def test_a_remote_graph_sends_what_is_configurable_whatever_its_key(key: str) -> None:
    sent = remote(configurable={key: {"nested": CANARY}})
    assert CANARY in repr(sent["config"])


def test_a_remote_graph_sends_no_headers_of_its_own() -> None:
    assert remote()["headers"] is None


def test_a_remote_graph_that_is_called_takes_headers() -> None:
    client: Any = Client()
    RemoteGraph("peer", sync_client=client).invoke(said("go"), headers={"Authorization": "x"})
    assert client.runs.sent[0]["headers"]["Authorization"] == "x"


class Tracer(BaseTracer):
    """Keeps every run, as LangSmith would get it."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.text.append(repr(run.model_dump()) + repr(run))


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class State(AgentState[Any]):
    """With members that hold what they should not."""

    token: NotRequired[str]
    masked: NotRequired[SecretStr]


def kept(config: dict[str, Any], inputs: dict[str, Any] | None = None) -> tuple[bool, bool]:
    """Whether the canary is found in (a tracer, a checkpoint)."""
    saver, tracer = InMemorySaver(), Tracer()
    graph: Any = scripted("solo", ADD, checkpointer=saver, state_schema=State)
    configurable = {"thread_id": "t1", **config.pop("configurable", {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph.invoke({**said("go"), **(inputs or {})}, {"callbacks": [tracer], "configurable": configurable, **config})
    stored = repr(saver.storage) + repr(saver.blobs) + repr(saver.writes)
    return CANARY in "".join(tracer.text), CANARY in stored


def test_a_context_variable_is_in_no_trace_and_no_checkpoint() -> None:
    token = VARIABLE.set(CANARY)
    try:
        assert kept({}) == (False, False)
    finally:
        VARIABLE.reset(token)


def test_metadata_of_a_config_are_in_traces_and_checkpoints() -> None:
    assert kept({"metadata": {"note": CANARY}}) == (True, True)


def test_a_member_of_the_state_is_in_traces_and_checkpoints() -> None:
    assert kept({}, {"token": CANARY}) == (True, True)


def test_a_secret_string_in_the_state_is_still_in_the_checkpoint() -> None:
    assert kept({}, {"masked": SecretStr(CANARY)})[1]


def test_a_text_that_is_configurable_is_kept_and_one_of_a_hidden_key_is_not() -> None:
    assert any(kept({"configurable": {"note": CANARY}}))
    assert kept({"configurable": {"__note": CANARY}}) == (False, False)


@dataclass
class Context:
    """What a user of LangGraph passes as context."""

    token: str = CANARY


def test_a_tool_that_takes_an_untyped_runtime_makes_pydantic_print_the_whole_context() -> None:
    @tool
    def look(runtime: ToolRuntime) -> str:
        """Look."""
        return "looked"

    graph = scripted("solo", calls(("look", {}, "l1")), tools=[look], context_schema=Context)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        graph.invoke(said("go"), context=Context())
    assert any(CANARY in str(item.message) for item in warned)
