"""The public keys of one foreign issuer: fetched when needed, kept while that is safe, asked for seldom."""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from deputize.fetch import Fetcher
from deputize.fetch.target import at_loopback
from deputize.issuers.metadata import discover_jwks
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, DeputizeError
from deputize.wire.alg import VerifyingKey
from deputize.wire.foreign_keys import parse_foreign_jwks
from deputize.wire.jwk import MAX_JWKS
from deputize.wire.jws import Header, KeyFor

DISCOVER: Final = "discover"
COOL_DOWN: Final = 10.0  # seconds between two fetches, whatever tokens ask for
REFRESH: Final = 300.0  # seconds after which keys are fetched again, so that retired ones are noticed
MAX_STALE: Final = 24 * 3600.0  # seconds that keys are believed while their issuer cannot be asked
_WAIT: Final = 15.0  # seconds that a thread waits for another's fetch, which is bounded itself
JWKS_TYPES: Final = frozenset({"application/json", "application/jwk-set+json"})
_SIGNATURES: Final = frozenset({"sig"})


@dataclass(frozen=True, slots=True)
class _Keys:
    """What is known, replaced as a whole. Times are steady seconds; None: never."""

    by_kid: MappingProxyType[str, VerifyingKey] = field(default_factory=lambda: MappingProxyType({}))
    fetched: float | None = None
    tried: float | None = None


class IssuerKeys:
    """The keys of `issuer` by `kid`; `key_for` is what `deputize.wire` asks (a `jws.KeyFor`).

    A `kid` that is not known makes one fetch in `COOL_DOWN` seconds, however many tokens name however many; threads
    that need the same fetch wait for one. A failed fetch leaves the keys as they were, until none succeeded for
    `max_stale` seconds: then nothing of this issuer is accepted.

    Args:
        issuer: Its exact `iss`.
        source: "discover" (its metadata), an https URL, or the path of a file.
        fetcher: How hosts are asked; not used for a file.
        clock: Whose steady seconds count.
        uses: Values of `use` that a key may have; JWT-SVID bundles say "jwt-svid".
        max_stale: Seconds that keys outlive their last successful fetch.
        load: Has the key set in another way than `source` says.
    """

    def __init__(
        self,
        issuer: str,
        source: str,
        fetcher: Fetcher,
        *,
        clock: Clock,
        uses: Collection[str] = _SIGNATURES,
        max_stale: float = MAX_STALE,
        load: Callable[[], bytes] | None = None,
    ) -> None:
        self.issuer = issuer
        self._source = source
        self._fetcher = fetcher
        self._clock = clock
        self._uses = frozenset(uses)
        self._max_stale = max_stale
        self._keys = _Keys()
        self._lock = threading.Lock()
        self._load = load or (self._from_network if _is_url(source) else self._from_file)
        self._url = source if _is_url(source) and source != DISCOVER else None

    def key_for(self, header: Header) -> VerifyingKey | None:
        """The key that a token's header names; None where the issuer has none by that name.

        A header without `kid` means the only key of a set that has one (OpenID Connect Core §10.1). Raises
        AuthorityUnavailable (`issuer_unavailable`) while there are no keys that may still be believed.
        """
        found = self._find(header)
        if found is None or self._due():
            self._renew(header)
            found = self._find(header)
        self._require_fresh()
        return found

    def _find(self, header: Header) -> VerifyingKey | None:
        known = self._keys.by_kid
        if header.kid is not None:
            return known.get(header.kid)
        return next(iter(known.values())) if len(known) == 1 else None

    def _due(self) -> bool:
        fetched = self._keys.fetched
        return fetched is None or self._clock.monotonic() - fetched >= REFRESH

    def _cooling(self) -> bool:
        tried = self._keys.tried
        return tried is not None and self._clock.monotonic() - tried < COOL_DOWN

    def _renew(self, header: Header) -> None:
        """Fetch, unless that was just done; who has a key already does not wait for somebody else's fetch."""
        if self._cooling() or not self._lock.acquire(timeout=_WAIT if self._find(header) is None else 0):
            return
        try:
            # Whoever waited here finds what the one before fetched, and the pause after it.
            if not self._cooling() and (self._find(header) is None or self._due()):
                self._fetch()
        finally:
            self._lock.release()

    def _fetch(self) -> None:
        before = self._keys
        if self._source == DISCOVER and self._due():
            self._url = None  # the keys may have moved
        try:
            by_kid = MappingProxyType(parse_foreign_jwks(self._load(), uses=self._uses))
        except DeputizeError:
            self._keys = _Keys(before.by_kid, before.fetched, self._clock.monotonic())
        else:
            now = self._clock.monotonic()
            self._keys = _Keys(by_kid, now, now)

    def _require_fresh(self) -> None:
        keys, now = self._keys, self._clock.monotonic()
        if keys.fetched is None or now - keys.fetched >= self._max_stale:
            wait = 0.0 if keys.tried is None else max(0.0, keys.tried + COOL_DOWN - now)
            raise AuthorityUnavailable(
                "the keys of a trusted issuer cannot be had", code="issuer_unavailable", retry_after=wait
            )

    def _from_network(self) -> bytes:
        if self._url is None:
            self._url = discover_jwks(self._fetcher, self.issuer)
        return self._fetcher.get(self._url, types=JWKS_TYPES, max_bytes=MAX_JWKS, fresh=True).body

    def _from_file(self) -> bytes:
        try:
            with Path(self._source).open("rb") as file:
                return file.read(MAX_JWKS + 1)
        except (OSError, ValueError):
            raise AuthorityUnavailable("a key set's file cannot be read", code="issuer_unavailable") from None


def issuer_keys(
    issuer: str,
    *,
    clock: Clock,
    jwks: str = DISCOVER,
    ca_file: str = "",
    private_network: bool = False,
    uses: Collection[str] = _SIGNATURES,
) -> IssuerKeys:
    """The keys of an issuer that an operator wrote down, with what was written beside it.

    Any port is asked, since the operator chose it; the loopback and plain http only where the issuer or `jwks` is at
    the loopback itself.
    """
    fetcher = Fetcher(
        clock=clock,
        private_network=private_network,
        loopback=any(at_loopback(url) for url in (issuer, jwks)),
        ca_file=ca_file,
        ports=None,
    )
    return IssuerKeys(issuer, jwks, fetcher, clock=clock, uses=uses)


class KeysRule(Protocol):
    """What `[[users]]` and `[[operators]]` say of where an issuer's keys are."""

    @property
    def issuer(self) -> str:
        """The exact `iss`."""
        ...

    @property
    def jwks(self) -> str:
        """`discover`, a URL or a path."""
        ...

    @property
    def ca_file(self) -> str:
        """Path of a private CA; empty: none."""
        ...

    @property
    def private_network(self) -> bool:
        """Whether the issuer may live at a private address."""
        ...


def keys_of(rule: KeysRule, *, clock: Clock, folder: Path) -> KeyFor:
    """The keys of a rule's issuer; paths start from `folder`."""
    keys = issuer_keys(
        rule.issuer,
        clock=clock,
        jwks=rule.jwks if _is_url(rule.jwks) else str(folder / rule.jwks),
        ca_file=str(folder / rule.ca_file) if rule.ca_file else "",
        private_network=rule.private_network,
    )
    return keys.key_for


def _is_url(source: str) -> bool:
    return source == DISCOVER or source.startswith(("https://", "http://"))
