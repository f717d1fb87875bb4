"""TokenExchangeAuth: the right token to the right server, once, and never a wider one."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import httpx2
import pytest

from deputize import Authority
from deputize.errors import ConfigurationError, Denied, NoSession, SessionEnded
from deputize.runtime import verifier_for
from deputize.testing import FakeClock
from deputize.verifier import Caller
from deputize_mcp import ResourceMismatch, StepUpDenied, TokenExchangeAuth
from deputize_mcp.www_authenticate import read_challenges

URL = "https://crm.example/mcp"
METADATA = {"resource": URL, "authorization_servers": ["http://127.0.0.1:8400"]}
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2])


@dataclass
class Server:
    """An MCP server of somebody else's making: verifies tokens, needs scopes by tool, and keeps every request."""

    authority: Authority
    needs: Mapping[str, set[str]] = field(default_factory=dict)
    metadata: Any = field(default_factory=lambda: METADATA)
    binding: str = "bearer"
    nonce: str | None = None
    refuse: int = 0  # how many tokens are refused though they are good
    seen: list[Any] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.verifier = verifier_for(self.authority, URL)

    def answer(self, request: Any) -> tuple[int, Mapping[str, str], Any]:
        self.seen.append(request)
        if request.url.path.startswith("/.well-known/"):
            return (200, {}, self.metadata) if self.metadata is not None else (404, {}, {})
        if "authorization" not in request.headers:
            return 401, {"www-authenticate": "Bearer"}, {}
        if self.nonce is not None and self.nonce not in _claims(request.headers["dpop"]).values():
            return 401, {"www-authenticate": 'DPoP error="use_dpop_nonce"', "dpop-nonce": self.nonce}, {}
        caller = self.verifier.verify(
            dict(request.headers.items()), method=request.method, url=URL, binding=self.binding
        )
        self.callers.append(caller)
        if self.refuse:
            self.refuse -= 1
            return 401, {"www-authenticate": 'Bearer error="invalid_token"'}, {}
        needed = self.needs.get(_tool(request), set())
        if not needed <= caller.scopes:
            scope = " ".join(sorted(needed))
            return 403, {"www-authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'}, {}
        return 200, {}, {}

    def transport(self, library: Any) -> Any:
        def handle(request: Any) -> Any:
            status, headers, body = self.answer(request)
            return library.Response(status, headers=dict(headers), json=body)

        return library.MockTransport(handle)

    @property
    def tokens(self) -> list[str]:
        return [r.headers["authorization"] for r in self.seen if "authorization" in r.headers]


def _claims(token: str) -> dict[str, Any]:
    import base64

    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _tool(request: Any) -> str:
    try:
        return str(json.loads(request.content)["params"]["name"])
    except (ValueError, KeyError, TypeError):
        return ""


@pytest.fixture
def server(embedded: Authority) -> Server:
    return Server(embedded)


@pytest.fixture
def post(server: Server, call_of: Callable[..., Any]) -> Callable[..., Any]:
    """`post(auth, tool)`: one call through a client of the library, in its async style."""

    async def send(auth: Any, tool: str = "any", *, url: str = URL, library: Any = httpx2, **options: Any) -> Any:
        async with library.AsyncClient(auth=auth, transport=server.transport(library), **options) as client:
            return await client.post(url, json=call_of(tool))

    return send


@LIBRARIES
async def test_one_class_serves_both_libraries_in_async(
    library: Any, embedded: Authority, server: Server, post: Any
) -> None:
    with embedded.session(agent="supervisor", user="alice") as session:
        answer = await post(TokenExchangeAuth(resource="crm", scopes=["crm:read"]), library=library)
    assert answer.status_code == 200
    [caller] = server.callers
    assert (caller.session, caller.scopes) == (session.id, {"crm:read"})


@LIBRARIES
def test_one_class_serves_both_libraries_in_sync(
    library: Any, embedded: Authority, server: Server, call_of: Any
) -> None:
    server.needs = {"drop": {"crm:read", "crm:write"}}
    auth = TokenExchangeAuth(scopes=["crm:read"])
    with (
        embedded.session(agent="supervisor", user="alice") as session,
        library.Client(auth=auth, transport=server.transport(library)) as client,
    ):
        assert client.post(URL, json=call_of("drop")).status_code == 200
    assert [set(caller.scopes) for caller in server.callers] == [{"crm:read"}, {"crm:read", "crm:write"}]
    assert {caller.session for caller in server.callers} == {session.id}


# ---- where a token goes


@pytest.mark.requirement("MC-03")
async def test_every_token_was_asked_for_by_naming_its_resource(embedded: Authority, server: Server, post: Any) -> None:
    server.needs = {"drop": {"crm:read", "crm:write"}}
    with embedded.session(agent="supervisor", user="alice") as session:
        for auth in (TokenExchangeAuth(resource="crm", scopes=["crm:read"]), TokenExchangeAuth(scopes=["crm:read"])):
            await post(auth)
            await post(auth, "drop")
    asked = embedded.audit.find(type="exchange.permitted", session=session.id)
    assert {record["resource"] for record in asked} == {URL}
    assert {caller.resource for caller in server.callers} == {URL}
    assert {record["jti"] for record in asked} == {caller.jti for caller in server.callers}


@pytest.mark.requirement("PR-02")
async def test_the_metadata_are_read_once_and_before_any_token(embedded: Authority, server: Server, post: Any) -> None:
    auth = TokenExchangeAuth()
    with embedded.session(agent="supervisor", user="alice"):
        await post(auth)
        await post(auth)
    paths = [request.url.path for request in server.seen]
    assert paths == ["/.well-known/oauth-protected-resource/mcp", "/mcp", "/mcp"]
    assert "authorization" not in server.seen[0].headers


MISMATCHES: dict[str, tuple[dict[str, Any], Any, str]] = {
    "another resource": ({"resource": "crm"}, {**METADATA, "resource": "https://crm.example/other"}, URL),
    "a resource elsewhere": ({}, {**METADATA, "resource": "https://evil.example/mcp"}, URL),
    "a resource beside it": ({}, {**METADATA, "resource": "https://crm.example/other"}, URL),
    "a path that only begins alike": ({}, METADATA, "https://crm.example/mcp-evil"),
    "a path that climbs": ({"resource": "crm"}, METADATA, "https://crm.example/mcp/%2e%2e/other"),
    "a foreign authority": ({"resource": "crm"}, {**METADATA, "authorization_servers": ["https://evil.example"]}, URL),
    "a foreign authority, asked": ({}, {**METADATA, "authorization_servers": ["https://evil.example"]}, URL),
    "another origin": ({"resource": "crm"}, METADATA, "https://evil.example/mcp"),
    "another port": ({"resource": "crm"}, METADATA, "https://crm.example:8443/mcp"),
    "another scheme": ({"resource": "crm"}, METADATA, "http://crm.example/mcp"),
    "another spelling of the host": ({"resource": "crm"}, METADATA, "https://crm.example./mcp"),
    "no metadata at all": ({}, None, URL),
    "metadata that are a list": ({}, [], URL),
    "metadata without a resource": ({}, {"authorization_servers": []}, URL),
    "servers that are no list": ({}, {**METADATA, "authorization_servers": 7}, URL),
    "enormous metadata": ({}, {**METADATA, "x": "a" * 70_000}, URL),
}


@pytest.mark.requirement("PR-02")
@pytest.mark.parametrize("case", MISMATCHES)
async def test_no_token_goes_to_a_server_that_is_not_the_resource(
    case: str, embedded: Authority, server: Server, post: Any
) -> None:
    given, server.metadata, url = MISMATCHES[case]
    with embedded.session(agent="supervisor", user="alice") as session:
        with pytest.raises(ResourceMismatch):
            await post(TokenExchangeAuth(**given), url=url)
        assert not embedded.audit.find(type="exchange.permitted", session=session.id)
    assert server.tokens == []
    assert all(request.method in {"GET", "HEAD"} for request in server.seen)


@pytest.mark.requirement("MC-01")
@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("https://crm.example/api/.well-known/oauth-protected-resource/mcp", True),
        ("https://evil.example/.well-known/oauth-protected-resource/mcp", False),
        ("https://crm.example/absent", False),
        ("", False),
    ],
)
async def test_metadata_that_lie_elsewhere_are_found_by_the_challenge(
    address: str, found: bool, embedded: Authority, server: Server, call_of: Any
) -> None:
    server.metadata = None
    without: list[Any] = []

    def handle(request: Any) -> Any:
        if request.url.path == "/mcp" and "authorization" in request.headers:
            status, headers, body = server.answer(request)
            return httpx2.Response(status, headers=dict(headers), json=body)
        without.append(request)
        if request.url.path.startswith("/api/"):
            return httpx2.Response(200, json=METADATA)
        return httpx2.Response(
            401 if request.url.path == "/mcp" else 404,
            headers={"www-authenticate": f'Bearer resource_metadata="{address}"'},
        )

    with embedded.session(agent="supervisor", user="alice"):
        transport = httpx2.MockTransport(handle)
        async with httpx2.AsyncClient(auth=TokenExchangeAuth(), transport=transport) as client:
            if found:
                assert (await client.post(URL, json=call_of("any"))).status_code == 200
            else:
                with pytest.raises(ResourceMismatch):
                    await client.post(URL, json=call_of("any"))
    assert all(request.content == b"" and request.url.host == "crm.example" for request in without)


