"""The guarded GET: for every URL that a token, a metadata document or a client's name brought along."""

import asyncio
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from deputize.fetch import wire
from deputize.fetch.failure import failed, refused
from deputize.fetch.lifetime import fresh_for
from deputize.fetch.resolver import Resolve, system_resolve
from deputize.fetch.target import HTTPS, Address, Target, check_address, is_loopback, parse
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, ConfigurationError

MAX_BYTES: Final = 64 * 1024
TIMEOUT: Final = 5.0  # seconds, from the first look-up to the last byte
JSON: Final = frozenset({"application/json"})
_MAX_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was at a URL. `fresh_for` is how many seconds it may be kept, by its headers and within our bound."""

    body: bytes
    content_type: str
    fresh_for: int


class Fetcher:
    """Fetches JSON from hosts that nobody vouches for.

    https alone, a host that resolves to public addresses alone (every one of them is checked, and the checked one is
    connected to, so that a second answer of the name server changes nothing), no redirect, no proxy, no credentials,
    no content coding, status 200, a stated content type, a limit in bytes and one in seconds for all of it together.

    Args:
        clock: Whose steady seconds bound a fetch.
        private_network: Private addresses are allowed as well: for hosts that the operator wrote down. Link-local
            addresses, and with them the metadata of clouds, never are.
        loopback: `http` and every port are allowed on this machine's loopback, for development and tests.
        ca_file: Certificate authorities to trust instead of the system's.
        ports: The ports that may be asked; None for every port.
        max_bytes: The longest body that is taken.
        timeout: Seconds for all of a fetch.
        keep: The longest that an answer is kept, in seconds, whatever its headers say; 0 keeps none.
        resolve: Turns a name into addresses within seconds; injected in tests.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        private_network: bool = False,
        loopback: bool = False,
        ca_file: str = "",
        ports: Collection[int] | None = frozenset({443}),
        max_bytes: int = MAX_BYTES,
        timeout: float = TIMEOUT,
        keep: int = 3600,
        resolve: Resolve = system_resolve,
    ) -> None:
        self._clock = clock
        self._private = private_network
        self._loopback = loopback
        self._ports = None if ports is None else frozenset(ports)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._keep = keep
        self._resolve = resolve
        self._tls = _tls(ca_file) if ca_file else None
        self._kept: dict[tuple[str, frozenset[str], int], tuple[float, Fetched]] = {}

    def get(
        self, url: str, *, types: Collection[str] = JSON, max_bytes: int | None = None, fresh: bool = False
    ) -> Fetched:
        """What is at `url`, of one of the media `types`; `fresh` asks again whatever is kept.

        Raises InvalidRequest (`fetch_refused`): the URL, its address or the answer is not acceptable.
        Raises AuthorityUnavailable (`fetch_failed`): the host could not be reached, or not in time.
        """
        target = self._checked(url)
        key = (url, frozenset(types), max_bytes or self._max_bytes)
        kept = self._kept.get(key)
        if not fresh and kept is not None and self._clock.monotonic() < kept[0]:
            return kept[1]
        self._kept.pop(key, None)
        found = self._fetch(target, key[1], key[2])
        if found.fresh_for > 0:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = (self._clock.monotonic() + found.fresh_for, found)
        return found

    async def aget(
        self, url: str, *, types: Collection[str] = JSON, max_bytes: int | None = None, fresh: bool = False
    ) -> Fetched:
        """`get`, on a thread of the event loop's pool."""
        return await asyncio.to_thread(self.get, url, types=types, max_bytes=max_bytes, fresh=fresh)

    def forget(self, url: str) -> None:
        """Ask again the next time, whatever its headers let be kept."""
        for key in [key for key in list(self._kept) if key[0] == url]:
            self._kept.pop(key, None)

    def _checked(self, url: str) -> Target:
        target = parse(url)
        local = self._loopback and is_loopback(target.host)
        if target.scheme != HTTPS and not local:
            raise refused("https alone is fetched; http is for the loopback")
        if self._ports is not None and target.port not in self._ports and not local:
            raise refused("the port is not one that is fetched from")
        return target

    def _fetch(self, target: Target, types: frozenset[str], max_bytes: int) -> Fetched:
        deadline = self._clock.monotonic() + self._timeout

        def remaining() -> float:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                raise failed("it took too long")
            return left

        reply = self._first_answer(target, types, max_bytes, remaining)
        return Fetched(reply.body, _judged(reply, types), fresh_for(reply.headers, longest=self._keep))

    def _first_answer(
        self, target: Target, types: frozenset[str], max_bytes: int, remaining: wire.Remaining
    ) -> wire.Reply:
        """Of the host's addresses the first that answers; one that may not be asked refuses them all."""
        accept = ", ".join(sorted(types))
        trouble: AuthorityUnavailable | None = None
        for address in self._addresses(target, remaining):
            try:
                return wire.get(
                    target, address, accept=accept, tls=self._context, max_bytes=max_bytes, remaining=remaining
                )
            except AuthorityUnavailable as error:
                trouble = error
        raise trouble or failed("the host has no address")

    def _context(self) -> ssl.SSLContext:
        """The system's authorities take a while to load: that is done when a connection first needs them."""
        if self._tls is None:
            self._tls = _tls("")
        return self._tls

    def _addresses(self, target: Target, remaining: wire.Remaining) -> list[Address]:
        names = [target.host] if target.literal is not None else self._resolve(target.host, remaining())
        # A public name that points at this machine is an attack, also where the loopback itself may be asked.
        local = self._loopback and is_loopback(target.host)
        found = [check_address(name, private=self._private, loopback=local) for name in names]
        if target.scheme != HTTPS and not all(address.is_loopback for address in found):
            raise refused("https alone is fetched; http is for the loopback")
        return found


def _judged(reply: wire.Reply, types: frozenset[str]) -> str:
    """The media type of a reply that may be used. Raises InvalidRequest, AuthorityUnavailable."""
    if reply.status >= 500:  # noqa: PLR2004  # the server's own trouble (RFC 9110 §15.6)
        raise failed("the host answers with an error of its own")
    if reply.status != 200:  # noqa: PLR2004  # a redirect too is not followed but refused
        raise refused("the answer is not 200")
    if reply.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise refused("the answer is encoded, which was not asked for")
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in types:
        raise refused("the answer is of another content type")
    return kind


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError):
        raise ConfigurationError("ca_file holds no certificates that can be read", path=ca_file) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
