"""One connection to the feed at a time: events as they come, into the state."""

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Final

from deputize.client.feed_state import FeedState
from deputize.client.http_source import http_client
from deputize.model.failure import AuthorityUnavailable, InvalidRequest
from deputize.wire.feed import (
    CONTENT_TYPE,
    ENTRY,
    HEARTBEAT,
    SNAPSHOT,
    EventReader,
    ServerEvent,
    parse_entry_event,
    parse_heartbeat,
    parse_page,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import httpx

OK: Final = 200


class FeedStream:
    """Follows `url` into `state`. `timeout` (seconds) is for connecting, `silence` for hearing nothing."""

    def __init__(
        self,
        url: str,
        state: FeedState,
        *,
        auth: "httpx.Auth | Callable[[], Mapping[str, str]] | None",
        timeout: float,
        silence: float,
        verify: "ssl.SSLContext | None",
    ) -> None:
        self._url = url
        self._state = state
        self._auth = auth
        self._timeout = timeout
        self._silence = silence
        self._verify = verify
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._cut = False

    def cut(self) -> None:
        """End the connection that is open, from another thread."""
        with self._lock:
            self._cut = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def follow(self, stopping: threading.Event) -> None:
        """Until the server ends the stream, or something fails. Raises DeputizeError."""
        import httpx  # noqa: PLC0415  # lazily, with the first connection

        try:
            with (
                http_client(timeout=self._timeout, read=self._silence, verify=self._verify) as client,
                self._open(client) as response,
            ):
                self._check(response)
                reader = EventReader()
                for chunk in response.iter_bytes():
                    for event in reader.feed(chunk):
                        self._take(event)
                    if stopping.is_set():
                        return
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            raise AuthorityUnavailable(f"the feed could not be read ({type(error).__name__})") from None
        finally:
            with self._lock:
                self._socket = None

    def _open(self, client: "httpx.Client") -> "contextlib.AbstractContextManager[httpx.Response]":
        import httpx  # noqa: PLC0415  # loaded by the caller

        params = self._state.place()
        headers = {"Accept": CONTENT_TYPE}
        if self._auth is None or isinstance(self._auth, httpx.Auth):
            return client.stream("GET", self._url, params=params, headers=headers, auth=self._auth)
        return client.stream("POST", self._url, data={**self._auth(), **params}, headers=headers)

    def _check(self, response: "httpx.Response") -> None:
        network = response.extensions.get("network_stream")
        held = None if network is None else network.get_extra_info("socket")
        with self._lock:
            self._socket = held if isinstance(held, socket.socket) else None
            if self._cut:
                raise AuthorityUnavailable("the feed is closed")
        if response.status_code != OK:
            raise AuthorityUnavailable(f"the authority answered {response.status_code} to a reader of the feed")
        if response.headers.get("content-type", "").partition(";")[0].strip() != CONTENT_TYPE:
            raise InvalidRequest("the authority's answer is no stream of events", code="feed_malformed")

    def _take(self, event: ServerEvent) -> None:
        if event.name == SNAPSHOT:
            self._state.take_page(parse_page(event.data))
        elif event.name == ENTRY:
            self._state.take_entry(parse_entry_event(event.data), event.cursor)
        elif event.name == HEARTBEAT:
            self._state.take_heartbeat(parse_heartbeat(event.data))
