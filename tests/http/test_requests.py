"""What HTTP itself lets a client say: paths, methods, headers, bodies. Never a 5xx, and nothing in effect."""

import socket
import threading
import time
from urllib.parse import urlencode

import anyio
import pytest
from starlette.requests import Request

from deputize.errors import InvalidRequest
from deputize.server.incoming import read
from tests.http.raw import FORM, LOCAL, Cast, details

OWN = {"grant_type": "client_credentials", "resource": LOCAL, "scope": "tool:plan"}
CALL = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}


@pytest.mark.requirement("I10", "A-05")
@pytest.mark.parametrize(
    "path",
    [
        "/token/",
        "//token",
        "/token//",
        "/./token",
        "/TOKEN",
        "/token;a",
        "/token%00",
        "/token%2f",
        "/x/..%2ftoken",
        "/",
    ],
)
def test_a_path_that_only_looks_like_an_endpoint_is_none_and_leads_nowhere(cast: Cast, path: str) -> None:
    size = cast.world.size()
    answer = _raw(cast, f"POST {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"evil.example" not in answer
    assert b"location" not in answer.lower()
    assert not cast.world.since(size)


@pytest.mark.requirement("TX-01", "I10")
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "post", "PROPFIND"])
def test_another_method_does_nothing(cast: Cast, method: str) -> None:
    size = cast.world.size()
    for path in ("/token", "/introspect", "/revoke", "/reports", "/calls", "/session/revoke", "/session/close"):
        form = urlencode([*OWN.items(), *cast.boss.credentials()]).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {len(form)}\r\n\r\n"
        assert _raw(cast, head.encode() + form).split(b" ")[1] in {b"405", b"400"}, path
    for path in ("/session", "/session/tree"):
        token = cast.boss.root()
        if method != "HEAD":
            proofs = [cast.boss.proof(path, method, token=token)]
            sent = cast.world.http.request(
                method, cast.world.base + path, headers={"Authorization": f"DPoP {token}", "DPoP": proofs[0]}
            )
            assert sent.status_code == (200 if method == "GET" else 405)
    assert {one["outcome"] for one in cast.world.since(size)} <= {"permitted"}
    assert {one["type"] for one in cast.world.since(size)} <= {"session.opened"}


@pytest.mark.requirement("TX-01", "I10")
@pytest.mark.parametrize(
    ("content_type", "good"),
    [
        (FORM, True),
        (FORM.upper(), True),
        (FORM + "; charset=utf-8", True),
        (FORM + ";charset=utf-16", True),
        ("application/json", False),
        ("text/plain", False),
        ("", False),
        (FORM + ", application/json", False),
        ("multipart/form-data; boundary=a", False),
    ],
)
def test_a_form_is_a_form(cast: Cast, content_type: str, good: bool) -> None:
    """A charset says nothing: a form is percent-encoded UTF-8 whatever it claims (RFC 6749 §4.4.2, URL Standard §5)."""
    body = urlencode([*OWN.items(), *cast.boss.credentials()]).encode()
    sent = [("Content-Type", content_type), ("DPoP", cast.boss.proof("/token"))]
    assert (cast.boss.post("/token", body, sent).status_code == 200) is good


@pytest.mark.requirement("I10", "TX-01")
@pytest.mark.parametrize(
    "body",
    [
        b"grant_type",
        b"grant_type=%ff%fe",
        b"grant_type=%ed%a0%80",
        b"\xff\xfe",
        "grant_type=é".encode(),
        b"a=%00",
        b"%00=a",
        b"a=1&" * 65,
        b"=&=&=",
        b"&&&&",
        b"grant_type=a;grant_type=b",
        b"grant_type[]=a",
        b"",
    ],
)
def test_a_form_that_is_none_is_told_so_and_no_more(cast: Cast, body: bytes) -> None:
    size = cast.world.size()
    for path in ("/token", "/introspect", "/revoke", "/registry", "/reports"):
        answer = cast.boss.post(path, body, [("Content-Type", FORM)])
        assert answer.status_code in {400, 401}
        assert set(answer.json()) == {"error"}
        assert answer.headers["Cache-Control"] == "no-store"
    assert not cast.world.since(size)


