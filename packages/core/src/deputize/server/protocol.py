"""HTTP/1.1 as uvicorn reads it, with bounds on a request's head, and the kernel's word for who is at the other end."""

import asyncio
import socket
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deputize.attestation.peer import peer_of
from deputize.model.failure import AttestationFailed
from deputize.server.incoming import PEER
from deputize.server.limits import MAX_HEADERS, TOO_LARGE

HEAD_TIMEOUT: Final = 10.0  # seconds from the first byte, or the connection, to the end of a request's head
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
    b'content-length: 27\r\nconnection: close\r\n\r\n{"error":"invalid_request"}'
)


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too long or too slow ends it."""

    head_limit = MAX_HEADERS
    head_timeout = HEAD_TIMEOUT
    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head = 0

    def connection_made(self, transport: object) -> None:
        """Look at the socket before a request can come."""
        super().connection_made(transport)  # type: ignore[arg-type]  # asyncio hands over what it made
        self._wait_for_head()
        found = getattr(transport, "get_extra_info", lambda _: None)("socket")
        if found is None or found.family != socket.AF_UNIX:
            return
        try:
            with socket.socket(fileno=socket.dup(found.fileno())) as ours:
                self.app_state = {**self.app_state, PEER: peer_of(ours)}
        except (AttestationFailed, OSError):
            return

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio. What belongs to a head is counted while it has no end."""
        if self._timer is None and getattr(self.cycle, "response_complete", True):
            self._wait_for_head()
        super().data_received(data)
        if not self._in_head:
            return
        self._head += len(data)
        if self._head > self.head_limit and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        self._wait_for_head()

    def on_headers_complete(self) -> None:
        """The head is whole: how long it was, the application is told."""
        self._stop_waiting()
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.head_limit:
            self.scope["state"][TOO_LARGE] = True
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, in the one shape of refusals."""
        del msg
        status = b"HTTP/1.1 400 Bad Request\r\n"
        self.transport.write(_TOO_LARGE.replace(b"HTTP/1.1 431 Request Header Fields Too Large\r\n", status))
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.head_timeout, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
