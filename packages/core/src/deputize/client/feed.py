"""Revocations over HTTP, for a verifier: a thread that follows the authority's feed.

What was revoked stays revoked, whatever a later answer leaves out; what is not heard of in time is stale, and a
stale source denies (`Verifier`).
"""

import secrets
import threading
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from deputize.audit.checkpoint import parse_key
from deputize.client.feed_state import FeedState
from deputize.client.feed_stream import FeedStream
from deputize.client.http_source import Forked
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, DeputizeError
from deputize.model.revocation import RevocationView
from deputize.system import SystemClock
from deputize.verifier.sources import DEFAULT_BOUND
from deputize.wire.metadata import check_url, endpoint

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import httpx

FIRST_WAIT: Final = 2.0  # seconds
TIMEOUT: Final = 5.0
BACK_OFF: Final = (0.1, 5.0)  # seconds: at first, at most
_JOIN: Final = 1.0


class HttpRevocations:
    """A RevocationSource over `<issuer>/revocations` (`docs/formats/feed.md`). Times are in seconds.

    `auth`: how this reader shows who it is; an `httpx.Auth`, or a function that makes the fields of a form anew for
    each connection (client authentication by assertion). `bound`: older than this is stale. `log_key`: the log's
    verifier key, as `deputize audit key` prints it; then heartbeats count only with its signature, and only for a
    log that did not shrink. `first_wait`: how long the first use waits to hear of the authority at all.
    Raises InvalidRequest.
    """

    def __init__(
        self,
        issuer: str,
        *,
        auth: "httpx.Auth | Callable[[], Mapping[str, str]] | None" = None,
        bound: float = DEFAULT_BOUND,
        log_key: str | None = None,
        url: str | None = None,
        timeout: float = TIMEOUT,
        first_wait: float = FIRST_WAIT,
        back_off: tuple[float, float] = BACK_OFF,
        verify: "ssl.SSLContext | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self.issuer = check_url(issuer)
        self.bound = bound
        self._url = endpoint(issuer, "revocations") if url is None else check_url(url)
        self._auth = auth
        signer = None if log_key is None else parse_key(log_key)
        self._timeout = timeout
        self._first_wait = first_wait
        self._back_off = back_off
        self._verify = verify
        self._clock = clock or SystemClock()
        self._state = FeedState(self.issuer, self._clock, log_key=signer)
        self._follower: _Follower | None = None
        self._closed = False
        self._start_over()
        self._forked = Forked(self._start_over)

    def view(self) -> RevocationView:
        """See RevocationSource. The first use in a process starts the thread, and waits a moment for it."""
        if self._follower is None and not self._closed:
            self.start()
        if not self._state.heard.is_set() and not self._closed:
            self._state.heard.wait(max(0.0, self._wait_until - self._clock.monotonic()))
        return self._state.view()

    def age(self) -> float:
        """See RevocationSource: seconds since the last heartbeat was received; infinite before the first."""
        return self._clock.monotonic() - self._state.heard_at

    @property
    def failure(self) -> DeputizeError | None:
        """Why the feed is not being followed just now; None where it is, or nothing was tried."""
        return self._state.failure

    @property
    def cursor(self) -> int:
        """How much of the log this source was told of, in records."""
        return self._state.cursor

    def start(self) -> None:
        """Follow the feed from now on, in a daemon thread."""
        with self._lock:
            if self._follower is None and not self._closed:
                self._wait_until = self._clock.monotonic() + self._first_wait
                stream = FeedStream(
                    self._url,
                    self._state,
                    auth=self._auth,
                    timeout=self._timeout,
                    silence=self.bound,
                    verify=self._verify,
                )
                self._follower = _Follower(stream, self._state, self._back_off)
                weakref.finalize(self, self._follower.stop)

    def close(self) -> None:
        """Stop following. What is known stays, and becomes stale."""
        with self._lock:
            self._closed = True
            follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()
            follower.join()

    async def aclose(self) -> None:
        """`close`, without blocking the loop."""
        import asyncio  # noqa: PLC0415  # who has a loop has loaded it

        await asyncio.to_thread(self.close)

    def _start_over(self) -> None:
        """In a child the thread is gone; what it had learned is kept, and is as old as it is."""
        self._lock = threading.Lock()
        self._follower = None
        self._wait_until = float("-inf")
        self._state.forked()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"HttpRevocations({self.issuer!r})"


class _Follower:
    """The thread. Knows the stream and the state, not the source: so that a forgotten source ends it."""

    def __init__(self, stream: FeedStream, state: FeedState, back_off: tuple[float, float]) -> None:
        self._stream = stream
        self._state = state
        self._first, self._most = back_off
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deputize-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._stream.cut()

    def join(self) -> None:
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN)

    def _run(self) -> None:
        delay = self._first
        while not self._stopping.is_set():
            before = self._state.heard_at
            try:
                self._stream.follow(self._stopping)
            except DeputizeError as error:
                self._state.failure = error
            except Exception as error:  # noqa: BLE001  # a user's `auth` may raise anything, and the thread must go on
                self._state.failure = AuthorityUnavailable(f"the feed's reader failed ({type(error).__name__})")
            delay = self._first if self._state.heard_at != before else min(delay * 2, self._most)
            self._stopping.wait(delay * (0.5 + secrets.randbelow(1000) / 1000))
