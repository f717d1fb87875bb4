"""Whose address a request has: the peer's, or what proxies of the operator's say of it."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from deputize.model.failure import ConfigurationError

KEPT: Final = 1024  # addresses that were read before
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def networks(texts: Sequence[str], *, key: str) -> tuple[Network, ...]:
    """Addresses and networks. Raises ConfigurationError."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError:
        raise ConfigurationError(f"{key}: is a list of addresses or networks (10.0.0.0/8)", key=key) from None


def within(address: str, trusted: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    found = _address(address)
    return found is not None and any(found in network for network in trusted)


def address_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> tuple[str, bool]:
    """(address, whether it is known): the right-most hop that is not one of ours.

    `forwarded`: the values of X-Forwarded-For, in order. A header that an untrusted peer sent is not read, and the
    address is then not what it claims to be: not known.
    """
    if not within(peer, trusted):
        return peer, not forwarded
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    for hop in reversed(hops):
        if _address(hop) is None:
            return peer, False
        if not within(hop, trusted):
            return hop, True
    return peer, True


@lru_cache(maxsize=KEPT)  # the same few peers, and more to parse than to look up
def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
