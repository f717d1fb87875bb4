"""Running the application: uvicorn, one process, and an orderly end."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette

from deputize.server.connections import Connections
from deputize.server.limits import CONNECTIONS, MAX_HEADERS
from deputize.server.protocol import HEAD_TIMEOUT, WRITE_TIMEOUT, Protocol

GRACE: Final = 30  # seconds that running requests have at the end
KEEP_ALIVE: Final = 5  # seconds that an idle connection is kept
DRAIN: Final = 0.5  # seconds in which a process that takes leave still answers, and says that it goes
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Server(uvicorn.Server):
    """As uvicorn's, with a Unix-domain socket beside, and an end that nobody's request is lost in."""

    def __init__(self, config: uvicorn.Config, app: Starlette, *, unix: socket.socket | None, drain: float) -> None:
        super().__init__(config)
        self._app = app
        self._unix = unix
        self._drain = drain

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        if self._unix is None:
            return
        loop, config = asyncio.get_running_loop(), self.config

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn makes it
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )

        self.servers.append(await loop.create_unix_server(protocol, sock=self._unix))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Not ready, then no new connections; the streams of the feed end before the rest is waited for."""
        self._app.state.standing.leaving = True
        await asyncio.sleep(self._drain)
        self._app.state.hub.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal to stop is an orderly end, and the process's own status: it is not raised again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def server_of(  # what a server is told
    app: Starlette,
    *,
    host: str,
    port: int,
    grace: int = GRACE,
    max_headers: int = MAX_HEADERS,
    head_timeout: float = HEAD_TIMEOUT,
    write_timeout: float = WRITE_TIMEOUT,
    connections: int = CONNECTIONS,
    keep_alive: int = KEEP_ALIVE,
    unix: socket.socket | None = None,
    drain: float = 0.0,
) -> Server:
    """A server that is not started yet. Tells nothing of itself in its headers; trusts no proxy header.

    `max_headers` in bytes; the time-outs, `keep_alive`, `grace` and `drain` in seconds. It has at most so many
    `connections` open. `unix` listens beside what `run` is given.
    """
    bounds = {
        "head_limit": max_headers,
        "head_timeout": head_timeout,
        "write_timeout": write_timeout,
        "others": Connections(connections),
    }
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=type("BoundProtocol", (Protocol,), bounds),
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=keep_alive,
        timeout_graceful_shutdown=grace,
        ws="none",
    )
    return Server(config, app, unix=unix, drain=drain)
