"""What a fetch does on the network: whom it connects to, what it sends, and what it takes for an answer."""

import gzip
import socket
import threading
from typing import Any

import pytest
from pytest_socket import SocketConnectBlockedError

from deputize.fetch import Fetched, Fetcher
from deputize.fetch.target import check_address, parse
from deputize.model.failure import AuthorityUnavailable, ConfigurationError, DeputizeError
from deputize.system import SystemClock
from deputize.testing import FakeClock

CLOUD = "169.254.169.254"
PUBLIC = "93.184.216.34"


def local(**named: Any) -> Fetcher:
    return Fetcher(**{"clock": SystemClock(), "loopback": True, **named})


def get(host: Any, path: str = "/", **named: Any) -> Fetched:
    return local(**named).get(f"http://127.0.0.1:{host.port}{path}")


def code_of(host: Any, **named: Any) -> str:
    with pytest.raises(DeputizeError) as caught:
        get(host, **named)
    return caught.value.code


def answer(body: bytes = b"{}", *lines: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else []), *lines]
    return "\r\n".join([*head, "", ""]).encode() + body


def test_what_is_at_a_url_is_fetched(host: Any) -> None:
    host.answer = answer(b'{"a":1}', kind="Application/JSON; charset=utf-8")
    found = get(host, "/jwks?x=1")
    assert (found.body, found.content_type, found.fresh_for) == (b'{"a":1}', "application/json", 0)
    asked = host.heard[0].decode().split("\r\n")
    assert asked[0] == "GET /jwks?x=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{host.port}" in asked
    assert "Accept-Encoding: identity" in asked
    assert not [line for line in asked if line.lower().startswith(("cookie", "authorization", "proxy"))]


async def test_the_async_twin_fetches_the_same(host: Any) -> None:
    assert (await local().aget(f"http://127.0.0.1:{host.port}/")).body == b"{}"


@pytest.mark.requirement("CI-05")
@pytest.mark.filterwarnings("ignore:A test tried to use socket")
def test_a_name_that_answers_twice_reaches_the_inside_of_a_naive_fetcher_and_not_of_ours(host: Any) -> None:
    def rebinding() -> Any:
        answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
        asked: list[str] = []

        def resolve(name: str, timeout: float) -> list[str]:
            asked.append(name)
            return next(answers)

        return resolve, asked

    def naive(url: str, resolve: Any) -> bytes:
        """Checks what the name means, then lets the connection look it up again, as most fetchers do."""
        target = parse(url)
        check_address(resolve(target.host, 1)[0], private=False, loopback=False)
        with socket.create_connection((resolve(target.host, 1)[0], target.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return connection.recv(1000)

    resolve, asked = rebinding()
    url = f"https://attacker.example:{host.port}/"
    assert b"200 OK" in naive(url, resolve)
    assert (len(host.heard), len(asked)) == (1, 2)

    resolve, asked = rebinding()
    with pytest.raises(SocketConnectBlockedError) as caught:  # the tests' own wall: it tells whom we connected to
        Fetcher(clock=SystemClock(), ports=None, resolve=resolve).get(url)
    assert PUBLIC in str(caught.value)
    assert (len(host.heard), asked) == (1, ["attacker.example"])


def test_tls_is_to_the_name_while_the_connection_is_to_the_checked_address(tls_host: Any, certificates: Any) -> None:
    def fetcher(name: str, **named: Any) -> Fetched:
        inside = Fetcher(
            **{
                "clock": SystemClock(),
                "private_network": True,
                "ca_file": str(certificates[0]),
                "ports": None,
                "resolve": lambda *_: ["127.0.0.1"],
                **named,
            }
        )
        return inside.get(f"https://{name}:{tls_host.port}/")

    assert fetcher("idp.example").body == b"{}"
    assert tls_host.names == ["idp.example"]
    assert f"Host: idp.example:{tls_host.port}".encode() in tls_host.heard[0]
    assert fetcher("127.0.0.1").body == b"{}"
    for name, named in (("other.example", {}), ("idp.example", {"ca_file": ""})):
        with pytest.raises(AuthorityUnavailable) as caught:
            fetcher(name, **named)
        assert caught.value.code == "fetch_failed"
    assert len(tls_host.heard) == 2


def test_a_ca_file_that_cannot_be_read_stops_the_start(tmp_path: Any) -> None:
    (tmp_path / "empty.pem").write_text("nothing", encoding="utf-8")
    for path in (tmp_path / "absent.pem", tmp_path / "empty.pem", tmp_path):
        with pytest.raises(ConfigurationError):
            Fetcher(clock=SystemClock(), ca_file=str(path))


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
@pytest.mark.requirement("CI-02")
def test_a_redirect_is_not_followed(host: Any, status: str) -> None:
    host.answer = answer(b"", f"Location: http://127.0.0.1:{host.port}/inside", status=status)
    assert code_of(host) == "fetch_refused"
    assert len(host.heard) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("201 Created", "fetch_refused"),
        ("204 None", "fetch_refused"),
        ("206 Partial", "fetch_refused"),
        ("304 Same", "fetch_refused"),
        ("401 No", "fetch_refused"),
        ("404 Gone", "fetch_refused"),
        ("500 Broken", "fetch_failed"),
        ("503 Busy", "fetch_failed"),
    ],
)
@pytest.mark.requirement("CI-02")
def test_nothing_but_200_is_taken(host: Any, status: str, code: str) -> None:
    host.answer = answer(b"{}", "Cache-Control: max-age=600", status=status)
    assert code_of(host) == code


