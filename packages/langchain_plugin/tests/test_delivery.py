"""A tool that an MCP adapter made calls a server elsewhere: with the token of its call, or not at all."""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import BaseTool, StructuredTool

from deputize import Authority
from deputize.errors import NoSession
from langchain_deputize import (
    DeputizeAuth,
    DeputizeMiddleware,
    Undeliverable,
    current_access,
    current_session,
    secure_tool,
)
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
CRM = "https://crm.example/mcp"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def by_adapter(sent: list[int], *, module: str = "langchain_mcp_adapters.tools", **held: object) -> BaseTool:
    """A tool as the adapters make them: a coroutine of theirs that holds what it sends over."""
    session, connection, client = (held.get(name) for name in ("session", "connection", "client"))

    async def call_tool(n: int) -> str:
        sent.append(n)
        return f"{session}{connection}{client}"

    call_tool.__module__ = module
    return StructuredTool(name="read", description="Read.", args_schema=SCHEMA, coroutine=call_tool)


@pytest.fixture
def authority(make: Make) -> Authority:
    return make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})


@pytest.mark.requirement("I4")
@pytest.mark.parametrize("guard", ["middleware", "secure_tool"])
@pytest.mark.parametrize(
    ("module", "held"),
    [
        ("langchain_mcp_adapters.tools", {"connection": {"transport": "streamable_http", "url": CRM}}),
        ("langchain_mcp_adapters.tools", {"connection": {"transport": "stdio"}, "auth": True}),
        ("langchain_mcp_adapters.tools", {"session": object()}),
        ("langchain.mcp.tools", {"client": object()}),
        ("langchain.mcp.of_a_later_release", {}),
    ],
    ids=["a session per call", "stdio", "a persistent session", "langchain.mcp", "unknown"],
)
def test_a_call_that_would_go_out_without_its_token_is_refused_and_recorded(
    authority: Authority, guard: str, module: str, held: dict[str, Any]
) -> None:
    sent: list[int] = []
    if held.pop("auth", False):
        held["connection"] = {**held["connection"], "auth": DeputizeAuth()}
    plain = by_adapter(sent, module=module, **held)
    tool = secure_tool(plain, scopes=["crm:read"], resource=CRM)
    # Middleware reads from the secured tool what it needs, and asks in its place.
    middleware = [DeputizeMiddleware()] if guard == "middleware" else []
    steps = [calls(("read", {"n": 1}, "c1"), ("read", {"n": 2}, "c2")), "done"]
    agent = create_agent(ScriptedModel(steps=steps), [tool], name="solo", middleware=middleware)
    with authority.session(user="alice", agent="solo") as session:
        messages = asyncio.run(agent.ainvoke({"messages": [("user", "go")]}))["messages"]
        tree = session.tree().to_dict()
    assert sent == []
    answers = [message for message in messages if message.type == "tool"]
    assert [(answer.status, answer.content.split(" ")[1]) for answer in answers] == [("error", "undeliverable")] * 2
    assert [(call["tool"], call["outcome"]) for call in tree["calls"]] == [("read", "failed"), ("read", "failed")]
    failed = [row for row in authority.audit if row["type"] == "tool.failed"]
    assert {row["detail"]["error"] for row in failed} == {"Undeliverable"}
    assert [row["type"] for row in authority.audit if str(row["type"]).startswith("exchange.")] == []


@pytest.mark.requirement("I4")
@pytest.mark.parametrize(
    "url",
    [
        "https://crm.example:444/mcp",
        "http://crm.example/mcp",
        "https://evil.example/mcp",
        "https://crm.example@evil.example/",
        "",
        "https://[::1",
        None,
    ],
)
def test_a_connection_that_goes_elsewhere_than_to_the_tools_resource_is_refused(authority: Authority, url: Any) -> None:
    sent: list[int] = []
    over = {"transport": "streamable_http", "url": url, "auth": DeputizeAuth()}
    tool = secure_tool(by_adapter(sent, connection=over), scopes=["crm:read"], resource=CRM)
    with authority.session(user="alice", agent="solo") as session:
        with pytest.raises(Undeliverable):
            asyncio.run(tool.ainvoke({"n": 1}))
        assert current_session() is session
        with pytest.raises(NoSession):
            current_access()  # the refused call is over
    assert sent == []


@pytest.mark.requirement("I4")
def test_a_call_whose_token_is_refused_is_not_sent(make: Make) -> None:
    sent: list[int] = []
    authority = make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})
    over = {"transport": "streamable_http", "url": CRM, "auth": DeputizeAuth()}
    tool = secure_tool(by_adapter(sent, connection=over), scopes=["crm:read"], resource=CRM)

    class Ends(AgentMiddleware[Any, Any, Any]):
        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            authority.revoke(user="local|alice", reason="it ends here")
            return await handler(request)

    steps = [calls(("read", {"n": 1}, "c1")), "done"]
    agent = create_agent(ScriptedModel(steps=steps), [tool], name="solo", middleware=[Ends()])
    with authority.session(user="alice", agent="solo"):
        messages = asyncio.run(agent.ainvoke({"messages": [("user", "go")]}))["messages"]
    assert sent == []
    assert [message.status for message in messages if message.type == "tool"] == ["error"]


def test_the_error_has_a_type_a_code_and_says_what_would_be_enough(authority: Authority) -> None:
    tool = secure_tool(by_adapter([], session=object()), scopes=["crm:read"], resource=CRM)
    with authority.session(user="alice", agent="solo"), pytest.raises(Undeliverable) as refusal:
        asyncio.run(tool.ainvoke({"n": 1}))
    assert refusal.value.code == "undeliverable"
    assert "DeputizeAuth" in refusal.value.denial.enough


def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    async def call(**arguments: object) -> object:
        return await function(**arguments)

    return call


@pytest.mark.parametrize("wrap", [functools.partial, wrapped])
def test_a_wrapper_around_the_adapters_function_hides_nothing(authority: Authority, wrap: Any) -> None:
    sent: list[int] = []
    tool = by_adapter(sent, session=object())
    tool = tool.model_copy(update={"coroutine": wrap(tool.coroutine)})  # type: ignore[attr-defined]  # a StructuredTool
    with authority.session(user="alice", agent="solo"), pytest.raises(Undeliverable):
        asyncio.run(secure_tool(tool, scopes=["crm:read"], resource=CRM).ainvoke({"n": 1}))
    assert sent == []


def test_a_connection_with_our_auth_delivers(authority: Authority) -> None:
    sent: list[int] = []
    over = {"transport": "streamable_http", "url": CRM, "auth": DeputizeAuth()}
    tool = secure_tool(by_adapter(sent, connection=over), scopes=["crm:read"], resource=CRM)
    with authority.session(user="alice", agent="solo"):
        asyncio.run(tool.ainvoke({"n": 1}))
    assert sent == [1]


def test_a_tool_that_is_registered_as_local_needs_no_token(make: Make) -> None:
    sent: list[int] = []
    authority = make(agents={"solo": ["read"]})
    with authority.session(user="alice", agent="solo"):
        asyncio.run(secure_tool(by_adapter(sent, session=object())).ainvoke({"n": 1}))
    assert sent == [1]
