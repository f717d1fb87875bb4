"""URLs that a request may go to, and addresses that it may connect to (RFC 3986, RFC 6890). Pure: nothing is resolved.

The host has one spelling: a lower-case DNS name, dotted-quad IPv4 or bracketed IPv6. Whatever a parser further down
could read as another address (decimal, octal, hexadecimal, zone ids, percent-encoding) is refused before it gets there.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from deputize.fetch.failure import refused
from deputize.model.failure import InvalidRequest

MAX_URL: Final = 2048  # characters
MAX_HOST: Final = 253
HTTPS: Final = "https"
DEFAULT_PORTS: Final = {"http": 80, HTTPS: 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?P<query>\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?\Z"
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# A last label like these makes some parsers read the whole name as a number (WHATWG URL, "ends in a number").
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")

_V4_NEVER: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "169.254.0.0/16",  # link-local; cloud metadata lives here
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "100.100.100.200/32",  # a cloud's metadata inside the shared range
    )
)
_V4_PRIVATE: Final = tuple(
    ipaddress.IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)
_V6_GLOBAL: Final = ipaddress.IPv6Network("2000::/3")
_V6_NEVER: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
        "fd00:ec2::/32",  # a cloud's metadata inside the private range
    )
)
_V6_PRIVATE: Final = ipaddress.IPv6Network("fc00::/7")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` is without brackets; `resource` is path and query as they are sent."""

    scheme: str
    host: str
    port: int
    resource: str
    literal: Address | None

    @property
    def authority(self) -> str:
        """The Host header: brackets for IPv6, the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port."""
        return self.scheme, self.host, self.port


def parse(url: str) -> Target:
    """The target of `url`. Raises InvalidRequest (`fetch_refused`) for user info, fragments and odd spellings."""
    match = _URL.match(url) if len(url) <= MAX_URL else None
    if match is None or _PERCENT.search(url):
        raise refused("not an http(s) URL with a plain host, without user info and fragment")
    scheme, host = match["scheme"], match["host"].lower()
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if port > 65_535:  # noqa: PLR2004  # the largest port there is
        raise refused("there is no such port")
    resource = (match["path"] or "/") + (match["query"] or "")
    literal = _literal(host)
    return Target(scheme, str(literal) if literal is not None else host, port, resource, literal)


def is_loopback(host: str) -> bool:
    """Whether a target's host names this machine by itself: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def at_loopback(url: str) -> bool:
    """Whether a URL is at this machine's own address."""
    try:
        return is_loopback(parse(url).host)
    except InvalidRequest:
        return False


def check_address(text: str, *, private: bool, loopback: bool) -> Address:
    """The address that `text` spells, where a request may go there. Raises InvalidRequest (`fetch_refused`).

    Refused are the special-use ranges of RFC 6890 and everything that carries an IPv4 address inside an IPv6 one
    (mapped, compatible, 6to4, NAT64, Teredo). `private` lets in the private ranges and the loopback, `loopback` the
    loopback alone; nothing lets in link-local addresses, where clouds keep their metadata.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise refused("the host resolves to something that is no plain address") from None
    if address.is_loopback and not getattr(address, "ipv4_mapped", None):
        allowed = private or loopback
    elif isinstance(address, ipaddress.IPv4Address):
        allowed = _v4_allowed(address, private=private)
    else:
        allowed = _v6_allowed(address, private=private)
    if not allowed:
        raise refused("the host is at a special-use address (RFC 6890)")
    return address


def _v4_allowed(address: ipaddress.IPv4Address, *, private: bool) -> bool:
    if any(address in network for network in _V4_NEVER):
        return False
    return private or not any(address in network for network in _V4_PRIVATE)


def _v6_allowed(address: ipaddress.IPv6Address, *, private: bool) -> bool:
    if address.scope_id is not None or any(address in network for network in _V6_NEVER):
        return False
    return address in _V6_GLOBAL or (private and address in _V6_PRIVATE)


def _literal(host: str) -> Address | None:
    """The address of a host that is one; None for a name. Raises InvalidRequest for what only looks like either."""
    if host.startswith("["):
        try:
            return ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            raise refused("not an IPv6 address") from None
    labels = host.split(".")
    if _NUMERIC.match(labels[-1]):
        try:
            return ipaddress.IPv4Address(host)
        except ValueError:
            raise refused("an IPv4 address is written in four decimal numbers") from None
    if len(host) > MAX_HOST or not all(_LABEL.match(label) for label in labels):
        raise refused("not a host name")
    return None
