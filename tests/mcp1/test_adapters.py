"""langchain-mcp-adapters against a real server: the token of its own call with each request, or nothing is sent."""

import asyncio
import copy
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import BaseTool
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from deputize import Authority
from deputize.errors import NoSession
from langchain_deputize import (
    DeputizeAuth,
    DeputizeMiddleware,
    current_access,
    mcp_interceptor,
    secure_mcp_session,
    secure_tools,
)
from langchain_deputize.handles import waiting
from langchain_deputize.testing import ScriptedModel, calls

Serve = Callable[..., Any]
Tools = list[BaseTool]


class Notes(AgentMiddleware[Any, Any, Any]):
    """Inside the guard: writes down which token is which call's."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[int, str] = {}
        self.told = ""  # all that the run's messages and its trace hold

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.tokens[request.tool_call["args"]["n"]] = current_access().id
        return await handler(request)


def client(url: str, *, interceptors: list[Any] | None = None, **connection: Any) -> MultiServerMCPClient:
    held: Any = {"transport": "streamable_http", "url": url, **connection}
    return MultiServerMCPClient({"crm": held}, tool_interceptors=interceptors or [])


@asynccontextmanager
async def per_call(url: str, **how: Any) -> AsyncIterator[Tools]:
    yield await client(url, **how).get_tools()


@asynccontextmanager
async def persistent(url: str, *, secured: bool = True, **how: Any) -> AsyncIterator[Tools]:
    async with client(url, **how).session("crm") as session:
        yield await load_mcp_tools(secure_mcp_session(session) if secured else session)


async def three_calls(authority: Authority, url: str, connect: Any) -> tuple[Notes, list[Any], list[str]]:
    """The notes of three calls at once, their answers, and how the record says that they went."""
    notes = Notes()
    model = ScriptedModel(steps=[calls(*[("read", {"n": n}, f"c{n}") for n in range(3)]), "done"])
    async with await authority.asession(user="alice", agent="solo") as session, connect as tools:
        secured = secure_tools(tools, scopes=["crm:read"], resource=url)
        agent = create_agent(model, secured, name="solo", middleware=[DeputizeMiddleware(), notes])
        traced = RunCollectorCallbackHandler()
        messages = (await agent.ainvoke({"messages": [("user", "go")]}, {"callbacks": [traced]}))["messages"]
        notes.told = repr(messages) + "".join(run.model_dump_json() for run in traced.traced_runs)
        outcomes = [call["outcome"] for call in (await session.atree()).to_dict()["calls"]]
    return notes, [message for message in messages if message.type == "tool"], outcomes


def authority_for(url: str) -> Authority:
    return Authority(agents={"solo": ["crm:read"]}, resources={url: ["crm:read"]})


@pytest.mark.requirement("I4")
@pytest.mark.parametrize("way", ["interceptor", "auth", "persistent"])
async def test_three_calls_at_once_carry_each_the_token_of_its_own(serve: Serve, way: str) -> None:
    server = serve(together=3, strict=way != "interceptor")
    auth = DeputizeAuth(server.url, discovery=["crm:read"])
    connect = {
        "interceptor": per_call(server.url, interceptors=[mcp_interceptor()]),
        "auth": per_call(server.url, auth=auth),
        "persistent": persistent(server.url, auth=auth),
    }[way]
    with authority_for(server.url) as authority:
        notes, answers, outcomes = await three_calls(authority, server.url, connect)
    assert [answer.status for answer in answers] == ["success"] * 3
    assert outcomes == ["done"] * 3
    assert len(set(notes.tokens.values())) == 3
    assert dict(server.calls) == notes.tokens
    assert "read" in notes.told
    assert len(server.tokens) >= 3
    assert [token for token in server.tokens if token and token in notes.told] == []
    assert waiting() == 0


@pytest.mark.requirement("I4")
@pytest.mark.parametrize(
    "connect",
    [
        per_call,
        lambda url: per_call(url, headers={"Authorization": "Bearer e30.eyJqdGkiOiJzdGF0aWMifQ."}),
        lambda url: per_call(url, interceptors=[mcp_interceptor(), passes_on]),
        lambda url: per_call(
            url, interceptors=[mcp_interceptor()], headers={"authorization": "Bearer e30.eyJqdGkiOiJzdGF0aWMifQ."}
        ),
        persistent,
        lambda url: persistent(url, secured=False),
        lambda url: persistent(url, secured=False, interceptors=[mcp_interceptor()]),
    ],
    ids=[
        "a session per call",
        "a token of the host's own",
        "an interceptor behind ours",
        "ours and a token of the host's own",
        "a persistent session without our auth",
        "a persistent session that is not secured",
        "an interceptor over a persistent session",
    ],
)
async def test_a_call_that_would_not_carry_its_token_is_never_sent(serve: Serve, connect: Any) -> None:
    server = serve()
    with authority_for(server.url) as authority:
        _, answers, outcomes = await three_calls(authority, server.url, connect(server.url))
    assert server.calls == []
    assert [(answer.status, answer.content.split(" ")[1]) for answer in answers] == [("error", "undeliverable")] * 3
    assert outcomes == ["failed"] * 3


async def passes_on(request: Any, handler: Any) -> Any:
    return await handler(request.override(headers={}))


@pytest.mark.requirement("I4")
@pytest.mark.parametrize("way", ["interceptor", "auth", "persistent"])
async def test_a_server_that_lists_a_tool_of_another_gets_no_token_for_that(serve: Serve, way: str) -> None:
    evil, crm = serve(), "https://crm.example/mcp"
    connect = {
        "interceptor": per_call(evil.url, interceptors=[mcp_interceptor()]),
        "auth": per_call(evil.url, auth=Lenient()),
        "persistent": persistent(evil.url, auth=Lenient()),
    }[way]
    with authority_for(crm) as authority:
        _, answers, outcomes = await three_calls(authority, crm, connect)
    assert evil.calls == []
    assert {token for _, token in evil.requests} == {None}
    assert [answer.status for answer in answers] == ["error"] * 3
    assert outcomes == ["failed"] * 3


class Lenient(DeputizeAuth):
    """As a host may have it that lists tools of a server which wants no token for that."""

    async def async_auth_flow(self, request: Any) -> Any:
        if b"tools/call" not in await request.aread() and b"deputize/call" not in request.content:
            yield request
            return
        flow = super().async_auth_flow(request)
        async for outgoing in flow:
            yield outgoing


@pytest.mark.parametrize("connect", [per_call, persistent])
async def test_a_refused_token_is_told_to_the_model_and_nothing_is_sent(serve: Serve, connect: Any) -> None:
    server = serve()
    with authority_for(server.url) as authority:
        auth = DeputizeAuth(server.url, discovery=["crm:read"])

        @asynccontextmanager
        async def revoked_after_listing() -> AsyncIterator[Tools]:
            async with connect(server.url, auth=auth) as tools:
                authority.revoke(user="local|alice", reason="it ends here")
                yield tools

        _, answers, _ = await three_calls(authority, server.url, revoked_after_listing())
    assert server.calls == []
    assert [answer.status for answer in answers] == ["error"] * 3


async def test_without_discovery_scopes_nothing_is_listed_outside_a_call(serve: Serve) -> None:
    server = serve(strict=True)
    with authority_for(server.url) as authority:
        async with await authority.asession(user="alice", agent="solo"):
            with pytest.raises(BaseException) as refusal:  # anyio wraps it in groups
                await client(server.url, auth=DeputizeAuth(server.url)).get_tools()
    assert isinstance(_innermost(refusal.value), NoSession)
    assert server.requests == []


async def call_outside_a_tool(url: str, auth: DeputizeAuth) -> None:
    async with client(url, auth=auth).session("crm") as session:
        await session.list_tools()
        await asyncio.wait_for(session.call_tool("read", {"n": 1}), 20)


async def test_a_discovery_token_calls_no_tool(serve: Serve) -> None:
    server = serve()
    auth = DeputizeAuth(server.url, discovery=["crm:read"])
    with authority_for(server.url) as authority:
        async with await authority.asession(user="alice", agent="solo"):
            with pytest.raises(BaseException) as refusal:  # as above
                await call_outside_a_tool(server.url, auth)
    assert isinstance(_innermost(refusal.value), NoSession)
    assert server.calls == []


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


STDIO = """
from mcp.server.fastmcp import FastMCP
mcp = FastMCP("crm")
@mcp.tool()
def read(n: int) -> str:
    open({path!r}, "w").write("called")
    return str(n)
