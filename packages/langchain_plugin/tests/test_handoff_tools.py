"""Which tools `delegate` alone governs; everything else, however it looks, needs `use`."""

import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from deputize import Authority, Session
from deputize.errors import Denied, InvalidRequest
from deputize.runtime import current_access
from langchain_deputize import DeputizeCallbackHandler, DeputizeMiddleware, secure_tool
from langchain_deputize.handler import HANDOFF
from langchain_deputize.handoffs import HandOffTool, hand_off_of
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
Invoke = Callable[..., Any]
Outline = Callable[..., Any]


@pytest.fixture
def session(make: Make) -> Session:
    authority = make(
        agents={"boss": ["known"], "research": ["add"], "writer": ["add"]}, delegations={"boss": ["research"]}
    )
    return authority.session(user="alice", agent="boss")


def recognised(a_tool: BaseTool, session: Session, **args: object) -> HandOffTool | None:
    return hand_off_of(a_tool, a_tool.name, args, session)


def test_a_command_that_names_its_agent_in_the_code_is_a_hand_off(session: Session) -> None:
    @tool
    def transfer() -> Command[Any]:
        """Hand on."""
        return Command(goto="research", graph=Command.PARENT)

    assert recognised(transfer, session) == HandOffTool(to=("research",), nodes=frozenset({"research"}))


def test_a_command_that_names_its_agent_in_a_closure_is_a_hand_off(session: Session) -> None:
    def transfer_to(name: str) -> BaseTool:
        @tool(f"transfer_to_{name}")
        def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
            """Hand on."""
            return Command(goto=name, graph=Command.PARENT, update={"by": tool_call_id})

        return transfer

    assert recognised(transfer_to("writer"), session) == HandOffTool(to=("writer",), nodes=frozenset({"writer"}))


def test_a_command_that_names_its_agent_in_its_type_is_a_hand_off(session: Session) -> None:
    @tool
    def transfer(agent: str) -> Command[Literal["research", "writer"]]:
        """Hand on."""
        return Command(goto=agent, graph=Command.PARENT)  # type: ignore[arg-type]  # chosen by the model

    found = recognised(transfer, session, agent="research")
    assert found is not None
    assert found.to == ("research", "writer")


def test_metadata_alone_makes_no_hand_off_for_a_server_may_have_written_it(session: Session) -> None:
    @tool
    def remote(query: str) -> str:
        """A tool whose metadata came from elsewhere."""
        return query

    remote.metadata = {HANDOFF: "research"}
    assert recognised(remote, session) is None


def test_a_tool_that_only_updates_the_state_is_no_hand_off(session: Session) -> None:
    @tool
    def save(note: str) -> Command[Any]:
        """Keep a note."""
        return Command(update={"note": note, "for": "research"})

    assert recognised(save, session) is None


def test_a_name_that_the_registry_knows_as_a_tool_is_no_hand_off(session: Session) -> None:
    @tool
    def known() -> Command[Any]:
        """Hand on."""
        return Command(goto="research", graph=Command.PARENT)

    assert recognised(known, session) is None


def test_a_plain_function_around_an_agent_is_a_tool_until_it_is_declared(session: Session) -> None:
    @tool
    def ask_research(question: str) -> str:
        """Ask."""
        return question

    assert recognised(ask_research, session) is None
    declared = hand_off_of(ask_research, "ask_research", {}, session, declared=("research",))
    assert declared == HandOffTool(to=("research",))


