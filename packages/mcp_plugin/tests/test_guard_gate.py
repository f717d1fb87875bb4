"""What a verified caller may do is decided by the body: all scopes of the operation, or nothing."""

import base64
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from deputize.errors import AuthorityUnavailable, ConfigurationError, StoreError
from deputize_mcp.www_authenticate import read_challenges

Guarded = Any
Issuer = Any
JSON = "application/json"


def bearer(issuer: Issuer, *scopes: str) -> dict[str, str]:
    return {"authorization": f"Bearer {issuer.token(scopes or ('crm:read',))}"}


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}


@pytest.mark.requirement("I16")
@pytest.mark.requirement("MC-05")
async def test_a_missing_scope_is_answered_by_all_scopes_of_the_operation(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(base_scopes=["crm:base"])
    answer = await world.call("write", issuer.token(["crm:base", "crm:read"]))
    [challenge] = read_challenges(answer.headers.get_list("www-authenticate"))
    assert answer.status_code == 403
    assert challenge.error == "insufficient_scope"
    assert challenge.scopes == {"crm:base", "crm:read", "crm:write"}
    assert challenge.parameters["resource_metadata"] == ("https://crm.example/.well-known/oauth-protected-resource/mcp")
    assert answer.json()["error"]["data"]["scope"] == "crm:base crm:read crm:write"
    assert world.reached == 0
    [report] = issuer.reports
    assert (report["outcome"], report["code"], report["tool"]) == ("denied", "insufficient_scope", "write")


async def test_a_missing_base_scope_is_named(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded(base_scopes=["crm:base"])
    for answer in (
        await world.send(message("tools/list"), **bearer(issuer)),
        await world.send(None, method="GET", **bearer(issuer)),
        await world.send(None, method="DELETE", **bearer(issuer)),
        await world.send({"jsonrpc": "2.0", "id": 3, "result": {}}, **bearer(issuer)),
    ):
        [challenge] = read_challenges(answer.headers.get_list("www-authenticate"))
        assert (answer.status_code, challenge.scopes) == (403, {"crm:base"})
    assert world.reached == 0


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "server/discover",
        "notifications/initialized",
        "notifications/cancelled",
    ],
)
async def test_what_names_no_object_needs_the_base_scopes_alone(
    method: str, guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(base_scopes=["crm:base"])
    assert (await world.send(message(method), **bearer(issuer, "crm:base"))).status_code == 200
    assert issuer.reports == []


@pytest.mark.parametrize(
    "body",
    [
        message("tools/call", name="unheard-of"),
        message("tools/call", name="READ"),
        message("tools/call", name=" read"),
        message("tools/call", name="read\u0000"),
        message("prompts/get", name="read"),
        message("resources/read", uri="crm://read"),
        message("resources/subscribe", uri="crm://read"),
        message("completion/complete", ref={"type": "ref/prompt", "name": "read"}),
        message("subscriptions/listen", notifications={"resourceSubscriptions": ["crm://read"]}),
        message("subscriptions/listen", notifications={"resource_subscriptions": ["crm://read"]}),
        message("tasks/get", taskId="1"),
        message("custom/run", name="read"),
        message("TOOLS/CALL", name="write"),
    ],
)
async def test_what_is_not_listed_is_refused_without_a_challenge(
    body: dict[str, Any], guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    answer = await world.send(body, **bearer(issuer, "crm:read", "crm:write"))
    assert answer.status_code == 403
    assert "www-authenticate" not in answer.headers
    assert answer.json()["id"] == 7
    assert world.reached == 0
    assert [report["code"] for report in issuer.reports] == ["unlisted"]


async def test_unlisted_base_lets_through_what_is_not_listed_but_gates_what_is(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(unlisted="base", base_scopes=["crm:base"])
    assert (await world.call("other", issuer.token(["crm:base"]))).status_code == 200
    assert (await world.call("write", issuer.token(["crm:base"]))).status_code == 403
    assert (await world.call("other", issuer.token(["crm:read"]))).status_code == 403


async def test_prompts_and_resources_are_gated_like_tools(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded(
        prompts={"summary": ["crm:read"]},
        resources={
            "crm://all": ["crm:write"],
            "crm://customers/{id}": ["crm:read"],
            "crm://files/{+path}": ["crm:read"],
        },
        unlisted="base",
    )
    read = bearer(issuer, "crm:read")
    none = bearer(issuer, "crm:other")
    expected = [
        (message("prompts/get", name="summary"), 200, 403),
        (message("resources/read", uri="crm://customers/7"), 200, 403),
        (message("resources/read", uri="crm://files/a/b"), 200, 403),
        (message("resources/subscribe", uri="crm://customers/7"), 200, 403),
        (message("completion/complete", ref={"type": "ref/resource", "uri": "crm://customers/{id}"}), 200, 403),
        (message("subscriptions/listen", notifications={"resourceSubscriptions": ["crm://customers/7"]}), 200, 403),
        (message("resources/read", uri="crm://all"), 403, 403),
        (
            message(
                "subscriptions/listen", notifications={"resourceSubscriptions": ["crm://customers/7", "crm://all"]}
            ),
            403,
            403,
        ),
        # URIs have many spellings: where some are listed, the others are refused, also with unlisted="base".
        (message("resources/read", uri="crm://customers/7/8"), 403, 403),
        (message("resources/read", uri="CRM://all"), 403, 403),
    ]
    for body, with_scope, without in expected:
        assert (await world.send(body, **read)).status_code == with_scope, body
        assert (await world.send(body, **none)).status_code == without, body


# ---- bodies


def nested(depth: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * depth + b"]" * depth + b"}}"


CALL = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}'
MALFORMED = {
    "nothing": b"",
    "no JSON": b"{",
    "two values": CALL + CALL,
    "a batch": b"[" + CALL + b"]",
    "a batch that hides a call": b'[{"jsonrpc":"2.0","id":1,"method":"ping"},' + CALL + b"]",
    "a number": b"7",
    "the method twice": b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"write"}}',
    "the name twice": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","name":"write"}}',
    "params twice": CALL[:-1] + b',"params":{"name":"write"}}',
    "an escaped twin": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","n\\u0061me":"write"}}',
    "a twin in an argument": CALL[:-2] + b',"arguments":{"a":1,"a":2}}}',
    "a method by another case": CALL[:-1] + b',"Method":"ping"}',
    "a name by another case": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","Name":"write"}}',
    "a long s": '{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{"name":"write"}}'.encode(),
    "UTF-16": CALL.decode().encode("utf-16"),
    "UTF-32": CALL.decode().encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf" + CALL,
    "broken UTF-8": CALL.replace(b"read", b"re\xffad"),
    "NaN": CALL.replace(b'"id":1', b'"id":NaN'),
    "a numeral without end": CALL.replace(b'"id":1', b'"id":' + b"9" * 5000),
    "an id that is an object": CALL.replace(b'"id":1', b'"id":{}'),
    "an id that is a fraction": CALL.replace(b'"id":1', b'"id":1.5'),
    "nested too deep": nested(65),
    "nested without end": nested(200_000),
    "no version": b'{"id":1,"method":"ping"}',
    "an old version": b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    "neither request nor answer": b'{"jsonrpc":"2.0","id":1}',
    "request and answer": b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
    "a method that is a list": b'{"jsonrpc":"2.0","id":1,"method":["tools/call"]}',
    "params that are a list": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["read"]}',
    "a call without a name": b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
    "a name that is a number": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}',
    "a name without end": b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"' + b"r" * 2000 + b'"}}',
    "a completion of nothing": b'{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{}}',
}  # fmt: skip


