"""Facts of the installed LangChain that the design leans on, without our own code: middleware and ToolNode."""
# ruff: noqa: ARG002  # the signatures are LangChain's

import contextvars
from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import pytest
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain.agents.structured_output import ToolStrategy
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolArg, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command
from pydantic import BaseModel

from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.watch import ADD, Watch, add, said, scripted

Invoke = Callable[..., Any]


class Around(AgentMiddleware[Any, Any, Any]):
    """Keeps what it is asked for; `answer` makes up a result."""

    def __init__(self, answer: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self.answer = answer

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.asked.append(request)
        return handler(request) if self.answer is None else self.answer(request)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.asked.append(request)
        return await handler(request) if self.answer is None else self.answer(request)


def refusal(request: Any) -> ToolMessage:
    return ToolMessage("no", tool_call_id=request.tool_call["id"], status="error")


def test_a_call_that_middleware_answers_by_itself_fires_no_callback_and_runs_no_body(invoke: Invoke) -> None:
    watch = Watch()
    result = invoke(scripted("solo", ADD, middleware=[Around(refusal)]), callbacks=[watch])
    assert watch.of("tool") + watch.of("tool end") + watch.of("tool error") == []
    assert result["messages"][-1].content == "done"


def test_what_middleware_raises_ends_the_run(invoke: Invoke) -> None:
    def refuse(request: Any) -> Any:
        raise PermissionError

    with pytest.raises(PermissionError):
        invoke(scripted("solo", ADD, middleware=[Around(refuse)]))


@pytest.mark.parametrize("missing", ["wrap_tool_call", "awrap_tool_call"])
async def test_middleware_needs_both_wraps_or_the_other_mode_fails_loudly(missing: str) -> None:
    kept = ({"wrap_tool_call", "awrap_tool_call"} - {missing}).pop()
    half = type("Half", (AgentMiddleware,), {kept: vars(Around)[kept], "asked": [], "answer": None})
    graph = scripted("solo", ADD, middleware=[half()])
    if missing == "wrap_tool_call":
        with pytest.raises(NotImplementedError):
            graph.invoke(said("go"))
    else:
        with pytest.raises(NotImplementedError):
            await graph.ainvoke(said("go"))


def test_middleware_finds_the_handlers_and_the_run_that_calls_in_the_config_of_the_runtime(invoke: Invoke) -> None:
    watch, around = Watch(), Around()
    invoke(scripted("solo", ADD, middleware=[around]), callbacks=[watch])
    manager = around.asked[0].runtime.config["callbacks"]
    assert watch in manager.handlers
    assert manager.parent_run_id == watch.tasks("tools")[0]["run_id"] == watch.of("tool")[0]["parent_run_id"]


def test_middleware_sees_thread_and_task_path_and_the_state(invoke: Invoke) -> None:
    around, watch = Around(), Watch()
    graph = scripted("solo", ADD, middleware=[around], checkpointer=InMemorySaver())
    invoke(graph, configurable={"thread_id": "t1"}, callbacks=[watch])
    (request,) = around.asked
    info = request.runtime.execution_info
    assert (info.thread_id, info.checkpoint_ns) == ("t1", watch.of("tool")[0]["metadata"]["langgraph_checkpoint_ns"])
    assert request.state["messages"][0].content == "go"


def test_a_human_decides_before_middleware_is_asked_and_it_sees_what_the_human_made_of_the_call(invoke: Invoke) -> None:
    around = Around()
    human = HumanInTheLoopMiddleware(interrupt_on={"add": {"allowed_decisions": ["approve", "edit"]}})
    graph = scripted("solo", ADD, middleware=[human, around], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t1"}}
    invoke(graph, **config)
    assert around.asked == []
    edited = {"type": "edit", "edited_action": {"name": "add", "args": {"a": 5, "b": 5}}}
    graph.invoke(Command(resume={"decisions": [edited]}), config)
    assert [request.tool_call["args"] for request in around.asked] == [{"a": 5, "b": 5}]


@pytest.mark.parametrize(("outside", "wraps"), [(True, 3), (False, 1)], ids=["retry outside", "retry inside"])
def test_a_retry_outside_middleware_asks_it_each_time_and_one_inside_once(
    invoke: Invoke, outside: bool, wraps: int
) -> None:
    tries: list[int] = []

    @tool
    def flaky() -> str:
        """Fail twice."""
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError
        return "ran"

    around, retry = Around(), ToolRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    order = [retry, around] if outside else [around, retry]
    invoke(scripted("solo", calls(("flaky", {}, "f1")), tools=[flaky], middleware=order))
    assert (len(tries), len(around.asked)) == (3, wraps)


def test_an_argument_that_middleware_injects_does_not_reach_the_tool(invoke: Invoke) -> None:
    got: list[str] = []

    @tool
    def look(token: Annotated[str, InjectedToolArg] = "none") -> str:
        """Look."""
        got.append(token)
        return "looked"

    class Injects(AgentMiddleware[Any, Any, Any]):
        def _with(self, request: Any) -> Any:
            return request.override(tool_call={**request.tool_call, "args": {"token": "SECRET"}})

        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            return handler(self._with(request))

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return await handler(self._with(request))

    invoke(scripted("solo", calls(("look", {}, "l1")), tools=[look], middleware=[Injects()]))
    assert got == ["none"]


def test_a_tool_that_stands_for_structured_output_is_asked_of_nobody_and_told_to_nobody(invoke: Invoke) -> None:
    class Answer(BaseModel):
        """An answer."""

        text: str

    watch, around = Watch(), Around()
    turn = calls(("Answer", {"text": "42"}, "s1"))
    graph = scripted("solo", turn, middleware=[around], response_format=ToolStrategy(Answer))
    assert invoke(graph, callbacks=[watch])["structured_response"] == Answer(text="42")
    assert (around.asked, watch.of("tool")) == ([], [])


def test_a_tool_node_takes_the_same_wraps(invoke: Invoke) -> None:
    around = Around(refusal)
    graph = StateGraph(MessagesState)
    graph.add_node("plan", lambda _: {"messages": [ADD]})
    tools: list[BaseTool] = [add]
    graph.add_node(
        "tools", ToolNode(tools, wrap_tool_call=around.wrap_tool_call, awrap_tool_call=around.awrap_tool_call)
    )
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "tools")
    assert invoke(graph.compile())["messages"][-1].content == "no"
    assert len(around.asked) == 1


def test_middleware_runs_before_the_tool_starts_and_under_the_same_parent(invoke: Invoke) -> None:
    order: list[tuple[str, UUID]] = []
    inside: contextvars.ContextVar[str] = contextvars.ContextVar("inside", default="")

    class Around(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            order.append(("guard", request.runtime.config["callbacks"].parent_run_id))
            token = inside.set("guard")
            try:
                return handler(request)
            finally:
                inside.reset(token)

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            order.append(("guard", request.runtime.config["callbacks"].parent_run_id))
            token = inside.set("guard")
            try:
                return await handler(request)
            finally:
                inside.reset(token)

    class Start(BaseCallbackHandler):
        run_inline = True

        def on_tool_start(self, *args: Any, parent_run_id: UUID, tool_call_id: str, **kwargs: Any) -> None:
            order.append((f"start {tool_call_id} {inside.get()}", parent_run_id))

    invoke(scripted("solo", ADD, middleware=[Around()]), callbacks=[Start()])
    assert [what for what, _ in order] == ["guard", "start c1 guard"]
    assert order[0][1] == order[1][1]