async def test_a_server_without_metadata_is_taken_at_the_users_word(
    embedded: Authority, server: Server, post: Any
) -> None:
    server.metadata = None
    with embedded.session(agent="supervisor", user="alice"):
        assert (await post(TokenExchangeAuth(resource=URL, scopes=["crm:read"]))).status_code == 200


@LIBRARIES
async def test_a_token_does_not_follow_a_redirect_to_another_origin(
    library: Any, embedded: Authority, server: Server, call_of: Any
) -> None:
    elsewhere: list[Any] = []

    def handle(request: Any) -> Any:
        if request.url.host != "crm.example":
            elsewhere.append(request)
            return library.Response(200)
        status, headers, body = server.answer(request)
        if request.url.path == "/mcp":
            return library.Response(307, headers={"location": "https://evil.example/mcp"})
        return library.Response(status, headers=dict(headers), json=body)

    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with embedded.session(agent="supervisor", user="alice"):
        async with library.AsyncClient(
            auth=auth, transport=library.MockTransport(handle), follow_redirects=True
        ) as client:
            await client.post(URL, json=call_of("any"))
    assert len(elsewhere) == 1
    assert "authorization" not in elsewhere[0].headers


async def test_metadata_from_behind_a_redirect_to_another_origin_count_for_nothing(
    embedded: Authority, call_of: Any
) -> None:
    def handle(request: Any) -> Any:
        if request.url.host == "crm.example":
            return httpx2.Response(307, headers={"location": "https://evil.example/x"})
        return httpx2.Response(200, json=METADATA)

    with embedded.session(agent="supervisor", user="alice"):
        transport = httpx2.MockTransport(handle)
        async with httpx2.AsyncClient(auth=TokenExchangeAuth(), transport=transport, follow_redirects=True) as client:
            with pytest.raises(ResourceMismatch):
                await client.post(URL, json=call_of("any"))