@pytest.mark.requirement("MC-04")
@pytest.mark.parametrize("name", MALFORMED)
async def test_a_body_with_more_than_one_meaning_or_none_is_malformed(
    name: str, guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    headers = [*bearer(issuer, "crm:read", "crm:write").items()]
    answer = await world.send_raw(MALFORMED[name], headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in {-32700, -32600, -32602}
    assert world.reached == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-encoding", "gzip"),
        ("content-encoding", "identity, br"),
        ("content-type", "application/json; charset=utf-7"),
        ("content-type", 'application/json; x=1; Charset="UTF-16"'),
    ],
)
async def test_a_body_that_the_application_could_decode_to_another_is_refused(
    guarded: Callable[..., Guarded], issuer: Issuer, name: str, value: str
) -> None:
    world = guarded()
    sent = [*bearer(issuer).items(), (name, value)]
    assert (await world.send_raw(CALL, sent)).status_code == 415
    assert world.reached == 0
    plain = [*bearer(issuer).items(), ("content-type", f"{JSON}; charset=UTF-8"), ("content-encoding", "identity")]
    assert (await world.send_raw(CALL, plain)).status_code == 200


async def test_a_body_may_be_nested_as_deep_as_the_limit(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    assert (await world.send_raw(nested(61), [*bearer(issuer).items()])).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_above_the_limit_is_not_read_to_its_end(
    announced: bool, guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(max_body=100)
    asked = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b" " * 60, "more_body": True}

    sent: list[dict[str, Any]] = []

    async def send(event: Any) -> None:
        sent.append(event)

    headers = [(b"authorization", bearer(issuer)["authorization"].encode())]
    if announced:
        headers.append((b"content-length", b"101"))
    await world.guard(
        {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}, receive, send
    )
    assert sent[0]["status"] == 413
    assert asked == (0 if announced else 2)
    assert world.reached == 0


async def test_a_body_that_comes_in_pieces_is_gated_whole_and_arrives_whole(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    pieces = [CALL[:20], CALL[20:40], CALL[40:]]

    async def receive() -> dict[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(event: Any) -> None:
        del event

    headers = [(b"authorization", bearer(issuer)["authorization"].encode())]
    await world.guard({"type": "http", "method": "POST", "path": "/mcp", "headers": headers}, receive, send)
    assert [body for _, body in world.application.seen] == [CALL]


async def test_a_body_on_a_method_that_is_not_gated_never_arrives(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    headers = [*bearer(issuer).items()]
    for method in ("GET", "DELETE", "HEAD", "OPTIONS"):
        await world.send_raw(b'{"method":"tools/call","params":{"name":"write"}}', headers, method=method)
    assert [body for _, body in world.application.seen] == [b""] * 4
    for method in ("PUT", "PATCH", "QUERY", "post"):
        body = json.dumps(message("tools/call", name="write")).encode()
        assert (await world.send_raw(body, headers, method=method)).status_code == 403


# ---- routing headers


def encoded(name: str) -> str:
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="


@pytest.mark.parametrize(
    "headers",
    [
        {"mcp-method": "ping"},
        {"mcp-method": "tools/list"},
        {"mcp-name": "read"},
        {"mcp-name": encoded("read")},
        {"mcp-method": "tools/call", "mcp-name": encoded("read")},
        {"mcp-name": "=?base64?%%%?="},
        {"mcp-name": "=?base64?cmVhZB==?="},
        {"mcp-name": ""},
    ],
)
async def test_headers_that_tell_of_another_operation_than_the_body_are_refused(
    headers: dict[str, str], guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    answer = await world.call("write", issuer.token(["crm:read", "crm:write"]), **headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32020
    assert world.reached == 0


@pytest.mark.requirement("MC-12")
async def test_headers_do_not_open_what_the_body_needs(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    told = {"mcp-method": "tools/call", "mcp-name": encoded("write")}
    assert (await world.call("write", issuer.token(["crm:read"]), **told)).status_code == 403
    assert (await world.call("write", issuer.token(["crm:read", "crm:write"]), **told)).status_code == 200


@pytest.mark.requirement("MC-12")
async def test_what_a_client_says_of_itself_decides_nothing(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    """Its name, its agent, its user, its capabilities: in the body or in a header, the token alone counts."""
    world = guarded()
    said = {
        "io.modelcontextprotocol/clientInfo": {"name": "supervisor", "version": "1"},
        "agent": "spiffe://local/agent/supervisor",
        "sub": "local|root",
        "scope": "crm:read crm:write",
        "act": {"sub": "spiffe://local/agent/supervisor"},
    }
    headers = {"user_agent": "supervisor", "x_user": "local|root", "x_forwarded_user": "root", "x_scope": "crm:write"}
    for tool, status in (("read", 200), ("write", 403)):
        body = message("tools/call", name=tool, _meta=said, clientInfo=said)
        given = {"authorization": f"Bearer {issuer.token(['crm:read'])}", **headers}
        assert (await world.send(body, **given)).status_code == status
    [(scope, _)] = world.application.seen
    caller = scope["deputize.caller"]
    assert (caller.subject, caller.scopes) == ("local|alice", {"crm:read"})
    assert caller.agent == "spiffe://local/agent/researcher"
    assert world.issuer.reports
    assert all("supervisor" not in repr(report.get("agent")) for report in world.issuer.reports)


async def test_a_routing_header_that_stands_twice_is_refused(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    pairs = [*bearer(issuer).items(), ("mcp-name", "read"), ("Mcp-Name", "write")]
    assert (await world.send_raw(CALL, pairs)).status_code == 400


# ---- metadata, other protocols, other resources


@pytest.mark.requirement("PR-01")
@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"])
async def test_the_metadata_are_public_and_name_the_resource_byte_for_byte(
    path: str, guarded: Callable[..., Guarded]
) -> None:
    world = guarded(base_scopes=["crm:base"])
    answer = await world.send(None, method="GET", path=path)
    assert answer.json() == {
        "resource": "https://crm.example/mcp",
        "authorization_servers": ["https://sts.example"],
        "scopes_supported": ["crm:base", "crm:read", "crm:write"],
        "bearer_methods_supported": ["header"],
    }
    assert answer.headers["access-control-allow-origin"] == "*"
    assert (await world.send(None, method="HEAD", path=path)).content == b""
    assert (await world.send(None, method="OPTIONS", path=path)).status_code == 204
    assert (await world.send(b"{}", path=path)).status_code == 405
    assert world.reached == 0


async def test_every_other_path_needs_a_token(guarded: Callable[..., Guarded]) -> None:
    world = guarded()
    for path in ("/", "/health", "/.well-known/", "/.well-known/oauth-protected-resource/other", "/mcp/../mcp"):
        assert (await world.send(None, method="GET", path=path)).status_code == 401
    assert world.reached == 0


async def test_a_websocket_is_closed_before_it_opens(guarded: Callable[..., Guarded]) -> None:
    world = guarded()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(event: Any) -> None:
        sent.append(event)

    await world.guard({"type": "websocket", "path": "/mcp", "headers": []}, receive, send)
    assert [event["type"] for event in sent] == ["websocket.close"]
    assert world.reached == 0


# ---- MCP sessions


async def test_an_mcp_session_is_good_for_the_delegated_session_that_opened_it_alone(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    world.application.headers = [(b"mcp-session-id", b"m1")]
    alice = {"authorization": f"Bearer {issuer.token(sid='A' * 16)}"}
    mallory = {"authorization": f"Bearer {issuer.token(sid='M' * 16)}"}
    named = {"mcp-session-id": "m1"}
    assert (await world.send(message("ping"), **alice, **named)).status_code == 404
    assert (await world.send(message("initialize"), **alice)).status_code == 200
    assert (await world.send(message("ping"), **alice, **named)).status_code == 200
    for method in ("GET", "DELETE", "POST"):
        answer = await world.send(message("ping"), method=method, **mallory, **named)
        assert (answer.status_code, answer.json()["error"]["data"]["error"]) == (404, "session_not_found")
    assert (await world.send(None, method="DELETE", **alice, **named)).status_code == 200
    assert (await world.send(message("ping"), **alice, **named)).status_code == 404


# ---- records


async def test_a_call_is_recorded_before_and_after(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    await world.call("read", issuer.token())
    started, done = issuer.reports
    assert (started["outcome"], done["outcome"]) == ("started", "done")
    same = {"sid", "txn", "jti", "sub", "agent", "resource", "tool", "scopes", "call_id"}
    assert {name: started[name] for name in same} == {name: done[name] for name in same}
    assert (done["tool"], done["scopes"], done["sub"]) == ("read", ("crm:read",), "local|alice")


@pytest.mark.parametrize(
    "answer", [{"error": {"code": -32000, "message": "no"}}, {"result": {"isError": True, "content": []}}]
)
async def test_an_answer_that_tells_of_a_failure_is_recorded_as_one(
    answer: dict[str, Any], guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    world.application.answer = answer
    await world.call("read", issuer.token())
    assert [report["outcome"] for report in issuer.reports] == ["started", "failed"]


async def test_a_crash_is_recorded(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()

    async def crash(*_: object) -> None:
        raise RuntimeError

    world.guard._app = crash
    with pytest.raises(RuntimeError):
        await world.call("read", issuer.token())
    assert [(report["outcome"], report["code"]) for report in issuer.reports] == [
        ("started", None),
        ("failed", "crashed"),
    ]


async def test_nothing_runs_that_could_not_be_recorded(
    guarded: Callable[..., Guarded], issuer: Issuer, monkeypatch: Any
) -> None:
    def full(*_: Any, **report: Any) -> None:
        raise StoreError("no space")

    monkeypatch.setattr(type(issuer), "record_call", full)
    required, optional = guarded(), guarded(record="optional")
    assert (await required.call("read", issuer.token())).status_code == 503
    assert required.reached == 0
    assert (await optional.call("read", issuer.token())).status_code == 200


async def test_without_a_log_the_guard_says_so_at_start(
    guarded: Callable[..., Guarded], issuer: Issuer, monkeypatch: Any
) -> None:
    monkeypatch.delattr(type(issuer), "record_call")
    with pytest.raises(ConfigurationError) as refusal:
        guarded()
    assert refusal.value.key == "record"
    assert (await guarded(record="off").call("read", issuer.token())).status_code == 200


# ---- configuration


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"resource": "urn:x:y"}, "resource"),
        ({"resource": "http://crm.example/mcp"}, "resource"),
        ({"resource": "https://crm.example/mcp?a"}, "resource"),
        ({"authority": 7}, "authority"),
        ({"binding": "mtls"}, "binding"),
        ({"unlisted": "allow"}, "unlisted"),
        ({"record": "maybe"}, "record"),
        ({"max_body": 0}, "max_body"),
        ({"tools": {"read": "crm:read"}}, "tools.read"),
        ({"tools": {"read": ["crm read"]}}, "tools.read"),
        ({"base_scopes": "crm:base"}, "base_scopes"),
        ({"resources": {"crm://{?query}": ["crm:read"]}}, "resources"),
        ({"trusted_proxies": ["gateway"]}, "trusted_proxies"),
    ],
)
def test_what_does_not_fit_together_never_serves(
    changed: dict[str, Any], key: str, guarded: Callable[..., Guarded]
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        guarded(**changed)
    assert refusal.value.key == key


def test_without_its_authority_a_guard_never_serves(guarded: Callable[..., Guarded]) -> None:
    with socket.socket() as held:  # bound and not listening: nobody answers there
        held.bind(("127.0.0.1", 0))
        with pytest.raises(AuthorityUnavailable):
            guarded(authority=f"http://127.0.0.1:{held.getsockname()[1]}")