@pytest.mark.requirement("I10")
@pytest.mark.parametrize("size", [64 * 1024 + 1, 10_000_000])
def test_a_body_that_is_too_large_is_refused_before_it_is_kept(cast: Cast, size: int) -> None:
    before = cast.world.size()
    head = f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {size}\r\n\r\n"
    assert _raw(cast, head.encode()).startswith(b"HTTP/1.1 400 ")
    chunked = f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = _raw(cast, chunked + b"10001\r\n" + b"a" * 0x10001 + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert not cast.world.since(before)


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    "head",
    [
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: \xb2\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nDPoP: a\r\n b\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nAuthorization : DPoP a\r\n\r\n",
        b"POST /tok\xc3\xa9n HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /token HTTP/9.9\r\nHost: x\r\n\r\n",
        b"POST /token\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_read_in_none(cast: Cast, head: bytes) -> None:
    size = cast.world.size()
    answer = _raw(cast, head)
    assert answer.startswith(b"HTTP/1.1 4") or answer == b""
    assert not cast.world.since(size)
    assert cast.world.http.get(cast.world.base + "/healthz").status_code == 200


@pytest.mark.requirement("I10")
@pytest.mark.parametrize("piece", [b"X-A: " + b"a" * 4000 + b"\r\n", b"a" * 4000])
def test_a_head_that_does_not_end_is_cut_off(cast: Cast, piece: bytes) -> None:
    host, port = _address(cast)
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(b"POST /token HTTP/1.1\r\nHost: x\r\nX-B: ")
        sent = 0
        try:
            while sent < 4_000_000:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        assert sent < 4_000_000
    assert cast.world.http.get(cast.world.base + "/healthz").status_code == 200


@pytest.mark.requirement("I10")
def test_a_body_that_does_not_come_is_not_waited_for(fresh: Cast) -> None:

    async def never() -> dict[str, object]:
        await anyio.sleep_forever()
        return {}

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": "/token", "headers": [], "query_string": b"", "state": {}}
        await read(Request(scope, never), limit=100, patience=0.02)  # type: ignore[arg-type]  # a message of its own

    with pytest.raises(InvalidRequest) as refused:
        anyio.run(run)
    assert refused.value.code == "too_slow"


@pytest.mark.requirement("I10")
def test_those_who_dawdle_keep_nobody_else_from_being_served(cast: Cast) -> None:
    host, port = _address(cast)
    slow = [socket.create_connection((host, port), timeout=10) for _ in range(100)]
    head = f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 100\r\n\r\na".encode()
    for connection in slow:
        connection.sendall(head)
    try:
        began = time.monotonic()
        assert cast.boss.try_root().status_code == 200
        assert time.monotonic() - began < 5
    finally:
        for connection in slow:
            connection.close()
    assert cast.world.http.get(cast.world.base + "/healthz").status_code == 200


@pytest.mark.requirement("I10", "I16")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"tool":"search","tool":"plan"}',
        b'{"tool":NaN}',
        b"[" * 60_000,
        b'{"a":' * 9 + b"1" + b"}" * 9,
        b'{"tool":"\\ud800"}',
        b'{"tool":"a\\u0000b","resource":"urn:deputize:tools","scopes":["tool:search"]}',
        b'\xef\xbb\xbf{"tool":"search"}',
        b'{"tool":"search"}{}',
        b'{"tool":"search","resource":"urn:deputize:tools","scopes":["tool:search"],"sub":"local|bob"}',
        b'{"tool":["search"],"resource":"urn:deputize:tools","scopes":["tool:search"]}',
        b'{"tool":"search","resource":"urn:deputize:tools","scopes":"tool:search"}',
        b'{"tool":"search","resource":"urn:deputize:tools","scopes":[]}',
        b'{"tool":"","resource":"urn:deputize:tools","scopes":["tool:search"]}',
    ],
)
def test_a_call_that_is_malformed_is_recorded_as_refused(cast: Cast, body: bytes) -> None:
    token = cast.reader.root(rights=details({LOCAL: ["tool:search"]}))
    size = cast.world.size()
    answer = cast.reader.hold("/calls", token, body)
    assert answer.status_code == 400
    records = cast.world.since(size)
    assert [(one["outcome"], one["agent"]) for one in records] == [("denied", cast.reader.sub)]
    assert records[0]["reference"] == answer.json()["reference"]
    assert cast.reader.hold("/calls", token, CALL).status_code == 200


@pytest.mark.requirement("I10")
@pytest.mark.parametrize("content_type", ["text/plain", FORM, "", "application/jsonp", "application/json, text/plain"])
def test_a_body_of_another_type_is_not_guessed_at(cast: Cast, content_type: str) -> None:
    token = cast.reader.root(rights=details({LOCAL: ["tool:search"]}))
    headers = [("Authorization", f"DPoP {token}"), ("DPoP", cast.reader.proof("/calls", token=token))]
    body = b'{"tool":"search","resource":"urn:deputize:tools","scopes":["tool:search"]}'
    size = cast.world.size()
    answer = cast.reader.post("/calls", body, [*headers, ("Content-Type", content_type)])
    cast.refused(answer, size, by=cast.reader)


@pytest.mark.requirement("A-17", "I9")
def test_nothing_that_was_sent_comes_back(cast: Cast) -> None:
    canary = "CANARYcanary123"
    answers = [
        cast.boss.send("/token", {**OWN, "scope": canary}),
        cast.boss.send("/token", cast.boss.access_fields(canary)),
        cast.boss.try_root(deputize_continues=canary),
        cast.boss.send("/" + canary, OWN),
        cast.boss.send("/token", {**OWN, "grant_type": canary}),
        cast.boss.send("/introspect", {"token": canary}),
    ]
    kept = [answer for answer in answers if canary in answer.text]
    assert [answer.json()["error"] for answer in kept] in ([], ["invalid_scope"])  # a scope's name, at most 64 of it
    for answer in answers:
        assert "server" not in answer.headers
        assert canary not in str(answer.headers)


@pytest.mark.requirement("I10")
def test_a_client_that_hangs_up_leaves_no_trace(cast: Cast) -> None:
    size = cast.world.size()
    host, port = _address(cast)
    for _ in range(20):
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(
                f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 9\r\n\r\na".encode()
            )
    assert cast.boss.try_root().status_code == 200
    assert len(cast.world.since(size)) == 1


def _address(cast: Cast) -> tuple[str, int]:
    host, _, port = cast.world.base.removeprefix("http://").partition(":")
    return host, int(port)


def _raw(cast: Cast, sent: bytes) -> bytes:
    """These bytes, and the first of what comes back."""
    with socket.create_connection(_address(cast), timeout=10) as connection:
        threading.Thread(target=_write, args=(connection, sent)).start()
        connection.settimeout(10)
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


def _write(connection: socket.socket, sent: bytes) -> None:
    try:
        connection.sendall(sent)
    except OSError:
        return
