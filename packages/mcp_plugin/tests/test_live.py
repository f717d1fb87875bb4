"""The official SDK's server behind the guard and its client with our auth, over sockets, in both eras."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from deputize import Authority
from deputize.errors import NoSession, SessionEnded
from deputize_mcp import AgentGuard, StepUpDenied, TokenExchangeAuth, carry, get_caller, requires
from deputize_mcp.www_authenticate import read_challenges

BOTH_ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
POOL = ThreadPoolExecutor(1)
CALL_WHOAMI = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}


def make_server() -> MCPServer:
    mcp = MCPServer("crm", log_level="CRITICAL")
    waiting: list[anyio.Event] = []

    def described() -> str:
        caller = get_caller()
        return json.dumps(
            {
                "subject": caller.subject,
                "chain": [actor.rsplit("/", 1)[1] for actor in caller.chain],
                "scopes": sorted(caller.scopes),
                "session": caller.session,
                "jti": caller.jti,
                "thread": threading.current_thread() is not threading.main_thread(),
            }
        )

    @mcp.tool()
    async def whoami() -> str:
        return described()

    @mcp.tool()
    def whoami_sync() -> str:
        return described()

    @mcp.tool()
    def whoami_pooled() -> str:
        return POOL.submit(carry(described)).result(5)

    @mcp.tool()
    def whoami_lost() -> str:
        def asked() -> str:
            try:
                return described()
            except NoSession as refusal:
                return refusal.code

        return POOL.submit(asked).result(5)

    @mcp.tool()
    @requires("crm:read", "crm:write")
    async def delete_all(reason: str = "") -> str:
        return described()

    @mcp.tool()
    @requires("crm:admin")
    def administer() -> str:
        return described()

    @mcp.tool()
    async def meet(party: int) -> str:
        """Returns once `party` calls of it run at the same time."""
        mine = anyio.Event()
        waiting.append(mine)
        if len(waiting) == party:
            while waiting:
                waiting.pop().set()
        with anyio.fail_after(8):
            await mine.wait()
        return described()

    @mcp.tool()
    def hidden() -> str:
        return "nobody listed this"

    @mcp.tool()
    def broken() -> str:
        raise ValueError("broken")

    return mcp


TOOLS = {
    "whoami": ["crm:read"],
    "whoami_sync": ["crm:read"],
    "whoami_pooled": ["crm:read"],
    "whoami_lost": ["crm:read"],
    "meet": ["crm:read"],
    "broken": ["crm:read"],
}


@pytest.fixture(scope="module", params=["sse", "json"])
def crm(request: Any, tmp_path_factory: Any, toml: Any, serve: Any) -> Iterator[tuple[str, Authority]]:
    """URL of the guarded server, and the authority of the agents' process on the same file."""
    folder = tmp_path_factory.mktemp("crm")

    def make(origin: str) -> AgentGuard:
        path = toml(folder, url=f"{origin}/mcp")
        app = make_server().streamable_http_app(json_response=request.param == "json")
        return AgentGuard(app, authority=str(path), resource=f"{origin}/mcp", tools=TOOLS, base_scopes=["crm:base"])

    with serve(make) as origin, Authority.open(folder / "deputize.toml") as authority:
        yield f"{origin}/mcp", authority


def text_of(result: Any) -> Any:
    assert not result.is_error, result
    return json.loads(result.content[0].text)


def exchanges(authority: Authority, session: str) -> list[tuple[str, ...]]:
    return [tuple(record["scopes"]) for record in authority.audit.find(type="exchange.permitted", session=session)]


