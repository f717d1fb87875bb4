"""Facts of the installed LangChain that the design leans on, without our own code: tools and their classes."""

import inspect
import pickle  # noqa: TID251  # what others may try
import sys
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, Tool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.pregel import Pregel

from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.watch import Watch, add, said, scripted


class Plain(BaseTool):
    """A tool that is a class."""

    name: str = "plain"
    description: str = "Plain."

    def _run(self, number: int) -> str:
        return str(number)


def single(text: str) -> str:
    return text


TOOLS = [
    pytest.param(add, {"a": 1, "b": 2}, id="@tool"),
    pytest.param(StructuredTool.from_function(single, description="Say."), {"text": "x"}, id="StructuredTool"),
    pytest.param(Tool(name="single", func=single, description="Say."), "x", id="Tool"),
    pytest.param(Plain(), {"number": 1}, id="BaseTool"),
]


def under(original: BaseTool, asked: list[Any]) -> BaseTool:
    """A copy whose class is a subclass of its own, and whose `run` and `arun` are ours."""

    class Before(BaseTool):
        def run(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(kwargs.get("tool_call_id"))
            return super().run(tool_input, *args, **kwargs)

        async def arun(self, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(kwargs.get("tool_call_id"))
            return await super().arun(tool_input, *args, **kwargs)

    copy = original.model_copy()
    object.__setattr__(copy, "__class__", type(type(original).__name__, (Before, type(original)), {}))
    return copy


@pytest.mark.parametrize(("original", "given"), TOOLS)
async def test_every_way_to_call_a_tool_goes_through_run_or_arun(original: BaseTool, given: Any) -> None:
    asked: list[Any] = []
    copy = under(original, asked)
    args = given if isinstance(given, dict) else {"__arg1": given}
    call: Any = {"name": original.name, "args": args, "id": "c1", "type": "tool_call"}
    for result in (copy.invoke(given), await copy.ainvoke(given)):
        assert result == original.invoke(given)
    assert [copy.invoke(call).tool_call_id, (await copy.ainvoke(call)).tool_call_id] == ["c1", "c1"]
    assert asked == [None, None, "c1", "c1"]


@pytest.mark.parametrize(("original", "given"), TOOLS)
def test_a_subclass_put_under_a_copy_looks_to_a_model_as_the_tool_did(original: BaseTool, given: Any) -> None:
    copy = under(original, [])
    assert isinstance(copy, type(original))
    assert convert_to_openai_tool(copy) == convert_to_openai_tool(original)


def test_a_subclass_put_under_a_copy_fires_one_start() -> None:
    watch = Watch()
    under(add, []).invoke({"a": 1, "b": 2}, {"callbacks": [watch]})
    assert [run["tool"] for run in watch.of("tool")] == ["add"]


@pytest.mark.parametrize("method", [BaseTool.run, BaseTool.arun])
def test_run_and_arun_take_callbacks_and_the_call_id_by_these_names(method: Callable[..., Any]) -> None:
    names = list(inspect.signature(method).parameters)
    assert names[:2] == ["self", "tool_input"]
    assert {"callbacks", "tool_call_id"} <= set(names)
    assert names.index("callbacks") == 2 + 3  # `verbose`, `start_color` and `color` stand before it


def test_a_message_with_status_error_that_run_returns_is_what_the_model_reads() -> None:
    @tool
    def refuse(tool_call_id: Annotated[str, InjectedToolCallId]) -> ToolMessage:
        """Refuse."""
        return ToolMessage("no", tool_call_id=tool_call_id, status="error")

    result = scripted("solo", calls(("refuse", {}, "c1")), tools=[refuse]).invoke(said("go"))
    message = next(m for m in result["messages"] if isinstance(m, ToolMessage))
    assert (message.status, message.content) == ("error", "no")


def test_the_function_of_a_tool_can_be_called_around_any_guard() -> None:
    asked: list[Any] = []
    copy: Any = under(add, asked)
    assert copy.func(a=1, b=2) == 3
    assert asked == []


def test_a_tool_made_of_a_function_can_not_be_pickled_even_as_it_is() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(add)


@pytest.mark.filterwarnings("ignore:This API is in beta")
def test_langchains_own_function_around_a_graph_holds_it_as_runnable() -> None:
    made: Any = scripted("inner").as_tool(name="ask", description="Ask.", arg_types={"messages": list})
    function: Callable[..., Any] = made.func
    assert function.__module__ == "langchain_core.tools.convert"
    runnable = inspect.getclosurevars(function).nonlocals["runnable"]
    assert isinstance(runnable, Pregel)
    assert runnable.name == "inner"


def test_the_task_tool_of_deepagents_is_a_function_of_deepagents() -> None:
    subagents = pytest.importorskip("deepagents.middleware.subagents")  # the oldest LangChain that we support has none
    backends = pytest.importorskip("deepagents.backends")
    spec = {"name": "inner", "description": "i", "runnable": scripted("inner")}
    (task,) = subagents.SubAgentMiddleware(backend=backends.StateBackend(), subagents=[spec]).tools
    assert task.name == "task"
    assert str(task.func.__module__).partition(".")[0] == "deepagents"


def test_langgraph_names_its_pregel_module_as_we_look_for_it() -> None:
    assert sys.modules["langgraph.pregel"].Pregel is Pregel
