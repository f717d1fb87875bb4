"""Clients that are slow, or lavish with what they send, as attacks: each is cut off, and others are answered."""

import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.server.connections import Connections, room
from deputize.server.limits import Limits
from tests.operations.serving import Site, site_of

ENOUGH = 20_000_000  # bytes: more than the kernel keeps for a server that does not read
CHUNKED = b"POST /introspect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
SLOW_BODY = b"POST /introspect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na"
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def opened(site: Site, sent: bytes = b"", *, of: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(("127.0.0.1", site.port), timeout=20, source_address=(of, 0))
    made.sendall(sent)
    return made


def rest(raw: socket.socket) -> bytes:
    """What still comes, to the end of the connection, however it ends."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := raw.recv(65_536):
            parts.append(part)
    return b"".join(parts)


def poured(raw: socket.socket, piece: bytes) -> int:
    """How much the server let itself be sent."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < ENOUGH:
            raw.sendall(piece)
            sent += len(piece)
    return sent


def until(site: Site, holds: Callable[[list[Any]], bool]) -> list[Any]:
    """The connections, as soon as this holds of them. Others are answered meanwhile."""
    for _ in range(3000):
        assert site.ask("/healthz").status == 200
        if holds(lines := list(site.server.server_state.connections)):
            return lines
    raise AssertionError("it does not come to hold")


def answered(line: Any) -> bool:
    return line.cycle is None or line.cycle.response_complete


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_of(tmp_path, limits=Limits(rate=0)) as found:
        yield found


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (CHUNKED + b"\r\n1\r\na\r\n0\r\n", b"X-%d: y\r\n" * 500),
        (CHUNKED + b"\r\n1\r\na\r\n0\r\nX: ", b"a" * 4000),
        (CHUNKED + b"\r\n1;a=", b"a" * 4000),
        (CHUNKED + b"\r\n1", b";a=b" * 1000),
        (CHUNKED + b"\r\n", b"0" * 4000),
        (CHUNKED + b"X: ", b"a" * 4000),
        (b"POST /", b"a" * 4000),
        (b"POST /introspect?", b"a=b&" * 1000),
        (b"", b"\r\n" * 2000),
        (b"", b"G" * 4000),
    ],
    ids=["trailers", "trailer", "extension", "extensions", "size", "field", "path", "query", "lines", "method"],
)
def test_nothing_around_a_request_goes_on_without_end(site: Site, beginning: bytes, piece: bytes) -> None:
    with opened(site, beginning) as raw:
        assert poured(raw, piece) < ENOUGH
    assert site.form("/introspect").status == 401


@pytest.mark.requirement("I10")
def test_the_frames_of_a_body_cost_no_more_than_a_head(site: Site) -> None:
    chunk = b"1;" + b"e" * 1000 + b"\r\na\r\n"
    with opened(site, CHUNKED + b"Expect: 100-continue\r\n\r\n") as raw:
        assert raw.recv(65_536).startswith(b"HTTP/1.1 100 ")
        raw.sendall(chunk * 40)
        assert rest(raw).startswith(b"HTTP/1.1 431 ")
    with opened(site, CHUNKED + b"Connection: close\r\n\r\n" + b"1\r\na\r\n" * 3000 + b"0\r\nX: y\r\n\r\n") as raw:
        assert rest(raw).startswith(b"HTTP/1.1 400 ")  # read whole: it is no form


@pytest.mark.parametrize("field", [b"X-Forwarded-For: 203.0.113.%d", b"x-forwarded-for:198.51.100.7,203.0.113.%d"])
def test_a_trailer_is_no_header(tmp_path: Path, field: bytes) -> None:
    """A proxy writes the address into the head; what a client puts behind its body says nothing (RFC 9110 §6.5.1)."""
    head = CHUNKED + b"Connection: close\r\nX-Forwarded-For: 203.0.113.250\r\n\r\n1\r\na\r\n0\r\n"
    with site_of(tmp_path, limits=Limits(rate=0.001, trusted_proxies=("127.0.0.1",))) as site:
        statuses = []
        for number in range(2):
            with opened(site, head + field % number + b"\r\n\r\n") as raw:
                statuses.append(rest(raw)[9:12])
    assert statuses[1] == b"429"


