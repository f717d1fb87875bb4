"""Running the application: uvicorn, one process or several, and an orderly end."""

import socket
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from deputize.attestation.peer import peer_of
from deputize.model.failure import AttestationFailed
from deputize.server.incoming import PEER

GRACE: Final = 30  # seconds that running requests have at the end
KEEP_ALIVE: Final = 5  # seconds that an idle connection is kept
MAX_HEADERS: Final = 32 * 1024  # bytes


class Protocol(HttpToolsProtocol):
    """As uvicorn's, with a bound on a request's head, which that parser would keep whatever its size.

    Of a Unix-domain socket it tells who is at the other end: the kernel's word, per connection.
    """

    _head: int | None = None  # bytes of the head that is being read; None while none is

    def on_message_begin(self) -> None:
        """Count anew."""
        self._head = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._head = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Close the connection where a head does not end."""
        began = self._head is not None
        super().data_received(data)
        if began and self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MAX_HEADERS:
                self.send_400_response("the head is too large")

    def connection_made(self, transport: object) -> None:
        """Look at the socket before a request can come."""
        super().connection_made(transport)  # type: ignore[arg-type]  # asyncio hands over what it made
        found = getattr(transport, "get_extra_info", lambda _: None)("socket")
        if found is None or found.family != socket.AF_UNIX:
            return
        with_peer = dict(self.app_state)
        try:
            with_peer[PEER] = peer_of(socket.socket(fileno=socket.dup(found.fileno())))
        except (AttestationFailed, OSError):
            return
        self.app_state = with_peer


class Server(uvicorn.Server):
    """As uvicorn's, and the streams of the feed end before it waits for its connections to end."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self._app.state.hub.stop()
        await super().shutdown(sockets)


def server_of(app: Starlette, *, host: str, port: int, grace: int = GRACE) -> Server:
    """A server that is not started yet. Tells nothing of itself in its headers; trusts no proxy header."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Protocol,
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=grace,
        ws="none",
    )
    return Server(config, app)