async def test_without_a_session_nothing_is_sent(server: Server, post: Any) -> None:
    with pytest.raises(NoSession):
        await post(TokenExchangeAuth(resource="crm"))
    assert server.seen == []


# ---- which scopes


async def test_a_tool_gets_what_is_said_of_it_and_the_handshake_one_scope(embedded: Authority, server: Server) -> None:
    auth = TokenExchangeAuth(tools={"custom": ["crm:write"]})
    handshake = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
    with embedded.session(agent="supervisor", user="alice"):
        async with httpx2.AsyncClient(auth=auth, transport=server.transport(httpx2)) as client:
            for body in (handshake, _call("meet"), _call("custom"), _call("unknown")):
                await client.post(URL, json=body)
            await client.get(URL)
            await client.delete(URL)
    base, read, write = {"crm:base"}, {"crm:read"}, {"crm:write"}
    assert [set(caller.scopes) for caller in server.callers] == [base, read, write, base, base, base]


def _call(tool: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}


async def test_an_agent_that_may_only_hand_on_is_refused_by_the_authority(
    embedded: Authority, server: Server, post: Any
) -> None:
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:write"])
    with (
        embedded.session(agent="supervisor", user="alice") as root,
        root.delegate("researcher"),
        pytest.raises(Denied) as refusal,
    ):
        await post(auth)
    assert refusal.value.reference
    assert server.tokens == []


