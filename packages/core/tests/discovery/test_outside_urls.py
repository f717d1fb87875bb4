"""Every consumer of a URL from outside goes the guarded way: who listens where it must not go hears nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from deputize import Authority, AuthorityUnavailable, InvalidRequest
from deputize.authority.discovery import fetcher_for
from deputize.fetch import Fetcher
from deputize.issuers.client_documents import client_keys, fetch_document
from deputize.testing import FakeClock
from deputize.wire.jws import Header

ABROAD, HERE = "https://sts.example", "http://127.0.0.1:1"
HEADER = Header("ES256", "k", "jwt", None, frozenset(), ours=False)

# {port} is where somebody listens, on all of the loopback's spellings.
TARGETS = [
    "http://127.0.0.1:{port}/x",
    "https://127.0.0.1:{port}/x",
    "http://localhost:{port}/x",
    "http://[::1]:{port}/x",
    "http://[::ffff:127.0.0.1]:{port}/x",
    "http://0.0.0.0:{port}/x",
    "http://127.1:{port}/x",
    "http://2130706433:{port}/x",
    "http://0x7f000001:{port}/x",
    "http://0177.0.0.1:{port}/x",
    "http://127.0.0.1.:{port}/x",
    "http://user@127.0.0.1:{port}/x",
    "http://127.0.0.1:{port}/x#f",
    "http://127.0.0.1%00.example:{port}/x",
    "//127.0.0.1:{port}/x",
    "https://169.254.169.254/latest/meta-data",
    "https://10.0.0.1/x",
    "https://192.168.0.1/x",
    "https://[fd00::1]/x",
    "https://100.100.100.200/x",
    "ftp://127.0.0.1:{port}/x",
    "gopher://127.0.0.1:{port}/x",
    "file:///etc/passwd",
]

LOOPBACK = TARGETS[:4]  # what an authority at the loopback may ask


def by_card(url: str) -> None:
    with Authority(agents={"a": ["t"]}) as authority:
        authority.issuer = ABROAD
        authority.discover(url)


def by_document(url: str) -> None:
    fetch_document(fetcher_for(ABROAD, FakeClock()), url)


def by_client_keys(url: str) -> None:
    client_keys(url, fetcher=fetcher_for(ABROAD, FakeClock()), clock=FakeClock(), changed=print).key_for(HEADER)


CONSUMERS = [by_card, by_document, by_client_keys]


@pytest.mark.requirement("CI-05", "A-14")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_an_authority_elsewhere_asks_nobody_at_a_special_address(
    rogue: Any, consumer: Callable[[str], None], target: str
) -> None:
    with pytest.raises((InvalidRequest, AuthorityUnavailable)):
        consumer(target.format(port=rogue.url.rpartition(":")[2]))
    assert rogue.asked == []


@pytest.mark.requirement("CI-05", "A-14")
@pytest.mark.parametrize("target", [target for target in TARGETS if target not in LOOPBACK])
def test_a_key_set_that_a_document_names_goes_the_same_way_also_where_the_document_may_be_local(
    rogue: Any, target: str
) -> None:
    url = rogue.url + "/client.json"
    told = {"client_id": url, "jwks_uri": target.format(port=rogue.url.rpartition(":")[2])}
    rogue.pages["/client.json"] = (200, {}, json.dumps(told).encode())
    clock = FakeClock()
    keys = client_keys(url, fetcher=fetcher_for(HERE, clock), clock=clock, changed=print, loopback=True)
    with pytest.raises((InvalidRequest, AuthorityUnavailable)):
        keys.key_for(HEADER)
    assert set(rogue.asked) == {"/client.json"}


@pytest.mark.requirement("CI-02", "A-14")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_consumer_follows_a_redirect(rogue: Any, other: Any, status: int, tmp_path: Any) -> None:
    rogue.pages["/x"] = (status, {"Location": other.url + "/x"}, b"")
    with Authority(agents={"a": ["t"]}) as authority, pytest.raises(InvalidRequest):
        authority.discover(rogue.url + "/x")
    with pytest.raises(InvalidRequest):
        fetch_document(fetcher_for(HERE, FakeClock()), rogue.url + "/x", loopback=True)
    assert rogue.asked == ["/x", "/x"]
    assert other.asked == []


@pytest.mark.requirement("CI-05", "A-14")
def test_a_public_name_that_points_at_this_machine_is_not_asked(rogue: Any) -> None:
    answers = iter([["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["169.254.169.254"], ["::1"]])
    clock = FakeClock()
    for _ in range(4):
        fetcher = Fetcher(clock=clock, resolve=lambda *_: next(answers), ports=None)
        with pytest.raises(InvalidRequest):
            fetch_document(fetcher, f"https://rebound.example:{rogue.url.rpartition(':')[2]}/client.json")
    assert rogue.asked == []


@pytest.mark.requirement("CI-05")
def test_an_authority_at_the_loopback_may_ask_the_loopback(rogue: Any) -> None:
    with Authority(agents={"a": ["t"]}) as authority, pytest.raises(InvalidRequest):
        authority.discover(rogue.url)
    assert rogue.asked == ["/.well-known/agent-card.json"]
