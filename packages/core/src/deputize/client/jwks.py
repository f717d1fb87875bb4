"""The authority's public keys over HTTP, for a verifier: fetched seldom, kept while the endpoint is down."""

import threading
from typing import TYPE_CHECKING, Final

from deputize.client.http_source import Forked, get, http_client
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, DeputizeError, InvalidRequest
from deputize.system import SystemClock
from deputize.wire.alg import VerifyingKey
from deputize.wire.jwk import MAX_JWKS, parse_jwks
from deputize.wire.metadata import MAX_METADATA, check_url, parse, same_origin, well_known_url

if TYPE_CHECKING:
    import ssl

    import httpx

REFRESH: Final = 60.0
COOL_DOWN: Final = 5.0
MAX_STALE: Final = 3600.0
TIMEOUT: Final = 5.0
NEVER: Final = float("-inf")


class HttpKeys:
    """A KeySource over `jwks_uri` of the issuer's metadata. Times are in seconds.

    Keys are fetched again after `refresh`, and at once for a key id that is not known or whose time to sign has
    passed, but never twice within `cool_down`: whoever sends random key ids causes one request in that time.
    While the endpoint is down the keys of the last answer go on until they are `max_stale` old; then, and before
    the first answer, everything is refused. `verify` trusts a private CA. Raises InvalidRequest (`invalid_issuer`).
    """

    def __init__(
        self,
        issuer: str,
        *,
        refresh: float = REFRESH,
        cool_down: float = COOL_DOWN,
        max_stale: float = MAX_STALE,
        timeout: float = TIMEOUT,
        verify: "ssl.SSLContext | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self.issuer = check_url(issuer)
        self._refresh = refresh
        self._cool_down = cool_down
        self._max_stale = max_stale
        self._timeout = timeout
        self._verify = verify
        self._clock = clock or SystemClock()
        self._keys: dict[str, VerifyingKey] = {}
        self._url: str | None = None
        self._fetched = NEVER  # by the steady clock, as the next
        self._tried = NEVER
        self._failure: DeputizeError | None = None
        self._start_over()
        self._forked = Forked(self._start_over)

    @property
    def failure(self) -> DeputizeError | None:
        """Why the last fetch failed; None where it did not."""
        return self._failure

    def key(self, kid: str) -> VerifyingKey | None:
        """See KeySource. Raises AuthorityUnavailable where the keys are too old, or there never were any."""
        found = self._keys.get(kid)
        age = self._clock.monotonic() - self._fetched
        if found is None or age > self._max_stale:
            self._fetch_now()
            found = self._keys.get(kid)
        elif found.sign_until is not None and self._clock.now() > found.sign_until:
            # Its lease was renewed, or it signs no more. While the endpoint is down nobody waits to learn which.
            if self._failure is None:
                self._fetch_now()
                found = self._keys.get(kid)
            else:
                self._fetch_soon()
        elif age > self._refresh:
            self._fetch_soon()
        if self._clock.monotonic() - self._fetched > self._max_stale:
            raise AuthorityUnavailable("the authority's keys could not be fetched, or are too old to be believed")
        return found

    def _start_over(self) -> None:
        self._turn = threading.Lock()

    def _cooling(self) -> bool:
        return self._clock.monotonic() - self._tried < self._cool_down

    def _fetch_now(self) -> None:
        """One caller fetches; who comes meanwhile waits for its answer, and finds the cool-down after it."""
        with self._turn:
            if not self._cooling():
                self._fetch()

    def _fetch_soon(self) -> None:
        """Nobody waits: the keys at hand are good."""
        turn = self._turn
        if self._cooling() or not turn.acquire(blocking=False):
            return

        def fetch() -> None:
            try:
                self._fetch()
            finally:
                turn.release()

        try:
            threading.Thread(target=fetch, name="deputize-jwks", daemon=True).start()
        except RuntimeError:  # the interpreter is ending
            turn.release()

    def _fetch(self) -> None:
        self._tried = self._clock.monotonic()
        try:
            with http_client(timeout=self._timeout, verify=self._verify) as client:
                if self._url is None:
                    self._url = self._discover(client)
                raw = get(client, self._url, most=MAX_JWKS, patience=self._timeout)
            keys = parse_jwks(raw)
        except DeputizeError as error:
            self._failure = error
            self._url = None  # it may have moved
        else:
            self._keys, self._failure = keys, None
            self._fetched = self._tried
        self._tried = self._clock.monotonic()

    def _discover(self, client: "httpx.Client") -> str:
        raw = get(client, well_known_url(self.issuer), most=MAX_METADATA, patience=self._timeout)
        url = parse(raw, issuer=self.issuer).jwks_uri
        if url is None or not same_origin(url, self.issuer):
            raise InvalidRequest("the metadata names no keys at the issuer's own origin", code="metadata_malformed")
        return url
