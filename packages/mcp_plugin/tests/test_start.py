"""What a guard reads from the application it wraps, and what stops it from starting."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client.client import Client
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

from deputize import Authority
from deputize.errors import ConfigurationError, NoSession
from deputize_mcp import AgentGuard, TokenExchangeAuth, requires
from deputize_mcp.declared import declared_scopes

RESOURCE = "https://crm.example/mcp"


def server(*scopes: str, name: str = "drop") -> MCPServer:
    mcp = MCPServer("crm", log_level="CRITICAL")

    @mcp.tool(name=name)
    @requires(*scopes)
    async def drop(table: str) -> str:
        return table

    @mcp.tool()
    def plain() -> str:
        return "plain"

    return mcp


def test_what_requires_says_is_found_under_the_tools_own_name() -> None:
    app = server("crm:write", name="drop_table").streamable_http_app()
    assert declared_scopes(app) == {"drop_table": {"crm:write"}}


def test_what_requires_says_is_found_below_mounts_and_middleware() -> None:
    inner = server("crm:write").streamable_http_app()
    app = Starlette(
        routes=[Mount("/api", inner), Mount("/v2", server("crm:admin", name="other").streamable_http_app())],
        middleware=[Middleware(CORSMiddleware, allow_origins=["*"])],
    )
    assert declared_scopes(app) == {"drop": {"crm:write"}, "other": {"crm:admin"}}


def test_two_servers_that_differ_about_a_name_need_both() -> None:
    routes = [Mount(path, server(scope).streamable_http_app()) for path, scope in (("/a", "a"), ("/b", "b"))]
    assert declared_scopes(Starlette(routes=routes)) == {"drop": {"a", "b"}}


def test_an_application_without_servers_declares_nothing() -> None:
    class Loop:
        app: Any

    loop = Loop()
    loop.app = loop
    assert declared_scopes(loop) == {}


def test_a_function_keeps_its_signature_under_requires() -> None:
    import inspect

    async def tool(table: str, limit: int = 3) -> str:
        return table * limit

    assert inspect.signature(requires("a")(tool)) == inspect.signature(tool)
    assert inspect.iscoroutinefunction(requires("a")(tool))


async def test_a_required_tool_stays_closed_where_no_guard_stands() -> None:
    @requires("crm:write")
    def sync_tool() -> str:
        return "ran"

    @requires("crm:write")
    async def async_tool() -> str:
        return "ran"

    with pytest.raises(NoSession):
        sync_tool()
    with pytest.raises(NoSession):
        await async_tool()
    async with Client(server("crm:write")) as client:
        assert (await client.call_tool("drop", {"table": "t"})).is_error
        assert not (await client.call_tool("plain")).is_error


def guard(app: Any, issuer: Any, **changed: Any) -> AgentGuard:
    return AgentGuard(app, resource=RESOURCE, authority=issuer, **changed)


def test_a_tool_named_twice_with_other_scopes_is_refused_at_start(issuer: Any) -> None:
    app = server("crm:write").streamable_http_app()
    guard(app, issuer, tools={"drop": ["crm:write"]})
    with pytest.raises(ConfigurationError) as refusal:
        guard(app, issuer, tools={"drop": ["crm:read"]})
    assert refusal.value.key == "tools"


async def test_a_tool_that_comes_later_and_contradicts_stops_the_start(issuer: Any) -> None:
    mcp = server("crm:write")
    guarded = guard(mcp.streamable_http_app(), issuer, tools={"late": ["crm:read"]})

    @mcp.tool()
    @requires("crm:write")
    def late() -> str:
        return ""

    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await guarded({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]


async def test_a_tool_that_comes_before_the_start_is_gated(issuer: Any) -> None:
    mcp = MCPServer("crm", log_level="CRITICAL")
    guarded = guard(mcp.streamable_http_app(), issuer)

    @mcp.tool()
    @requires("crm:write")
    def late() -> str:
        return ""

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=guarded)) as client:
        headers = {"authorization": f"Bearer {issuer.token()}"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "late"}}
        answer = await client.post(RESOURCE, json=body, headers=headers)
    assert answer.json()["error"]["data"]["scope"] == "crm:write"


@pytest.mark.parametrize("broken", ["", "version = 1\n[agents.a]\nuse = 7\n"])
def test_a_configuration_that_does_not_hold_stops_the_guard(broken: str, tmp_path: Path, application: Any) -> None:
    path = tmp_path / "deputize.toml"
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(ConfigurationError):
        AgentGuard(application, resource=RESOURCE, authority=str(path if broken else tmp_path / "absent.toml"))


def test_an_authority_in_memory_can_be_guarded_for(application: Any, call_of: Any) -> None:
    import asyncio

    with Authority(agents={"a": ["read"]}, resources={RESOURCE: ["read"]}) as authority:
        guarded = AgentGuard(application, resource=RESOURCE, authority=authority, tools={"t": ["read"]})
        with authority.session(agent="a", user="alice") as session:
            headers = session.access(RESOURCE, ["read"]).headers("POST", RESOURCE)

            async def call() -> int:
                async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=guarded)) as client:
                    return (await client.post(RESOURCE, json=call_of("t"), headers=headers)).status_code

            first = asyncio.run(call())
        after = asyncio.run(call())
        assert (first, after) == (200, 401)
        told = [r["type"] for r in authority.audit.find() if str(r["type"]).startswith("resource.")]
    assert told == ["resource.call_started", "resource.call_finished", "resource.rejected"]


# ---- DPoP over sockets


@pytest.fixture(scope="module")
def bound(tmp_path_factory: Any, toml: Any, serve: Any) -> Iterator[tuple[str, Authority]]:
    folder = tmp_path_factory.mktemp("bound")

    def make(origin: str) -> AgentGuard:
        path = toml(folder, url=f"{origin}/mcp", binding="dpop")
        app = server("crm:write").streamable_http_app()
        return AgentGuard(app, authority=path, resource=f"{origin}/mcp", binding="dpop")

    with serve(make) as origin, Authority.open(folder / "deputize.toml") as authority:
        yield f"{origin}/mcp", authority


@pytest.mark.requirement("DP-07")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_and_server_work_with_bound_tokens(
    bound: tuple[str, Authority], connect: Callable[..., Any], mode: str
) -> None:
    url, authority = bound
    with authority.session(agent="supervisor", user="alice"):
        async with connect(url, TokenExchangeAuth(resource="crm"), mode) as client:
            result = await client.call_tool("drop", {"table": "t"})
    assert result.content[0].text == "t"


async def test_a_stolen_bound_token_is_worth_nothing(bound: tuple[str, Authority], issuer: Any) -> None:
    url, authority = bound
    with authority.session(agent="supervisor", user="alice") as session:
        headers = session.access("crm", ["crm:write"]).headers("POST", url)
        token = headers["Authorization"].removeprefix("DPoP ")
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "drop", "arguments": {}}}
        async with httpx2.AsyncClient() as client:
            attempts = [
                {"authorization": f"Bearer {token}"},
                {"authorization": f"DPoP {token}"},
                {"authorization": f"DPoP {token}", "dpop": issuer.proof(token, htu=url)},
            ]
            answers = [await client.post(url, json=body, headers=headers) for headers in attempts]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert not authority.audit.find(type="resource.call_started", session=session.id)
