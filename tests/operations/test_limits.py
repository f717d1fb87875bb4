"""What a stranger can make a server do: bodies, heads, floods and forged addresses, as attacks."""

import socket
import threading
from pathlib import Path

import pytest

from deputize import AuthorityUnavailable
from deputize.authority.engine import Engine
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.errors import ConfigurationError
from deputize.server.app import create_app
from deputize.server.limits import Limits
from deputize.server.listening import listen
from deputize.server.proxies import address_of, networks
from deputize.server.rate import Buckets, client_hint
from deputize.server.run import server_of
from deputize.server.strangers import MOST, OTHERS, Strangers
from deputize.system import SystemClock
from deputize.testing import FakeClock
from tests.operations.serving import CONFIGURATION, Site, site_of

TIGHT = Limits(rate=0.001)  # one request, and no second for a long time


def talk(port: int, data: bytes) -> bytes:
    """Send, and read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
        raw.sendall(data)
        return b"".join(iter(lambda: raw.recv(65_536), b""))


@pytest.mark.parametrize("length", [b"65537", b"99999999999", b"-1", b"x"])
def test_a_body_that_says_too_much_of_itself_is_refused_unread(site: Site, length: bytes) -> None:
    answer = talk(site.port, b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"error":"invalid_request"' in answer


def test_a_body_that_grows_is_cut_off(site: Site) -> None:
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    answer = talk(site.port, b"POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_that_trickles_in_is_given_up_and_its_connection_ends(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=Limits(body_timeout=0.2)) as site:
        answer = talk(site.port, b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer
        assert site.ask("/healthz").status == 200


def test_a_head_that_does_not_end_in_time_and_a_connection_that_idles_are_closed(tmp_path: Path) -> None:
    file = tmp_path / "deputize.toml"
    file.write_text(CONFIGURATION.format(port=1, server="", more=""), encoding="utf-8")
    configuration = load(file)
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
    tcp = listen("127.0.0.1", 0)
    port = tcp.getsockname()[1]
    server = server_of(create_app(engine), host="127.0.0.1", port=port, head_timeout=0.2, keep_alive=1)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [tcp]})
    thread.start()
    try:
        assert talk(port, b"") == b""
        assert talk(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ") == b""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as raw:
            raw.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert raw.recv(65_536).startswith(b"HTTP/1.1 200 ")
            raw.sendall(b"\r\n")  # keeps an idle connection from being idle, and begins nothing
            assert raw.recv(65_536) == b""
        assert talk(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")  # idle: a second
    finally:
        server.should_exit = True
        thread.join()
        engine.close()


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
def test_a_head_that_is_too_long_is_refused(site: Site, end: bytes) -> None:
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 4000) for number in range(10))
    answer = talk(site.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + lines + b"X-End: a" + end)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.endswith(b'{"error":"invalid_request"}')


def test_what_is_no_http_is_refused_in_the_one_shape(site: Site) -> None:
    answer = talk(site.port, b"\x16\x03\x01 hello\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"error":"invalid_request"}')


def test_a_flood_of_strangers_gets_429_and_is_no_decision(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=TIGHT) as site:
        before = len(site.records)
        assert site.form("/introspect").status == 401
        answer = site.form("/introspect")
        assert (answer.status, answer.json) == (429, {"error": "temporarily_unavailable"})
        assert int(answer.headers["retry-after"]) > 1
        assert len(site.records) == before
        assert site.ask("/healthz").status == site.ask("/readyz").status == 200  # probes are not counted


def test_a_client_that_asks_too_often_is_told_when_to_come_back_and_costs_no_one_else(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=Limits(rate=0.5)) as site, site.connect() as authority:  # 5 at once
        session = authority.session(agent="supervisor", user="alice")
        accesses, refused = 0, None
        while refused is None and accesses < 10:
            try:
                session.access("crm", ["crm:read"])
                accesses += 1
            except AuthorityUnavailable as error:
                refused = error
        assert refused is not None
        assert refused.retry_after is not None
        assert 0 < accesses < 5
        recorded = [record.type for record in site.records]
        sid = session.id
        assert len(site.engine.parts.store.read(lambda tx: tx.grants(txn=sid))) == accesses
        assert not [kind for kind in recorded if kind.endswith("denied")]
        assert authority.introspect("another client's question").active is False


def test_a_forged_address_is_worth_nothing(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=TIGHT) as site:
        assert site.form("/introspect", X_Forwarded_For="203.0.113.1").status == 401
        assert site.form("/introspect", X_Forwarded_For="203.0.113.2").status == 429


def test_behind_a_trusted_proxy_the_last_hop_before_it_counts(tmp_path: Path) -> None:
    limits = Limits(rate=0.001, trusted_proxies=("127.0.0.1",))
    with site_of(tmp_path, limits=limits) as site:
        assert site.form("/introspect", X_Forwarded_For="203.0.113.1").status == 401
        assert site.form("/introspect", X_Forwarded_For="203.0.113.2").status == 401
        assert site.form("/introspect", X_Forwarded_For="198.51.100.7, 203.0.113.2").status == 429  # forged on the left


@pytest.mark.parametrize(
    ("peer", "said", "address", "known"),
    [
        ("192.0.2.1", [], "192.0.2.1", True),
        ("192.0.2.1", ["10.0.0.1"], "192.0.2.1", False),
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1", True),
        ("10.0.0.1", ["198.51.100.1, 192.0.2.1", "10.0.0.2"], "192.0.2.1", True),
        ("10.0.0.1", ["192.0.2.1, garbage"], "10.0.0.1", False),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.1", True),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1", True),
        ("", [], "", True),
    ],
)
def test_the_right_most_hop_that_is_not_ours_is_the_client(
    peer: str, said: list[str], address: str, known: bool
) -> None:
    assert address_of(peer, said, networks(["10.0.0.0/8"], key="x")) == (address, known)


def test_a_proxy_that_is_no_address_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError) as error:
        networks(["proxy.internal"], key="server.trusted_proxies")
    assert error.value.key == "server.trusted_proxies"


def test_a_bucket_fills_again_and_the_number_of_buckets_is_bounded() -> None:
    clock = FakeClock()
    buckets = Buckets(2.0, clock.monotonic, kept=100)
    for _ in range(20):
        buckets.take("a")
    with pytest.raises(AuthorityUnavailable) as error:
        buckets.take("a")
    assert error.value.code == "rate_limited"
    clock.advance(1)
    buckets.take("a")
    buckets.take("a")
    with pytest.raises(AuthorityUnavailable):
        buckets.take("a")
    buckets.give_back("a")
    buckets.take("a")
    for number in range(1000):
        buckets.take(str(number))
    assert len(buckets) == 100


def test_a_customers_ipv6_network_is_one_client() -> None:
    assert client_hint("2001:db8:1:2:3::4") == client_hint("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert client_hint("::ffff:192.0.2.1") == "192.0.2.1"


def test_failures_before_authentication_are_counted_not_recorded_one_by_one(tmp_path: Path) -> None:
    with site_of(tmp_path) as site:
        for _ in range(5):
            assert site.form("/introspect").status == 401
        engine = site.engine
        assert not [record for record in site.records if record.type == "authentication.failed"]
        path, issuer = engine.parts.rules.configuration.path, site.issuer
    assert issuer
    configuration = load(path)
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
    found = engine.parts.store.read(lambda tx: tx.find(type="authentication.failed"))
    bodies = [record.body or b"" for record in found]
    engine.close()
    assert len(found) <= 2  # one, or two where a minute ended in between
    assert sum(int(body.partition(b'"count":')[2].split(b",")[0].split(b"}")[0]) for body in bodies) == 5
    assert all(b"127.0.0.1" in body for body in bodies)


def test_strangers_from_everywhere_make_a_bounded_number_of_records(tmp_path: Path) -> None:
    file = tmp_path / "deputize.toml"
    file.write_text(CONFIGURATION.format(port=1, server="", more=""), encoding="utf-8")
    configuration, clock = load(file), FakeClock()
    engine = Engine(configuration, store=store_of(configuration), clock=clock, follows=True)
    strangers = Strangers(engine.parts)
    for number in range(5000):
        strangers.note("invalid_client", f"10.1.{number // 250}.{number % 250}")
    assert strangers.write() == 0  # the minute is not over
    clock.advance(60)
    assert strangers.write() == MOST + 1
    assert strangers.write() == 0
    found = engine.parts.store.read(lambda tx: tx.find(type="authentication.failed", limit=5000))
    engine.close()
    assert len(found) == MOST + 1
    assert any(OTHERS.encode() in (record.body or b"") for record in found)


def test_more_requests_than_are_held_are_told_to_come_back(tmp_path: Path) -> None:
    with site_of(tmp_path, limits=Limits(waiting=0)) as site:
        answer = site.form("/introspect")
        assert (answer.status, answer.json) == (503, {"error": "temporarily_unavailable"})