def test_an_agent_made_a_tool_by_langchain_is_a_hand_off_to_that_agent(session: Session, add: BaseTool) -> None:
    model = ScriptedModel(steps=["done"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as_tool is beta
        named = create_agent(model, [add], name="research").as_tool(
            name="r", description="d", arg_types={"messages": list}
        )
        unnamed = create_agent(model, [add]).as_tool(name="u", description="d", arg_types={"messages": list})
    assert recognised(named, session) == HandOffTool(to=("research",))
    assert recognised(unnamed, session) is None


def run_tool(
    a_tool: BaseTool, authority: Authority, invoke: Invoke, args: dict[str, Any]
) -> tuple[Session, ToolMessage]:
    boss = create_agent(
        ScriptedModel(steps=[calls((a_tool.name, args, "c1")), "done"]),
        [a_tool],
        name="boss",
        middleware=[DeputizeMiddleware()],
    )
    with authority.session(user="alice", agent="boss") as session:
        result = invoke(boss)
    return session, next(message for message in result["messages"] if isinstance(message, ToolMessage))


def test_a_hand_off_that_brings_a_result_instead_is_withheld(make: Make, invoke: Invoke) -> None:
    authority = make(agents={"boss": ["x"], "research": ["add"]}, delegations={"boss": ["research"]})

    @tool
    def transfer(leak: bool) -> Command[Any]:
        """Pretend to hand on."""
        if leak:
            return "the whole table"  # type: ignore[return-value]  # the lie that is tested
        return Command(goto="research", graph=Command.PARENT)

    session, message = run_tool(transfer, authority, invoke, {"leak": True})
    assert message.status == "error"
    assert "the whole table" not in str(message)
    assert "handoff_mismatch" in str(message.content)
    assert session.tree().calls[0].outcome == "failed"


def test_a_hand_off_elsewhere_than_it_named_is_withheld(make: Make, invoke: Invoke) -> None:
    authority = make(
        agents={"boss": ["x"], "research": ["add"], "writer": ["add"]}, delegations={"boss": ["research", "writer"]}
    )

    @tool
    def transfer(to: str) -> Command[Any]:
        """Hand on to research, says the code; to whom the model likes, does the code."""
        return Command(goto=to or "research", graph=Command.PARENT)

    _, message = run_tool(transfer, authority, invoke, {"to": "writer"})
    assert "handoff_mismatch" in str(message.content)


def test_a_hand_off_tool_gets_no_access(make: Make, invoke: Invoke) -> None:
    crm = "https://crm.example/mcp"
    authority = make(
        agents={"boss": ["crm:read"], "research": ["crm:read"]},
        resources={crm: ["crm:read"]},
        delegations={"boss": ["research"]},
    )

    @tool
    def transfer() -> str:
        """Try to use what it may only pass on."""
        return current_access(crm).reveal()

    with authority.session(user="alice", agent="boss"), pytest.raises(InvalidRequest):
        secure_tool(transfer, handoff_to="research").invoke({})


@pytest.mark.requirement("I1")
def test_a_declared_hand_off_needs_delegate_and_nothing_else(make: Make, invoke: Invoke, outline: Outline) -> None:
    ran: list[str] = []

    @tool
    def ask(question: str) -> str:
        """Ask."""
        ran.append(question)
        return "asked"

    secured = secure_tool(ask, handoff_to="research")
    may = make(agents={"boss": [], "research": ["add"]}, delegations={"boss": ["research"]})
    session, message = run_tool(secured, may, invoke, {"question": "?"})
    assert (message.content, outline(session)) == ("asked", ("boss", [("ask", "done")], []))
    may_not = make(agents={"boss": ["x"], "research": ["add"]})
    session, message = run_tool(secured, may_not, invoke, {"question": "?"})
    assert (message.status, outline(session)) == ("error", ("boss", [("ask", "denied")], []))
    assert ran == ["?"]


def test_an_undeclared_function_around_an_agent_is_refused_unless_use_permits_it(make: Make, invoke: Invoke) -> None:
    @tool
    def ask(question: str) -> str:
        """Ask."""
        return question

    may_not = make(agents={"boss": ["x"], "research": ["add"]}, delegations={"boss": ["research"]})
    assert run_tool(ask, may_not, invoke, {"question": "?"})[1].status == "error"
    may = make(agents={"boss": ["ask"], "research": ["add"]}, delegations={"boss": ["research"]})
    assert run_tool(ask, may, invoke, {"question": "?"})[1].content == "?"


def test_an_unguarded_tool_is_not_let_through_for_what_its_metadata_says(make: Make, invoke: Invoke) -> None:
    """The backstop lets langgraph-supervisor's own tools pass; those take no argument and result in a hand-off."""
    ran: list[str] = []

    @tool
    def remote(query: str) -> str:
        """A tool whose metadata came from elsewhere."""
        ran.append(query)
        return "data"

    @tool
    def silent() -> str:
        """The same without arguments."""
        return "data"

    remote.metadata = silent.metadata = {HANDOFF: "research"}
    authority = make(agents={"boss": ["x"], "research": ["add"]}, delegations={"boss": ["research"]})
    for name, args in (("remote", {"query": "?"}), ("silent", {})):
        boss = create_agent(ScriptedModel(steps=[calls((name, args, "c1")), "done"]), [remote, silent], name="boss")
        with authority.session(user="alice", agent="boss"), pytest.raises(Denied) as refusal:
            invoke(boss)
        assert refusal.value.code == "tool_unguarded"
    assert ran == []


@pytest.mark.parametrize(("name", "destination"), [("silent", "nobody"), ("known", "research")])
def test_a_tool_that_says_it_hands_off_and_can_not_is_stopped_before_it_runs(
    make: Make, invoke: Invoke, name: str, destination: str
) -> None:
    """To no agent; or under a name that the registry knows as a tool."""
    ran: list[str] = []

    def body() -> str:
        ran.append(name)
        return "data"

    authority = make(agents={"boss": ["known"], "research": ["add"]}, delegations={"boss": ["research"]})
    unguarded = StructuredTool.from_function(body, name=name, description="Data.", metadata={HANDOFF: destination})
    boss = create_agent(ScriptedModel(steps=[calls((name, {}, "c1")), "done"]), [unguarded], name="boss")
    with authority.session(user="alice", agent="boss"), pytest.raises(Denied) as refusal:
        invoke(boss)
    assert refusal.value.code == "tool_unguarded"
    assert ran == []


def test_a_graph_node_may_bear_another_name_than_its_agent(
    make: Make, invoke: Invoke, outline: Outline, add: BaseTool
) -> None:
    @tool
    def transfer() -> Command[Any]:
        """Hand on."""
        return Command(goto="desk_two", graph=Command.PARENT)

    boss = create_agent(
        ScriptedModel(steps=[calls(("transfer", {}, "h"))]), [transfer], name="boss", middleware=[DeputizeMiddleware()]
    )
    worker = create_agent(
        ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, "c")), "done"], speaker="research"),
        [add],
        name="research",
        middleware=[DeputizeMiddleware()],
    )
    graph = StateGraph(MessagesState)
    graph.add_node("boss", boss, destinations=("desk_two",))
    graph.add_node("desk_two", worker)
    graph.add_edge(START, "boss")
    authority = make(agents={"boss": [], "research": ["add"]}, delegations={"boss": ["research"]})
    handler = DeputizeCallbackHandler(agents={"desk_two": "research"})
    with authority.session(user="alice", agent="boss") as session:
        invoke(graph.compile(), callbacks=[handler])
        assert outline(session)[2] == [("research", [("add", "done")], [])]
