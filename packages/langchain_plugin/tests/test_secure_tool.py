import asyncio
import copy
import pickle  # noqa: TID251  # what users may do to their tools
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, Tool, ToolException, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode

from deputize import Authority
from deputize.errors import ConfigurationError, Denied, NoSession
from langchain_deputize import DeputizeMiddleware, current_access, current_session, secure_tool, secure_tools
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]
CRM = "https://crm.example/mcp"


class Shout(BaseTool):
    """A tool with a class of its own."""

    name: str = "shout"
    description: str = "Shout."
    suffix: str = "!"

    def _run(self, text: str) -> str:
        return text.upper() + self.suffix


def structured(number: int) -> str:
    """Say a number."""
    return str(number)


TOOLS: list[BaseTool] = [
    Shout(suffix="!!", tags=["loud"]),
    StructuredTool.from_function(structured, metadata={"team": "a"}, return_direct=True),
    Tool(name="plain", func=str.upper, description="Upper case."),
]


def both(a_tool: BaseTool, argument: object) -> list[Any]:
    """By invoke and by ainvoke."""
    call = {"name": a_tool.name, "args": argument, "id": "c1", "type": "tool_call"}
    return [a_tool.invoke(dict(call)), asyncio.run(a_tool.ainvoke(dict(call)))]


@pytest.mark.parametrize("original", TOOLS, ids=lambda t: t.name)
def test_a_secured_tool_looks_exactly_like_the_tool_that_it_guards(original: BaseTool) -> None:
    secured = secure_tool(original)
    assert isinstance(secured, type(original))
    assert type(secured).__name__ == type(original).__name__
    assert convert_to_openai_tool(secured) == convert_to_openai_tool(original)
    assert secured.args_schema is original.args_schema
    for field in type(original).model_fields:
        assert getattr(secured, field) == getattr(original, field)
    assert type(original) in {Shout, StructuredTool, Tool}


@pytest.mark.parametrize("change", [copy.copy, copy.deepcopy, lambda t: t.model_copy()], ids=["copy", "deep", "model"])
def test_a_copy_of_a_secured_tool_is_guarded_like_it(make: Make, change: Callable[[BaseTool], BaseTool]) -> None:
    authority = make(agents={"solo": ["yell"], "other": ["shout"]})
    copied = change(secure_tool(Shout(), name="yell"))
    with authority.session(user="alice", agent="solo"):
        assert [message.content for message in both(copied, {"text": "a"})] == ["A!", "A!"]
    with authority.session(user="alice", agent="other"), pytest.raises(Denied):
        copied.invoke({"text": "a"})


def test_a_pickled_secured_tool_comes_back_guarded() -> None:
    restored = pickle.loads(pickle.dumps(secure_tool(TOOLS[2], name="yell")))  # noqa: S301  # ours
    assert isinstance(restored, Tool)
    with pytest.raises(NoSession):
        restored.invoke("a")


def test_securing_twice_keeps_what_was_said_last(make: Make) -> None:
    authority = make(agents={"solo": ["second"]})
    secured = secure_tool(secure_tool(Shout(), name="first"), name="second")
    with authority.session(user="alice", agent="solo"):
        assert secured.invoke({"text": "a"}) == "A!"
    assert [row["tool"] for row in authority.audit.find(type="tool.started")] == ["second"]


def test_a_class_that_answers_invoke_by_itself_can_not_be_secured() -> None:
    class Direct(Shout):
        """Never comes to `run`, where the guard is."""

        def invoke(self, input: Any, *_: Any, **__: Any) -> Any:  # noqa: A002  # LangChain's name
            return self._run(str(input))

    with pytest.raises(ConfigurationError):
        secure_tool(Direct())


def test_only_a_tool_can_be_secured() -> None:
    with pytest.raises(ConfigurationError):
        secure_tool(structured)  # type: ignore[type-var]  # the mistake that is tested