@BOTH_ERAS
@pytest.mark.requirement("MC-06")
async def test_step_up_asks_once_for_one_tool_and_later_calls_of_other_tools_stay_narrow(
    crm: tuple[str, Authority], connect: Any, mode: str
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"], tools={"whoami": ["crm:read"]})
    with authority.session(agent="supervisor", user="alice") as session:
        async with connect(url, auth, mode) as client:
            first = text_of(await client.call_tool("whoami"))
            stepped = text_of(await client.call_tool("delete_all"))
            again = text_of(await client.call_tool("delete_all"))
            after = text_of(await client.call_tool("whoami"))
    assert first["scopes"] == after["scopes"] == ["crm:base", "crm:read"]
    assert stepped["scopes"] == again["scopes"] == ["crm:base", "crm:read", "crm:write"]
    assert exchanges(authority, session.id).count(("crm:base", "crm:read", "crm:write")) == 1
    refused = authority.audit.find(type="resource.call_denied", session=session.id)
    assert [(record["tool"], record["code"]) for record in refused] == [("delete_all", "insufficient_scope")]


@BOTH_ERAS
async def test_a_step_up_that_the_session_does_not_cover_is_a_typed_error_and_no_loop(
    crm: tuple[str, Authority], connect: Any, mode: str
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    with (
        authority.session(agent="supervisor", user="alice") as session,
        pytest.RaisesGroup(StepUpDenied, flatten_subgroups=True) as caught,
    ):
        async with connect(url, auth, mode) as client:
            await client.call_tool("administer")
    refusal = caught.value.exceptions[0]
    while isinstance(refusal, ExceptionGroup):
        refusal = refusal.exceptions[0]
    assert isinstance(refusal, StepUpDenied)
    assert refusal.required == {"crm:base", "crm:admin"}
    assert "crm:admin" not in refusal.granted
    assert refusal.reference
    assert len(authority.audit.find(type="resource.call_denied", session=session.id)) == 1
    assert len(authority.audit.find(type="exchange.denied", session=session.id)) == 1


@BOTH_ERAS
async def test_four_parallel_calls_run_at_the_same_time(crm: tuple[str, Authority], connect: Any, mode: str) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    results: list[Any] = []

    async def call(client: Any) -> None:
        results.append(text_of(await client.call_tool("meet", {"party": 4})))

    with authority.session(agent="supervisor", user="alice") as session:
        async with connect(url, auth, mode) as client, anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(call, client)
    assert len(results) == 4
    # One token for the tool: the calls shared one exchange and waited for nothing else.
    assert len({result["jti"] for result in results}) == 1
    assert exchanges(authority, session.id).count(("crm:base", "crm:read")) == 1


async def test_sub_sessions_on_one_client_object_never_share_a_token(crm: tuple[str, Authority], connect: Any) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    seen: dict[str, Any] = {}

    async def work(client: Any, agent: str, root: Any) -> None:
        with root.delegate(agent) as session:
            tool = "meet" if agent == "researcher" else "whoami_sync"
            for _ in range(3):
                seen.setdefault(session.id, []).append(text_of(await client.call_tool(tool, {"party": 1})))

    with authority.session(agent="supervisor", user="alice") as root:
        async with connect(url, auth, "auto") as client, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(work, client, "researcher", root)
    assert len(seen) == 3
    tokens = {session: {result["jti"] for result in results} for session, results in seen.items()}
    assert all(result["session"] == session for session, results in seen.items() for result in results)
    assert len(set.union(*tokens.values())) == 3
    assert all(result["chain"] == ["researcher", "supervisor"] for results in seen.values() for result in results)


async def test_a_legacy_mcp_session_is_not_shared_between_delegated_sessions(
    crm: tuple[str, Authority], connect: Any
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    with authority.session(agent="supervisor", user="alice") as root:
        async with connect(url, auth, "legacy") as client:
            assert text_of(await client.call_tool("whoami"))["session"] == root.id
            with root.delegate("researcher"), pytest.raises(MCPError) as refusal:
                await client.call_tool("whoami")
            assert refusal.value.error.data["error"] == "session_not_found"
            assert text_of(await client.call_tool("whoami"))["session"] == root.id


@BOTH_ERAS
@pytest.mark.parametrize("tool", ["whoami", "whoami_sync", "whoami_pooled"])
async def test_the_whole_chain_is_read_in_the_tool_and_stands_in_the_record(
    crm: tuple[str, Authority], connect: Any, mode: str, tool: str
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"], tools={tool: ["crm:read"]})
    with authority.session(agent="supervisor", user="alice") as root, root.delegate("researcher") as session:
        async with connect(url, auth, mode) as client:
            caller = text_of(await client.call_tool(tool))
    assert caller["subject"] == "local|alice"
    assert caller["chain"] == ["researcher", "supervisor"]
    assert caller["session"] == session.id
    records = authority.audit.find(session=session.id, tool=tool)
    told = [record for record in records if record["type"].startswith("resource.")]
    assert [record["type"] for record in told] == ["resource.call_started", "resource.call_finished"]
    assert all(record["jti"] == caller["jti"] for record in told)
    assert all(record["chain"] == [session.agent, root.agent] for record in told)


async def test_a_pool_of_ones_own_knows_no_caller_unless_it_is_carried(
    crm: tuple[str, Authority], connect: Any
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base", "crm:read"])
    with authority.session(agent="supervisor", user="alice"):
        async with connect(url, auth, "auto") as client:
            result = await client.call_tool("whoami_lost")
    assert result.content[0].text == "no_session"


@BOTH_ERAS
async def test_a_tool_call_of_the_agent_carries_its_own_token_through_the_whole_connection(
    crm: tuple[str, Authority], connect: Any, mode: str
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth()
    with authority.session(agent="supervisor", user="alice") as session:
        seen = []
        for name in ("c1", "c2"):
            with session.tool_call("meet", resource="crm", scopes=["crm:base", "crm:read"], call_id=name) as call:
                async with connect(url, auth, mode) as client:
                    seen.append((text_of(await client.call_tool("meet", {"party": 1})), call.access().id))
    assert [result["jti"] for result, _ in seen] == [jti for _, jti in seen]
    assert len({jti for _, jti in seen}) == 2
    assert len(exchanges(authority, session.id)) == 2


@BOTH_ERAS
async def test_what_is_not_listed_is_refused_and_recorded(crm: tuple[str, Authority], connect: Any, mode: str) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    with authority.session(agent="supervisor", user="alice") as session:
        async with connect(url, auth, mode) as client:
            with pytest.raises(MCPError) as refusal:
                await client.call_tool("hidden")
    assert refusal.value.error.data == {"error": "access_denied"}
    [denied] = authority.audit.find(type="resource.call_denied", session=session.id)
    assert (denied["tool"], denied["code"]) == ("hidden", "unlisted")


async def test_a_tool_that_fails_is_recorded_as_failed(crm: tuple[str, Authority], connect: Any) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base", "crm:read"])
    with authority.session(agent="supervisor", user="alice") as session:
        for mode in ("auto", "legacy"):
            async with connect(url, auth, mode) as client:
                assert (await client.call_tool("broken")).is_error
    outcomes = [record["type"] for record in authority.audit.find(tool="broken", session=session.id)]
    told = [kind for kind in outcomes if kind.startswith("resource.")]
    assert told == ["resource.call_started", "resource.call_failed"] * 2


async def test_a_session_that_ended_is_refused_at_once_and_the_client_says_so(
    crm: tuple[str, Authority], connect: Any
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    session = authority.session(agent="supervisor", user="alice")
    stolen = session.access("crm", ["crm:base", "crm:read"]).headers("POST", url)
    with pytest.RaisesGroup(SessionEnded, flatten_subgroups=True), session:
        async with connect(url, auth, "auto") as client:
            assert text_of(await client.call_tool("whoami"))["session"] == session.id
            session.revoke("compromised")
            await client.call_tool("whoami")
    async with httpx2.AsyncClient() as http:
        answer = await http.post(url, json=CALL_WHOAMI, headers={**stolen, "accept": "application/json"})
    assert answer.status_code == 401
    rejected = authority.audit.find(type="resource.rejected")
    assert rejected[-1]["code"] == "token_revoked"


@pytest.mark.requirement("MC-04")
@pytest.mark.requirement("MC-05")
@pytest.mark.requirement("PR-01")
@pytest.mark.requirement("PR-03")
async def test_without_a_token_the_server_says_where_to_get_one(crm: tuple[str, Authority]) -> None:
    url, authority = crm
    async with httpx2.AsyncClient() as http:
        answer = await http.post(url, json=CALL_WHOAMI)
        [challenge] = read_challenges(answer.headers.get_list("www-authenticate"))
        metadata = await http.get(challenge.parameters["resource_metadata"])
    assert answer.status_code == 401
    assert challenge.scheme == "bearer"
    assert challenge.error is None
    assert challenge.scopes == {"crm:base"}
    assert metadata.json()["resource"] == url
    assert metadata.json()["authorization_servers"] == [authority.issuer]
    assert "crm:write" in metadata.json()["scopes_supported"]


async def test_the_sdk_without_our_auth_sees_a_refusal_that_names_the_scopes(
    crm: tuple[str, Authority], connect: Any
) -> None:
    url, authority = crm
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"], step_up="never")
    with authority.session(agent="supervisor", user="alice"):
        async with connect(url, auth, "auto") as client:
            with pytest.raises(MCPError) as refusal:
                await client.call_tool("delete_all")
            assert text_of(await client.call_tool("meet", {"party": 1}))["subject"] == "local|alice"
    assert refusal.value.error.data["error"] == "insufficient_scope"
    assert refusal.value.error.data["scope"] == "crm:base crm:read crm:write"