async def test_a_session_that_ended_is_named_so(embedded: Authority, server: Server, post: Any) -> None:
    session = embedded.session(agent="supervisor", user="alice")
    session.close()
    with pytest.raises(SessionEnded):
        await post(TokenExchangeAuth(session, resource="crm"))
    assert server.tokens == []


# ---- refusals


@pytest.mark.requirement("MC-06")
async def test_a_step_up_is_remembered_for_its_tool_and_widens_no_other(
    embedded: Authority, server: Server, post: Any
) -> None:
    server.needs = {"drop": {"crm:read", "crm:write"}, "look": {"crm:read"}}
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:base"])
    with embedded.session(agent="supervisor", user="alice"):
        for tool in ("drop", "look", "drop", "other"):
            assert (await post(auth, tool)).status_code == 200
    base, all_three = {"crm:base"}, {"crm:base", "crm:read", "crm:write"}
    expected = [base, all_three, base, {"crm:base", "crm:read"}, all_three, base]
    assert [set(caller.scopes) for caller in server.callers] == expected


@pytest.mark.requirement("MC-06")
@pytest.mark.parametrize(
    ("challenge", "requests"),
    [
        ('Bearer error="insufficient_scope", scope="crm:admin"', 1),
        ('Bearer error="insufficient_scope", scope="nobody:knows"', 1),
        ('Bearer error="insufficient_scope", scope="crm:read"', 1),
        ('Bearer error="insufficient_scope"', 1),
        (f'Bearer error="insufficient_scope", scope="{" ".join(f"s{i}" for i in range(40))}"', 1),
        ('Bearer error="insufficient_scope", scope="crm:write"', 2),
    ],
)
async def test_what_a_server_asks_for_ends_in_a_typed_refusal_and_never_in_a_loop(
    challenge: str, requests: int, embedded: Authority, server: Server, call_of: Any
) -> None:
    def handle(request: Any) -> Any:
        status, _, body = server.answer(request)
        if request.url.path == "/mcp":
            return httpx2.Response(403, headers={"www-authenticate": challenge})
        return httpx2.Response(status, json=body)

    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with embedded.session(agent="supervisor", user="alice") as session:
        async with httpx2.AsyncClient(auth=auth, transport=httpx2.MockTransport(handle)) as client:
            with pytest.raises(StepUpDenied) as refusal:
                await client.post(URL, json=call_of("drop"))
    assert refusal.value.code == "insufficient_scope"
    assert len(server.tokens) == requests
    assert refusal.value.granted <= {right.scope for right in session.rights}
    assert not any("admin" in str(record) for record in embedded.audit.find(type="exchange.permitted"))


async def test_step_up_never_leaves_the_answer_to_the_caller(embedded: Authority, server: Server, post: Any) -> None:
    server.needs = {"drop": {"crm:write"}}
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"], step_up="never")
    with embedded.session(agent="supervisor", user="alice"):
        assert (await post(auth, "drop")).status_code == 403
    assert len(server.tokens) == 1


async def test_what_one_session_learned_gives_another_no_more_than_it_has(
    embedded: Authority, server: Server, post: Any
) -> None:
    server.needs = {"drop": {"crm:read", "crm:write"}}
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with embedded.session(agent="supervisor", user="alice") as root:
        assert (await post(auth, "drop")).status_code == 200
        with root.delegate("researcher"), pytest.raises(StepUpDenied) as refusal:
            await post(auth, "drop")
    assert refusal.value.required == {"crm:read", "crm:write"}
    assert refusal.value.reference
    assert len(server.tokens) == 2


async def test_a_refused_token_is_exchanged_again_once(embedded: Authority, server: Server, post: Any) -> None:
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with embedded.session(agent="supervisor", user="alice"):
        server.refuse = 1
        assert (await post(auth)).status_code == 200
        server.refuse = 5
        assert (await post(auth)).status_code == 401
    first, second, *rest = [caller.jti for caller in server.callers]
    assert first != second
    assert len(rest) == 2