def test_a_refusal_is_a_message_where_the_call_has_an_id_and_an_exception_otherwise(make: Make) -> None:
    authority = make(agents={"solo": ["other"]})
    secured = secure_tool(Shout())
    with authority.session(user="alice", agent="solo"):
        for message in both(secured, {"text": "a"}):
            assert isinstance(message, ToolMessage)
            assert (message.status, message.tool_call_id, message.name) == ("error", "c1", "shout")
        with pytest.raises(Denied):
            secured.invoke({"text": "a"})
        with pytest.raises(Denied):
            asyncio.run(secured.ainvoke({"text": "a"}))
    assert len(authority.audit.find(type="tool.denied")) == 4


def test_outside_a_session_nothing_is_executed() -> None:
    ran: list[str] = []
    secured = secure_tool(Tool(name="probe", func=ran.append, description="Probe."))
    for message in both(secured, {"__arg1": "a"}):
        assert message.status == "error"
    with pytest.raises(NoSession):
        secured.invoke("a")
    assert ran == []


def test_what_the_body_does_with_its_own_errors_and_injected_arguments_is_untouched(make: Make) -> None:
    authority = make(agents={"solo": ["fails", "artifact", "injected"]})

    @tool
    def fails() -> str:
        """Fail in a way that LangChain handles."""
        raise ToolException("handled")

    fails.handle_tool_error = True

    @tool(response_format="content_and_artifact")
    def artifact() -> tuple[str, list[int]]:
        """Content and artifact."""
        return "text", [1]

    @tool
    def injected(text: str, call_id: Annotated[str, InjectedToolCallId]) -> str:
        """Show the injected id."""
        return f"{text} {call_id}"

    failing, made, inject = secure_tools([fails, artifact, injected])
    with authority.session(user="alice", agent="solo"):
        assert [(m.content, m.status) for m in both(failing, {})] == [("handled", "error")] * 2
        assert [(m.content, m.artifact) for m in both(made, {})] == [("text", [1])] * 2
        assert [m.content for m in both(inject, {"text": "a"})] == ["a c1"] * 2


def test_a_body_that_fails_is_recorded_as_failed(make: Make, outline: Outline) -> None:
    @tool
    def breaks() -> str:
        """Break."""
        raise ZeroDivisionError

    authority = make(agents={"solo": ["breaks"]})
    with authority.session(user="alice", agent="solo") as session:
        with pytest.raises(ZeroDivisionError):
            secure_tool(breaks).invoke({})
        assert outline(session) == ("solo", [("breaks", "failed")], [])


def reading() -> tuple[BaseTool, list[Any]]:
    seen: list[Any] = []

    @tool
    def read_customers() -> str:
        """Read."""
        access = current_access()
        assert current_access(CRM) is access
        seen.append((access.id, access.resource, access.scopes, current_session().name))
        return "read"

    return read_customers, seen


def test_middleware_and_a_secured_tool_together_permit_once_and_exchange_once(
    make: Make, invoke: Invoke, outline: Outline
) -> None:
    authority = make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})
    plain, seen = reading()
    secured = secure_tool(plain, scopes=["crm:read"], resource=CRM)
    turn = calls(("read_customers", {}, "c1"), ("read_customers", {}, "c2"))
    solo = create_agent(ScriptedModel(steps=[turn, "done"]), [secured], name="solo", middleware=[DeputizeMiddleware()])
    with authority.session(user="alice", agent="solo") as session:
        invoke(solo)
        assert outline(session) == ("solo", [("read_customers", "done")] * 2, [])
    assert len(authority.audit.find(type="exchange.permitted")) == 2
    assert len({access for access, *_ in seen}) == 2
    assert {rest for _, *rest_ in seen for rest in [tuple(rest_)]} == {(CRM, frozenset({"crm:read"}), "solo")}


def test_a_graph_of_ones_own_with_secured_tools_acts_in_the_session_around_it(
    make: Make, invoke: Invoke, outline: Outline
) -> None:
    @tool
    def peek(state: Annotated[dict[str, Any], InjectedState]) -> str:
        """Count the messages."""
        return str(len(state["messages"]))

    def model(state: MessagesState) -> dict[str, Any]:
        if any(isinstance(message, ToolMessage) for message in state["messages"]):
            return {"messages": [AIMessage("done")]}
        return {"messages": [calls(("peek", {}, "c1"), ("shout", {"text": "a"}, "c2"))]}

    def route(state: MessagesState) -> str:
        last = state["messages"][-1]
        return "tools" if isinstance(last, AIMessage) and last.tool_calls else "__end__"

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode(secure_tools([peek, Shout()])))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", route)
    graph.add_edge("tools", "model")
    authority = make(agents={"handmade": ["peek"]})
    with authority.session(user="alice", agent="handmade") as session:
        result = invoke(graph.compile())
        name, called, children = outline(session)
    assert (name, sorted(called), children) == ("handmade", [("peek", "done"), ("shout", "denied")], [])
    answers = {m.tool_call_id: m for m in result["messages"] if isinstance(m, ToolMessage)}
    assert (answers["c1"].content, answers["c1"].status, answers["c2"].status) == ("2", "success", "error")


