"""The SPIFFE Workload API, on both sides: an SVID of this process, and the bundles that other SVIDs are checked with.

Needs the extra `spiffe`. Every call makes its own connection and ends it, so no thread of gRPC is left behind a fork.
"""

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from deputize.model.clock import Clock
from deputize.model.failure import AttestationFailed, AuthorityUnavailable, InvalidToken
from deputize.wire.alg import VerifyingKey
from deputize.wire.jws import Header
from deputize.wire.jwt_svid import bundle_key

if TYPE_CHECKING:
    from spiffe import WorkloadApiClient

REFRESH: Final = 300.0  # seconds after which a bundle is read again
COOL_DOWN: Final = 10.0  # seconds between two reads, whatever SVIDs ask for
MAX_STALE: Final = 3600.0  # seconds that a bundle outlives its last reading
TIMEOUT: Final = 5.0  # seconds

T = TypeVar("T")


def fetch_svid(socket: str, audience: str) -> str:
    """A JWT-SVID of this process for `audience`, by the Workload API at `socket` (`unix:/path`).

    Raises AttestationFailed.
    """
    return _ask(socket, lambda api: api.fetch_jwt_svid({audience}, timeout=TIMEOUT).token)


class WorkloadApiKeys:
    """The JWT bundle of one trust domain, read when needed and kept for minutes. Thread-safe.

    Bundles are replaced as a whole. While the Workload API cannot be asked, what was read is believed for an hour.
    """

    def __init__(self, socket: str, trust_domain: str, *, clock: Clock) -> None:
        self._socket = socket
        self._domain = trust_domain
        self._clock = clock
        self._keys: Mapping[str, VerifyingKey] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._lock = threading.Lock()

    def key_for(self, header: Header) -> VerifyingKey | None:
        """The key of that `kid`, or None. Raises AuthorityUnavailable while there is no bundle to believe."""
        with self._lock:
            now = self._clock.monotonic()
            unknown = header.kid not in self._keys
            due = self._read_at is None or now - self._read_at >= REFRESH
            rested = self._tried_at is None or now - self._tried_at >= COOL_DOWN
            if (unknown or due) and rested:
                self._renew(now)
            if self._read_at is None or now - self._read_at >= MAX_STALE:
                raise AuthorityUnavailable("the bundle of a trust domain cannot be had", retry_after=COOL_DOWN)
            return self._keys.get(header.kid or "")

    def _renew(self, now: float) -> None:
        self._tried_at = now
        try:
            found = _ask(self._socket, lambda api: _authorities(api, self._domain))
        except AttestationFailed:
            return
        keys: dict[str, VerifyingKey] = {}
        for kid, key in found.items():
            try:
                keys[kid] = bundle_key(kid, key)
            except InvalidToken:
                continue  # of a kind that signs nothing we accept
        self._keys, self._read_at = keys, now


def workload_api_keys(clock: Clock) -> Callable[[str, str], WorkloadApiKeys]:
    """What `EvidenceKeys(bundles=...)` takes: (socket, trust domain) -> keys."""
    return lambda socket, trust_domain: WorkloadApiKeys(socket, trust_domain, clock=clock)


def _authorities(api: "WorkloadApiClient", domain: str) -> Mapping[str, object]:
    from spiffe import TrustDomain  # noqa: PLC0415  # the extra is imported where it is used

    bundle = api.fetch_jwt_bundles(timeout=TIMEOUT).get_bundle_for_trust_domain(TrustDomain(domain))
    return {} if bundle is None else bundle.jwt_authorities


def _ask(socket: str, question: Callable[["WorkloadApiClient"], T]) -> T:
    try:
        from spiffe import WorkloadApiClient  # noqa: PLC0415  # the extra is imported where it is used
        from spiffe.errors import PySpiffeError  # noqa: PLC0415  # the same
    except ImportError:
        raise AttestationFailed("the Workload API needs the extra: deputize[spiffe]") from None
    try:
        api = WorkloadApiClient(socket, default_timeout=TIMEOUT)
        try:
            return question(api)
        finally:
            api.close()
    except PySpiffeError:
        raise AttestationFailed("the Workload API gave no answer that can be used") from None
