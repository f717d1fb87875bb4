"""Which URLs are asked and which addresses are connected to: a table of attacks, none of which opens a socket."""

from typing import Any

import pytest

from deputize.fetch import Fetcher
from deputize.fetch.target import check_address, parse
from deputize.model.failure import InvalidRequest
from deputize.testing import FakeClock

pytestmark = pytest.mark.requirement("CI-05")

PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "2606:4700::1", "2a00::1"]

ODD_URLS = [
    "",
    "idp.example",
    "//idp.example/",
    "/jwks",
    "ftp://idp.example/",
    "file:///etc/passwd",
    "gopher://idp.example/",
    "data:application/json,{}",
    "dict://idp.example:11211/",
    "javascript:alert(1)",
    "HTTPS://idp.example/",
    "https:idp.example",
    "https:/idp.example/",
    "https:///idp.example/",
    "https://",
    "https://:443/",
    "https://@idp.example/",
    "https://user@idp.example/",
    "https://user:pw@idp.example/",
    "https://idp.example@evil.example/",
    "https://idp.example#@evil.example/",
    "https://idp.example\\@evil.example/",
    "https://idp.example/#fragment",
    "https://idp.example/#",
    "https://idp.example/a b",
    "https://idp.example/\r\nHost: evil",
    "https://idp.example/\n",
    "https://idp.example\t/",
    " https://idp.example/",
    "https://idp.example/\x00",
    "https://idp.example/é",
    "https://idp.example/%",
    "https://idp.example/%zz",
    "https://idp.example:0/",
    "https://idp.example:65536/",
    "https://idp.example:99999/",
    "https://idp.example:443x/",
    "https://idp.example:/",
    "https://idp.example:0443/",
    "https://idp.example:-1/",
    "https://idp%2eexample/",
    "https://%31%32%37.0.0.1/",
    "https://idp.example./",
    "https://.idp.example/",
    "https://idp..example/",
    "https://-idp.example/",
    "https://idp-.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + "a." * 127 + "example/",
    "https://idp.example/" + "a" * 2048,
    "https://\u0131dp.example/",
    "https://idp。example/",
    "https://①②⑦.⓪.⓪.①/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    "https://[fe80::1%25eth0]/",
    "https://[fe80::1%eth0]/",
    "https://[v1.fe80]/",
    "https://[127.0.0.1]/",
    "https://[]/",
    "https://[::ffff:127.0.0.1.]/",
    "https://[1::2::3]/",
]

SPELLINGS = [
    "2130706433",
    "017700000001",
    "0x7f000001",
    "0X7F000001",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "127.0.0.0x1",
    "127.0.0.01",
    "00127.0.0.1",
    "127.0.0.1.",
    "127.0.0.256",
    "127.0.0.1.1",
    "1.2.3",
    "0",
    "0x",
    "4294967297",
    "a.b.1",
    "idp.0x7f",
]

SPECIAL = [
    "0.0.0.0",  # noqa: S104  # to be refused
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "169.254.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "::",
    "::1",
    "::2",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
]

NEVER = ["169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fe80::1", "0.1.2.3", "::", "224.0.0.1", "ff02::1"]
NEVER += ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:a00:1::", "::10.0.0.1", "255.255.255.255"]


def fetcher(answers: list[str] | None = None, **named: Any) -> Fetcher:
    def resolve(host: str, timeout: float) -> list[str]:
        assert answers is not None, f"{host} was looked up"
        return answers

    return Fetcher(clock=FakeClock(), resolve=resolve, **named)


def refused(url: str, answers: list[str] | None = None, **named: Any) -> bool:
    with pytest.raises(InvalidRequest) as caught:
        fetcher(answers, **named).get(url)
    assert url not in str(caught.value) or not url
    return caught.value.code == "fetch_refused"


@pytest.mark.parametrize("url", ODD_URLS)
def test_a_url_with_more_than_one_reading_is_refused_before_any_look_up(url: str) -> None:
    assert refused(url)


@pytest.mark.parametrize("host", SPELLINGS)
def test_an_address_in_another_spelling_is_refused_before_any_look_up(host: str) -> None:
    assert refused(f"https://{host}/", private_network=True, loopback=True)


@pytest.mark.parametrize("address", SPECIAL)
def test_a_name_at_a_special_use_address_is_not_connected_to(address: str) -> None:
    assert refused("https://idp.example/", [address])
    assert refused("https://idp.example/", ["8.8.8.8", address])
    assert refused("https://idp.example/", [address, "8.8.8.8"])


@pytest.mark.parametrize("address", [text for text in SPECIAL if "%" not in text])
def test_a_special_use_address_in_the_url_is_not_connected_to(address: str) -> None:
    assert refused(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_asked(address: str) -> None:
    assert str(check_address(address, private=False, loopback=False)) == address


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "100.64.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "::1", "fd12::1"]
)
def test_a_private_address_may_be_asked_where_the_operator_says_so(address: str) -> None:
    assert str(check_address(address, private=True, loopback=False)) == address
    with pytest.raises(InvalidRequest):
        check_address(address, private=False, loopback=False)


@pytest.mark.parametrize("address", NEVER)
def test_metadata_of_clouds_and_addresses_in_disguise_are_never_asked(address: str) -> None:
    assert refused("https://idp.example/", [address], private_network=True, loopback=True)


@pytest.mark.parametrize("answer", ["", "localhost", "idp.example", "127.0.0.1:80", "0x7f.1", "1.2.3.4/32", "-"])
def test_an_answer_that_is_no_address_is_refused(answer: str) -> None:
    assert refused("https://idp.example/", [answer])


@pytest.mark.parametrize("url", ["http://idp.example/", "http://8.8.8.8/", "http://127.0.0.1/", "http://localhost/"])
@pytest.mark.requirement("TX-21")
def test_plain_http_is_refused_but_on_the_loopback_where_that_is_allowed(url: str) -> None:
    assert refused(url)
    assert refused(url, private_network=True)
    if "example" in url or "8.8" in url:
        assert refused(url, ["127.0.0.1"], loopback=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1"])
def test_localhost_that_is_elsewhere_is_not_asked_in_clear(address: str) -> None:
    assert refused("http://localhost/", [address], loopback=True, private_network=True)


def test_a_public_name_that_points_at_this_machine_is_refused_also_in_development() -> None:
    assert refused("https://idp.example/", ["127.0.0.1"], loopback=True)


@pytest.mark.parametrize("port", [1, 22, 25, 80, 444, 6379, 8443, 11211, 65535])
def test_a_port_that_is_not_listed_is_refused_before_any_look_up(port: int) -> None:
    assert refused(f"https://idp.example:{port}/")


def test_a_target_is_sent_as_it_was_written() -> None:
    found = parse("https://IDP.example:8443/a%20b?c=/d")
    assert (found.host, found.port, found.resource) == ("idp.example", 8443, "/a%20b?c=/d")
    assert found.authority == "idp.example:8443"
    assert parse("https://[2606:4700::1]").authority == "[2606:4700::1]"
    assert parse("https://idp.example?x").resource == "/?x"
