"""`langchain.mcp` against a real server, on MCP's second SDK: the token of its own call with each request."""

import asyncio
import base64
import json
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware

from deputize import Authority
from langchain_deputize import DeputizeAuth, DeputizeMiddleware, current_access, secure_tools
from langchain_deputize.testing import ScriptedModel, calls

pytest.importorskip("fastmcp", reason="langchain.mcp stands on it")
uvicorn = pytest.importorskip("uvicorn")

Make = Callable[..., Authority]


class Server:
    """ASGI around an MCP server on the loopback: writes down each call, lets nothing without a token through."""

    def __init__(self) -> None:
        from fastmcp import FastMCP

        self.calls: dict[int, str | None] = {}
        self.open = False  # a request without a token is let through
        self._all_there = all_there = asyncio.Event()
        mcp = FastMCP("crm")

        @mcp.tool
        async def read(n: int) -> str:
            """Read; answers once three calls are there."""
            await all_there.wait()
            return str(n)

        self._app: Callable[..., Awaitable[None]] = mcp.http_app()
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        self._http = uvicorn.Server(
            uvicorn.Config(self, log_level="error", timeout_graceful_shutdown=1, ws="none", lifespan="on")
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._http.serve([listening])), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.should_exit = True
        self._thread.join()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if token is None and not self.open:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        message = await receive()
        body = json.loads(message["body"] or "{}") if message.get("body") else {}
        if body.get("method") == "tools/call":
            self.calls[body["params"]["arguments"]["n"]] = _jti(token)
            if len(self.calls) == 3:
                self._all_there.set()
        first = [message]

        async def again() -> Any:
            return first.pop() if first else await receive()

        await self._app(scope, again, send)


def _jti(token: bytes | None) -> str | None:
    if token is None:
        return None
    payload = token.rpartition(b" ")[2].split(b".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))["jti"])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


class Notes(AgentMiddleware[Any, Any, Any]):
    """Inside the guard: writes down which token is which call's."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[int, str] = {}

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        self.tokens[request.tool_call["args"]["n"]] = current_access().id
        return await handler(request)


@asynccontextmanager
async def adapter(target: Any) -> AsyncIterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is in beta
        from langchain.mcp import MCPAdapter
    async with MCPAdapter(target) as open_client:
        yield open_client


async def three_calls(authority: Authority, url: str, target: Any, name: str = "read") -> tuple[Any, Any, Any]:
    """The tokens of three calls at once over one open client, their answers, and how the record says they went."""
    notes = Notes()
    model = ScriptedModel(steps=[calls(*[(name, {"n": n}, f"c{n}") for n in range(3)]), "done"])
    async with await authority.asession(user="alice", agent="solo") as session, adapter(target) as client:
        tools = secure_tools(await client.list_tools(), scopes=["crm:read"], resource=url, name="read")
        agent = create_agent(model, tools, name="solo", middleware=[DeputizeMiddleware(), notes])
        messages = (await agent.ainvoke({"messages": [("user", "go")]}))["messages"]
        outcomes = [call["outcome"] for call in (await session.atree()).to_dict()["calls"]]
    return notes.tokens, [message for message in messages if message.type == "tool"], outcomes


@pytest.mark.requirement("I4")
async def test_three_calls_at_once_on_one_open_client_carry_each_the_token_of_its_own(
    make: Make, server: Server
) -> None:
    from fastmcp import Client
    from fastmcp.client.transports import StreamableHttpTransport

    authority = make(agents={"solo": ["crm:read"]}, resources={server.url: ["crm:read"]})
    auth = DeputizeAuth(server.url, discovery=["crm:read"])
    target = Client(StreamableHttpTransport(server.url, auth=auth))
    tokens, answers, outcomes = await three_calls(authority, server.url, target)
    assert [answer.status for answer in answers] == ["success"] * 3
    assert outcomes == ["done"] * 3
    assert len(set(tokens.values())) == 3
    assert server.calls == tokens


@pytest.mark.requirement("I4")
@pytest.mark.parametrize("auth", [None, "a-token-of-the-hosts-own"])
async def test_a_client_without_our_auth_is_refused_and_its_calls_are_not_sent(
    make: Make, server: Server, auth: str | None
) -> None:
    from fastmcp import Client
    from fastmcp.client.transports import StreamableHttpTransport

    server.open = True
    authority = make(agents={"solo": ["crm:read"]}, resources={server.url: ["crm:read"]})
    target = Client(StreamableHttpTransport(server.url, auth=auth))
    _, answers, outcomes = await three_calls(authority, server.url, target)
    assert server.calls == {}
    assert [(answer.status, answer.content.split(" ")[1]) for answer in answers] == [("error", "undeliverable")] * 3
    assert outcomes == ["failed"] * 3


@pytest.mark.requirement("I4")
async def test_in_a_group_each_server_needs_our_auth_for_its_own_tools(make: Make, server: Server) -> None:
    from fastmcp import Client
    from fastmcp.client.group import ClientGroup
    from fastmcp.client.transports import StreamableHttpTransport

    server.open = True
    authority = make(agents={"solo": ["crm:read"]}, resources={server.url: ["crm:read"]})
    carries = Client(StreamableHttpTransport(server.url, auth=DeputizeAuth(server.url, discovery=["crm:read"])))
    other = Client(StreamableHttpTransport(server.url))
    for name, sent in (("other_read", 0), ("crm_read", 3)):
        group = ClientGroup({"crm": carries, "other": other})
        tokens, _, outcomes = await three_calls(authority, server.url, group, name)
        assert outcomes == ["done" if sent else "failed"] * 3
        assert len(server.calls) == sent
        assert not sent or server.calls == tokens