mcp.run("stdio")
"""


async def test_stdio_carries_no_token_and_is_refused(tmp_path: Any) -> None:
    called, script = tmp_path / "called", tmp_path / "server.py"
    script.write_text(STDIO.format(path=str(called)), encoding="utf-8")
    url = "https://crm.example/mcp"
    held: Any = {"transport": "stdio", "command": sys.executable, "args": [str(script)]}
    for secured in (True, False):
        with authority_for(url) as authority:
            async with MultiServerMCPClient({"crm": held}).session("crm") as session:
                tools = await load_mcp_tools(secure_mcp_session(session) if secured else session)
                _, answers, outcomes = await three_calls(authority, url, _ready(tools))
        assert outcomes == ["failed"] * 3
        assert {answer.status for answer in answers} == {"error"}
    assert not called.exists()


@asynccontextmanager
async def _ready(tools: Tools) -> AsyncIterator[Tools]:
    yield tools


@pytest.mark.parametrize("way", ["interceptor", "auth", "persistent"])
async def test_a_key_bound_token_goes_with_a_proof_for_each_request_or_not_at_all(
    serve: Serve, tmp_path: Any, way: str
) -> None:
    server = serve(together=3)
    file = tmp_path / "deputize.toml"
    file.write_text(
        f"""
        version = 1
        [authority]
        users = "unrestricted"
        [store]
        url = "sqlite::memory:"
        [resources.crm]
        url = "{server.url}"
        scopes = ["crm:read"]
        binding = "dpop"
        [agents.solo]
        open = true
        use = {{ crm = ["crm:read"] }}
        """,
        encoding="utf-8",
    )
    auth = DeputizeAuth("crm", discovery=["crm:read"])
    connect = {
        "interceptor": per_call(server.url, interceptors=[mcp_interceptor()]),
        "auth": per_call(server.url, auth=auth),
        "persistent": persistent(server.url, auth=auth),
    }[way]
    with Authority.open(file) as authority:
        notes, _, outcomes = await three_calls(authority, server.url, connect)
    if way == "interceptor":
        assert server.calls == []
        assert outcomes == ["failed"] * 3
    else:
        assert dict(server.calls) == notes.tokens
        assert outcomes == ["done"] * 3
        proofs = [proof for proof in server.proofs if proof is not None]
        assert len(proofs) >= 3
        assert len(set(proofs)) == len(proofs)


async def test_a_wrapped_session_is_the_session_in_all_else(serve: Serve) -> None:
    server = serve()
    async with client(server.url).session("crm") as session:
        secured = secure_mcp_session(session)
        assert [tool.name for tool in (await secured.list_tools()).tools] == ["read"]
        assert (await secured.send_ping()) is not None
        with pytest.raises(NoSession):
            await secured.call_tool("read", {"n": 1})
        with pytest.raises(AttributeError):
            copy.copy(secured).no_such_member  # noqa: B018  # a copy is asked before it has anything
    assert server.calls == []