@pytest.mark.requirement("I10")
def test_requests_that_are_sent_before_an_answer_do_not_pile_up(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with opened(site) as raw:
        raw.sendall(GET % b"/healthz" * 2000)
        answered = rest(raw).count(b"HTTP/1.1 200 ")
    assert answered < 2000
    assert site.form("/introspect").status == 401
    assert not [line for line in caplog.records if line.levelname == "ERROR"]
    with opened(
        site, GET % b"/healthz" * 9 + (GET % b"/healthz").replace(b"Host", b"Connection: close\r\nHost")
    ) as raw:
        assert rest(raw).count(b"HTTP/1.1 200 ") == 10


@pytest.mark.requirement("I10")
def test_whoever_does_not_read_is_cut_off_and_takes_nobodys_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with site_of(tmp_path, limits=Limits(rate=0, waiting=1), write_timeout=1.0) as site:
        full = len(site.ask("/openapi.json").body)
        bad = []
        for _ in range(3):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else requests wait, and come all at once
            raw.connect(("127.0.0.1", site.port))
            bad.append(raw)
        until(site, lambda lines: len(lines) >= len(bad))
        asked, stuck = 0, set[object]()
        while len(stuck) < len(bad):
            for raw in bad:
                if raw.getsockname() not in stuck:
                    raw.sendall(GET % b"/openapi.json")
            asked += 1
            lines = until(site, lambda lines: all(one.flow.write_paused or answered(one) for one in lines))
            stuck |= {one.client for one in lines if one.flow.write_paused}
        for raw in bad:
            raw.sendall(GET % b"/openapi.json")
        until(site, lambda _: not site.app.state.standing.in_hand)
        assert site.form("/introspect").status == 401
        until(site, lambda lines: not stuck & {one.client for one in lines})
        for raw in bad:
            with raw:
                assert len(rest(raw)) < full * asked
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


@pytest.mark.requirement("I10")
def test_bodies_that_do_not_come_take_nobodys_place(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=Limits(rate=0, waiting=2, body_timeout=1.0)) as site:
        slow = [opened(site, SLOW_BODY) for _ in range(20)]
        assert site.form("/introspect").status == 401
        for raw in slow:
            with raw:
                answer = rest(raw)
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"connection: close" in answer


@pytest.mark.requirement("I10")
def test_when_there_are_too_many_connections_the_longest_idle_ends_and_a_newcomer_is_answered(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=Limits(rate=0), connections=8) as site:
        own = opened(site, GET % b"/healthz")
        assert own.recv(65_536).startswith(b"HTTP/1.1 200 ")
        idle = []
        for sent in (b"", b"GET / HT", SLOW_BODY, GET % b"/healthz") * 5:
            idle.append(opened(site, sent, of="127.0.0.2"))
            assert site.form("/introspect").status == 401
        assert len(site.server.server_state.connections) <= 8
        for raw in idle[:12]:
            with raw:
                assert rest(raw).count(b"HTTP/1.1") <= 1  # they ended
        own.sendall(GET % b"/healthz")  # of an address that has few
        assert own.recv(65_536).startswith(b"HTTP/1.1 200 ")
        for raw in (own, *idle[12:]):
            raw.close()


class Line:
    """A connection that is told to end."""

    def __init__(self) -> None:
        self.ended = False

    def cut(self) -> None:
        self.ended = True


def test_whoever_waits_for_our_answer_is_not_ended_for_another() -> None:
    connections = Connections(3)
    asked, idle, late, last = Line(), Line(), Line(), Line()
    for line in (asked, idle, late):
        connections.opened(line, "192.0.2.1")
    connections.works(asked)
    connections.works(idle)
    connections.waits(idle)  # later than the others
    connections.opened(last, "192.0.2.2")
    assert [line.ended for line in (asked, idle, late, last)] == [False, False, True, False]
    connections.works(idle)
    connections.works(last)
    newcomer = Line()
    connections.opened(newcomer, "192.0.2.3")
    assert [line.ended for line in (asked, idle, last, newcomer)] == [False, False, False, True]
    connections.closed(asked)
    connections.closed(asked)
    assert len(connections) == 2


def test_a_process_opens_no_more_connections_than_it_may_have_files() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert room(4) == 4
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    code = (
        "import resource; from deputize.server.connections import room\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))\n"
        "print(room(100), room(8192), *resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert found.stdout.split() == ["100", "200", "400", "400"]