@pytest.mark.parametrize("kind", ["", "text/html", "text/plain", "application/jsonp", "application/json/x", "json"])
@pytest.mark.requirement("CI-02")
def test_another_content_type_is_refused(host: Any, kind: str) -> None:
    host.answer = answer(kind=kind)
    assert code_of(host) == "fetch_refused"


@pytest.mark.requirement("CI-02")
def test_a_body_above_the_limit_is_refused(host: Any) -> None:
    host.answer = answer(b"a" * 5120)
    assert len(get(host, max_bytes=5120).body) == 5120
    host.answer = answer(b"a" * 5121)
    assert code_of(host, max_bytes=5120) == "fetch_refused"


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"400\r\n" + b"a" * 1024 + b"\r\n")


def test_a_body_without_end_is_refused_at_the_limit(host: Any) -> None:
    host.answer = endless
    assert code_of(host) == "fetch_refused"


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "GZIP", "identity, gzip"])
def test_a_compressed_answer_is_refused_unopened(host: Any, coding: str) -> None:
    host.answer = answer(gzip.compress(b"{}" + b" " * 50_000_000, 1)[:60_000], f"Content-Encoding: {coding}")
    assert code_of(host) == "fetch_refused"


def slow_body(connection: socket.socket) -> None:
    connection.sendall(answer(b"")[:-2].replace(b"Content-Length: 0", b"Content-Length: 1000") + b"\r\n")
    drip(connection)


def slow_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    drip(connection)


def continues(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        threading.Event().wait(0.02)


def silent(connection: socket.socket) -> None:
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"a")
        threading.Event().wait(0.02)


@pytest.mark.parametrize("slow", [slow_body, slow_head, continues, silent])
def test_a_host_that_takes_its_time_uses_up_one_deadline(host: Any, slow: Any) -> None:
    host.answer = slow
    begun = SystemClock().monotonic()
    assert code_of(host, timeout=0.3) == "fetch_failed"
    assert SystemClock().monotonic() - begun < 2


def test_a_name_server_that_does_not_answer_uses_up_one_deadline(monkeypatch: Any) -> None:
    never = threading.Event()

    def stuck(*_: object, **__: object) -> None:
        never.wait(20)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    with pytest.raises(AuthorityUnavailable) as caught:
        Fetcher(clock=SystemClock(), timeout=0.2).get("https://idp.example/")
    never.set()
    assert caught.value.code == "fetch_failed"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"+OK\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n",
    ],
)
def test_what_is_no_whole_answer_in_http_is_no_answer(host: Any, raw: bytes) -> None:
    host.answer = raw
    assert code_of(host) == "fetch_failed"