def test_a_tool_node_may_be_guarded_by_the_middleware_itself(make: Make, outline: Outline) -> None:
    guard = DeputizeMiddleware()
    node = ToolNode([Shout()], wrap_tool_call=guard.wrap_tool_call, awrap_tool_call=guard.awrap_tool_call)
    graph = StateGraph(MessagesState)
    graph.add_node("tools", node)
    graph.add_edge(START, "tools")
    compiled = graph.compile()
    authority = make(agents={"handmade": ["shout"]})
    turn = {"messages": [calls(("shout", {"text": "a"}, "c1"))]}
    with authority.session(user="alice", agent="handmade") as session:
        assert compiled.invoke(turn)["messages"][-1].content == "A!"
        assert asyncio.run(compiled.ainvoke(turn))["messages"][-1].content == "A!"
        assert outline(session) == ("handmade", [("shout", "done")] * 2, [])


def test_a_secured_tool_in_create_react_agent_is_guarded(make: Make, invoke: Invoke, outline: Outline) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still what langgraph-supervisor uses
        from langgraph.prebuilt import create_react_agent

        graph = create_react_agent(
            ScriptedModel(steps=[calls(("shout", {"text": "a"}, "c1")), "done"]), [secure_tool(Shout())]
        )
    authority = make(agents={"solo": ["shout"]})
    with authority.session(user="alice", agent="solo") as session:
        invoke(graph)
        assert outline(session) == ("solo", [("shout", "done")], [])


def test_a_tool_that_a_tool_calls_is_a_call_of_its_own(make: Make, outline: Outline) -> None:
    inner = secure_tool(Shout())

    @tool
    def outer(text: str) -> str:
        """Call the other tool."""
        return str(inner.invoke({"text": text}))

    authority = make(agents={"solo": ["outer", "shout"], "half": ["outer"]})
    with authority.session(user="alice", agent="solo") as session:
        assert secure_tool(outer).invoke({"text": "a"}) == "A!"
        assert outline(session) == ("solo", [("outer", "done"), ("shout", "done")], [])
    with authority.session(user="alice", agent="half") as session:
        with pytest.raises(Denied):
            secure_tool(outer).invoke({"text": "a"})
        assert outline(session) == ("half", [("outer", "failed"), ("shout", "denied")], [])


def test_an_unguarded_tool_inside_a_guarded_one_of_the_same_name_is_refused(make: Make) -> None:
    ran: list[str] = []

    @tool("same")
    def hidden() -> str:
        """The unguarded one."""
        ran.append("ran")
        return "ran"

    @tool("same")
    def outer() -> str:
        """The guarded one."""
        return str(hidden.invoke({"name": "same", "args": {}, "id": "c1", "type": "tool_call"}).content)

    authority = make(agents={"solo": ["same"]})
    with authority.session(user="alice", agent="solo"):
        message = secure_tool(outer).invoke({"name": "same", "args": {}, "id": "c1", "type": "tool_call"})
    assert "tool_unguarded" in str(message.content)
    assert ran == []


def test_a_tool_node_that_tells_the_model_of_errors_tells_it_no_more_than_we_do(make: Make) -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([Shout()], handle_tool_errors=True))
    graph.add_edge(START, "tools")
    authority = make(agents={"solo": ["shout"]})
    with authority.session(user="alice", agent="solo"):
        said = graph.compile().invoke({"messages": [calls(("shout", {"text": "a"}, "c1"))]})["messages"][-1].content
    assert "tool_unguarded" in said
    assert all(word not in said for word in ("alice", "DeputizeMiddleware", "secure_tool"))
