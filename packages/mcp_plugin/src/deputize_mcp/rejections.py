"""Requests that no caller could be named for: counted, one bounded record for each code, address and minute."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from deputize.errors import ConfigurationError, DeputizeError
from deputize_mcp.asgi import Scope

logger = logging.getLogger(__name__)
Reject = Callable[[str, str, int], Awaitable[None]]
MINUTE: Final = 60.0  # seconds
MOST: Final = 256  # pairs of code and address that are told apart
OTHERS: Final = "others"
MISSING: Final = "missing_token"  # how every client begins


class Rejections:
    """`reject(code, address, count)` writes one record. `proxies`: addresses and networks in front of this server."""

    def __init__(
        self, reject: Reject | None, proxies: Sequence[str], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._reject = reject
        self._now = now
        try:
            self._proxies: list[IPv4Network | IPv6Network] = [ip_network(proxy) for proxy in proxies]
        except ValueError:
            raise ConfigurationError(
                "a trusted proxy is an address or a network such as 10.0.0.0/8", key="trusted_proxies"
            ) from None
        self._counts: dict[tuple[str, str], int] = {}
        self._since = self._now()

    async def note(self, scope: Scope, code: str) -> None:
        """Count; the first of its kind in a minute is recorded, the others with the first of the next. Never raises."""
        if code == MISSING or self._reject is None:
            return
        if self._now() - self._since >= MINUTE:
            self._since = self._now()
            left, self._counts = self._counts, {}
            for (name, client), count in left.items():
                if count:
                    await self._write(name, client, count)
        key = (code, self.client(scope))
        if key not in self._counts and len(self._counts) >= MOST:
            key = (code, OTHERS)
        if key in self._counts:
            self._counts[key] += 1
            return
        self._counts[key] = 0
        await self._write(*key, 1)

    def client(self, scope: Scope) -> str:
        """The address of the client: the peer, or the nearest that a chain of trusted proxies vouches for."""
        peer = scope.get("client")
        address = str(peer[0]) if peer else ""
        forwarded = [
            hop.strip()
            for name, value in scope["headers"]
            if name.lower() == b"x-forwarded-for"
            for hop in value.decode("latin-1").split(",")
        ]
        while forwarded and self._trusted(address):
            address = forwarded.pop()
        try:
            return str(ip_address(address))
        except ValueError:
            return "unknown"

    def _trusted(self, address: str) -> bool:
        try:
            return any(ip_address(address) in proxy for proxy in self._proxies)
        except ValueError:
            return False

    async def _write(self, code: str, client: str, count: int) -> None:
        try:
            if self._reject is not None:
                await self._reject(code, client, count)
        except DeputizeError as failure:
            logger.error("rejected requests could not be recorded: %s", failure.code)  # noqa: TRY400  # the code says it