async def test_another_refusal_than_of_scopes_is_the_callers(embedded: Authority, server: Server, call_of: Any) -> None:
    def handle(request: Any) -> Any:
        status, _, body = server.answer(request)
        return httpx2.Response(403 if request.url.path == "/mcp" else status, json=body)

    with embedded.session(agent="supervisor", user="alice"):
        transport = httpx2.MockTransport(handle)
        async with httpx2.AsyncClient(auth=TokenExchangeAuth(resource="crm"), transport=transport) as client:
            assert (await client.post(URL, json=call_of("any"))).status_code == 403
    assert len(server.tokens) == 1


# ---- how many tokens


@pytest.fixture
def clocked() -> Iterator[tuple[Authority, FakeClock]]:
    clock = FakeClock()
    with Authority(agents={"a": ["read", "write"]}, resources={URL: ["read", "write"]}, clock=clock) as authority:
        yield authority, clock


async def test_a_token_is_used_until_it_runs_out(clocked: tuple[Authority, FakeClock]) -> None:
    authority, clock = clocked
    server = Server(authority)
    server.metadata = None
    auth = TokenExchangeAuth(resource=URL, scopes=["read"])
    with authority.session(agent="a", user="alice"):
        async with httpx2.AsyncClient(auth=auth, transport=server.transport(httpx2)) as client:
            for seconds in (0, 30, 26, 1):
                clock.advance(seconds)
                await client.post(URL, json=_call("t"))
    assert [server.callers[i].jti == server.callers[0].jti for i in range(4)] == [True, True, False, False]
    assert server.callers[2].jti == server.callers[3].jti


async def test_many_tasks_share_one_exchange_and_sessions_share_none(
    embedded: Authority, server: Server, post: Any
) -> None:
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with embedded.session(agent="supervisor", user="alice") as root:
        await post(auth, "warm")

        async def burst(session: Any) -> None:
            with session:
                async with anyio.create_task_group() as tasks:
                    for _ in range(10):
                        tasks.start_soon(post, auth, "burst")

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(burst, root.delegate("researcher"))
    bursts = {(caller.session, caller.jti) for caller in server.callers[1:]}
    assert len(server.callers) == 21
    assert len(bursts) == 2


