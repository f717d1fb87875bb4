"""HTTP/1.1 as uvicorn reads it, with bounds on what a client sends and takes, and the kernel's word for who it is."""

import asyncio
import socket
from typing import Final

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from deputize.attestation.peer import peer_of
from deputize.model.failure import AttestationFailed
from deputize.server.connections import Connections
from deputize.server.incoming import PEER
from deputize.server.limits import CONNECTIONS, MAX_HEADERS, TOO_LARGE
from deputize.server.rate import client_hint

HEAD_TIMEOUT: Final = 10.0  # seconds from the first byte, or the connection, to the end of a request's head
WRITE_TIMEOUT: Final = 10.0  # seconds in which a client takes what is written to it
PIPELINED: Final = 16  # requests that wait behind one that has no answer yet
_REFUSAL: Final = (
    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncache-control: no-store\r\n"
    b'content-length: 27\r\nconnection: close\r\n\r\n{"error":"invalid_request"}'
)
_BAD: Final = b"400 Bad Request"
_TOO_LARGE: Final = b"431 Request Header Fields Too Large"


class Protocol(HttpToolsProtocol):
    """One connection. A head that is too long or too slow ends it, and so does a client that does not read.

    What frames a body (sizes of chunks, their extensions, trailers) has at most as many bytes as a head. Trailers are
    dropped: uvicorn would add them to the headers (RFC 9110 §6.5.1), behind what a proxy put there.
    """

    head_limit = MAX_HEADERS
    head_timeout = HEAD_TIMEOUT
    write_timeout = WRITE_TIMEOUT
    others = Connections(CONNECTIONS)
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _message = 0  # which one of this connection
    _in_head = True
    _done = False  # it is whole
    _body = 0  # bytes of its body
    _around = 0  # bytes of its head, while that has no end; then of what frames its body

    def connection_made(self, transport: object) -> None:
        """Look at the socket before a request can come."""
        super().connection_made(transport)  # type: ignore[arg-type]  # asyncio hands over what it made
        self._wait_for_head()
        self.others.opened(self, client_hint(self.client[0] if self.client else ""))
        found = getattr(transport, "get_extra_info", lambda _: None)("socket")
        if found is None or found.family != socket.AF_UNIX:
            return
        try:
            with socket.socket(fileno=socket.dup(found.fileno())) as ours:
                self.app_state = {**self.app_state, PEER: peer_of(ours)}
        except (AttestationFailed, OSError):
            return

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio. uvicorn tells the last request; the one that is being answered may be another."""
        self._stop_waiting()
        self._was_read()
        self.others.closed(self)
        if self._answering is not None:
            self._answering.disconnected = not self._answering.response_complete
            self._answering.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio. What belongs to a head, or frames a body, is counted while it has no end."""
        if self._timer is None and getattr(self.cycle, "response_complete", True):
            self._wait_for_head()
        message, body = self._message, self._body
        super().data_received(data)
        if message == self._message or (self._in_head and self._message == 1):  # no other request is in these bytes
            self._around += len(data) - (self._body - body)
        if self._around > self.head_limit and not self._done:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """The first byte of a request. Raises ValueError where too many wait: the parser stops, the connection ends."""
        if len(self.pipeline) >= PIPELINED:
            raise ValueError("too many requests wait on one connection")
        super().on_message_begin()
        self._message += 1
        self._in_head, self._done, self._body, self._around = True, False, 0, 0
        self._wait_for_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head; one that comes after it is a trailer."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: how long it was, the application is told."""
        self._stop_waiting()
        self._in_head, self._around = False, 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.head_limit:
            self.scope["state"][TOO_LARGE] = True
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A part of the body, without its frame."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: from here on the client waits for us."""
        self._done = True
        super().on_message_complete()
        self.others.works(self)

    def on_response_complete(self) -> None:
        """The answer is written: from here on we wait for the client."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._must_be_read()
        elif self.cycle.response_complete:
            self.others.waits(self)

    def pause_writing(self) -> None:
        """The client does not take what was written."""
        super().pause_writing()
        self._must_be_read()
        self.others.waits(self)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._was_read()
        if not self.cycle.response_complete:
            self.others.works(self)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, in the one shape of refusals."""
        del msg
        self._refuse(_BAD)

    def timeout_keep_alive_handler(self) -> None:
        """Nothing came for a while."""
        self._end()

    def cut(self) -> None:
        """End at once, whatever is still to be read or written."""
        self.transport.abort()

    def _refuse(self, status: bytes) -> None:
        """Said only where it cannot be taken for the answer to a request before."""
        if self.transport.is_closing():
            return
        answered = getattr(self.cycle, "response_complete", True)
        if answered or not (self._in_head or self.cycle.response_started or self.pipeline):
            self.transport.write(_REFUSAL % status)
        self._end()

    def _end(self) -> None:
        """Close; a client that does not read what is left has no connection for ever."""
        if not self.transport.is_closing():
            self.transport.close()
            self._must_be_read()

    def _wait_for_head(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.head_timeout, self._end)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _must_be_read(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(self.write_timeout, self.cut)

    def _was_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