def test_a_host_that_is_not_there_is_a_failure_that_may_pass(monkeypatch: Any) -> None:
    with pytest.raises(AuthorityUnavailable) as caught:
        local().get("http://127.0.0.1:1/")
    assert caught.value.code == "fetch_failed"
    for nothing in ([], OSError(), UnicodeError()):

        def look_up(*_: object, nothing: Any = nothing, **__: object) -> Any:
            if isinstance(nothing, Exception):
                raise nothing
            return nothing

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(AuthorityUnavailable) as caught:
            Fetcher(clock=SystemClock()).get("https://idp.example/")
        assert caught.value.code == "fetch_failed"


def test_proxies_of_the_environment_are_not_used(host: Any, monkeypatch: Any) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert get(host).body == b"{}"


def test_an_address_that_does_not_answer_is_passed_over_for_the_next(tls_host: Any, certificates: Any) -> None:
    fetcher = Fetcher(
        clock=SystemClock(),
        private_network=True,
        ca_file=str(certificates[0]),
        ports=None,
        resolve=lambda *_: ["::1", "127.0.0.1"],
    )
    assert fetcher.get(f"https://idp.example:{tls_host.port}/").body == b"{}"


@pytest.mark.requirement("CI-06")
def test_an_answer_is_kept_as_its_headers_say_and_no_longer_than_we_say(host: Any) -> None:
    clock = FakeClock()
    fetcher = local(clock=clock, keep=100)
    url = f"http://127.0.0.1:{host.port}/"
    host.answer = answer(b"1", "Cache-Control: public, max-age=60", "Age: 10")
    assert fetcher.get(url).fresh_for == 50
    host.answer = answer(b"2", "Cache-Control: max-age=99999")
    clock.advance(49)
    assert fetcher.get(url).body == b"1"
    assert fetcher.get(url, fresh=True).body == b"2"
    host.answer = answer(b"3")
    clock.advance(99)
    assert fetcher.get(url).body == b"2"
    clock.advance(1)
    assert fetcher.get(url).body == b"3"
    host.answer = answer(b"4")
    assert fetcher.get(url).body == b"4"


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (["Cache-Control: no-store, max-age=60"], 0),
        (["Cache-Control: no-cache"], 0),
        (["Cache-Control: private, max-age=60"], 0),
        (["Cache-Control: max-age=60, max-age=600"], 0),
        (["Cache-Control: max-age=-60"], 0),
        (["Cache-Control: max-age=1e9"], 0),
        (["Cache-Control: max-age=99999999999999999999"], 0),
        (['Cache-Control: MAX-AGE="60"'], 60),
        (["Cache-Control: max-age=60, s-maxage=30"], 30),
        (["Cache-Control: max-age=60", "Vary: *"], 0),
        (["Cache-Control: max-age=60", "Age: 90"], 0),
        (["Expires: Wed, 21 Oct 2026 07:29:00 GMT", "Date: Wed, 21 Oct 2026 07:28:00 GMT"], 60),
        (["Expires: 0", "Date: Wed, 21 Oct 2026 07:28:00 GMT"], 0),
        (["Expires: Wed, 21 Oct 2026 07:29:00 GMT"], 0),
    ],
)
@pytest.mark.requirement("CI-06")
def test_headers_that_are_not_clear_keep_nothing(host: Any, lines: Any, kept: int) -> None:
    host.answer = answer(b"{}", *lines)
    assert get(host).fresh_for == kept


@pytest.mark.requirement("CI-06")
def test_an_error_is_never_kept(host: Any) -> None:
    fetcher, url = local(), f"http://127.0.0.1:{host.port}/"
    for wrong in (answer(status="404 Gone"), answer(kind="text/html"), answer(b"a" * 70_000)):
        host.answer = wrong.replace(b"Content-Length", b"Cache-Control: max-age=600\r\nContent-Length", 1)
        with pytest.raises(DeputizeError):
            fetcher.get(url)
    host.answer = answer(b"7")
    assert fetcher.get(url).body == b"7"