def test_many_threads_share_one_exchange(embedded: Authority, server: Server) -> None:
    with embedded.session(agent="supervisor", user="alice") as session:
        auth = TokenExchangeAuth(session, resource="crm", scopes=["crm:read"])
        with httpx2.Client(auth=auth, transport=server.transport(httpx2)) as client:
            threads = [threading.Thread(target=client.post, args=(URL,), kwargs={"json": _call("t")}) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert len(server.callers) == 8
    assert len({caller.jti for caller in server.callers}) == 1


async def test_one_exchange_that_is_cancelled_or_fails_does_not_fail_the_others(
    embedded: Authority, server: Server, post: Any, monkeypatch: Any
) -> None:
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    entered, answers = anyio.Event(), []
    with embedded.session(agent="supervisor", user="alice") as session:
        honest = session.aaccess
        first = True

        async def slow(*args: Any, **kwargs: Any) -> Any:
            nonlocal first
            if first:
                first = False
                entered.set()
                await anyio.sleep_forever()
            return await honest(*args, **kwargs)

        monkeypatch.setattr(session, "aaccess", slow)

        async def other() -> None:
            await entered.wait()
            answers.append(await post(auth))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as doomed:
                    doomed.start_soon(post, auth)
                    await entered.wait()
                    for _ in range(3):
                        await anyio.lowlevel.checkpoint()
                    scope.cancel()
    assert [answer.status_code for answer in answers] == [200]


async def test_a_tool_call_keeps_its_own_token_and_steps_up_beside_it(
    embedded: Authority, server: Server, post: Any
) -> None:
    server.needs = {"drop": {"crm:read", "crm:write"}}
    auth = TokenExchangeAuth(resource="crm")
    with (
        embedded.session(agent="supervisor", user="alice") as session,
        session.tool_call("meet", call_id="c1") as call,
    ):
        await post(auth, "meet")
        await post(auth, "drop")
        server.refuse = 1
        await post(auth, "meet")
        own = call.access().id
    jtis = [caller.jti for caller in server.callers]
    assert jtis[0] == jtis[1] == jtis[3] == own
    assert set(server.callers[2].scopes) == {"crm:read", "crm:write"}
    assert jtis[4] not in jtis[:4]
    assert set(server.callers[4].scopes) == {"crm:read"}


# ---- DPoP


@pytest.fixture
def bound(tmp_path: Path, toml: Any) -> Iterator[Server]:
    with Authority.open(toml(tmp_path, url=URL, binding="dpop")) as authority:
        yield Server(authority, binding="dpop")


@pytest.mark.requirement("DP-07")
@pytest.mark.requirement("DP-08")
@LIBRARIES
async def test_a_bound_token_goes_with_a_fresh_proof_for_each_request(bound: Server, library: Any) -> None:
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with bound.authority.session(agent="supervisor", user="alice"):
        async with library.AsyncClient(auth=auth, transport=bound.transport(library)) as client:
            for _ in range(2):
                assert (await client.post(f"{URL}?x=1", json=_call("t"))).status_code == 200
    assert all(caller.bound for caller in bound.callers)
    assert len({request.headers["dpop"] for request in bound.seen[1:]}) == 2
    assert len({request.headers["authorization"] for request in bound.seen[1:]}) == 1


@pytest.mark.requirement("DP-09")
async def test_a_nonce_that_the_server_gives_is_used_and_remembered(bound: Server) -> None:
    bound.nonce = "n-1"
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with bound.authority.session(agent="supervisor", user="alice"):
        async with httpx2.AsyncClient(auth=auth, transport=bound.transport(httpx2)) as client:
            for _ in range(2):
                assert (await client.post(URL, json=_call("t"))).status_code == 200
    assert len(bound.tokens) == 3


# ---- secrets


@pytest.mark.requirement("TT-04")
@pytest.mark.requirement("I9")
async def test_no_token_stands_in_a_log_a_record_or_a_refusal(
    embedded: Authority, server: Server, post: Any, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    server.needs = {"drop": {"crm:admin"}}
    auth = TokenExchangeAuth(resource="crm", scopes=["crm:read"])
    with embedded.session(agent="supervisor", user="alice"):
        await post(auth)
        with pytest.raises(StepUpDenied) as refusal:
            await post(auth, "drop")
    told = [caplog.text, str(embedded.audit.find()), repr(auth), str(vars(auth)), repr(refusal.value.__cause__)]
    signatures = {token.rpartition(".")[2] for token in server.tokens}
    assert signatures
    assert not [signature for signature in signatures if any(signature in text for text in told)]


# ---- arguments, challenges


@pytest.mark.parametrize("given", [{"scopes": "crm:read"}, {"tools": {"t": "crm:read"}}, {"step_up": "always"}])
def test_arguments_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        TokenExchangeAuth(**given)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (['Bearer error="invalid_token", scope="a b"'], [("bearer", "invalid_token", {"a", "b"})]),
        (["Bearer"], [("bearer", None, set())]),
        (["Bearer, DPoP algs=ES256"], [("bearer", None, set()), ("dpop", None, set())]),
        (['DPoP error="x", Bearer error=y'], [("dpop", "x", set()), ("bearer", "y", set())]),
        (['Bearer error="a", error="b"'], [("bearer", "a", set())]),
        (['Bearer realm="a, DPoP error=\\"x\\"", scope="s"'], [("bearer", None, {"s"})]),
        (['Bearer scope="a\\"b"'], [("bearer", None, set())]),
        (["", "Basic YTpi=="], [("basic", None, set())]),
        (['error="orphan"'], []),
    ],
)
def test_challenges_are_read_as_they_were_meant(values: list[str], found: list[Any]) -> None:
    read = [(challenge.scheme, challenge.error, set(challenge.scopes)) for challenge in read_challenges(values)]
    assert [entry for entry in read if entry[0] in {"bearer", "dpop", "basic"}] == found
