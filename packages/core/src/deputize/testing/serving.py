"""A server in a thread of the test's own process, on the loopback: a clock that stands serves both sides."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import socket
from typing import TYPE_CHECKING, Final

from deputize.server.app import create_app
from deputize.server.run import server_of

if TYPE_CHECKING:
    from deputize.authority.engine import Engine

PATIENCE: Final = 10.0  # seconds
_PORTS: Final = range(10_000, 30_000)  # below those of outgoing connections: from 32768 on Linux, else from 49152
_TRIES: Final = 100


def free_port() -> int:
    """A port of the loopback that nobody listens on, and that no outgoing connection is given meanwhile.

    Raises RuntimeError where none was found.
    """
    for _ in range(_TRIES):
        port = secrets.choice(_PORTS)
        with socket() as held, suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port of the loopback is free")


@contextmanager
def serving(engine: "Engine", held: socket) -> Iterator[None]:
    """`engine` over HTTP for as long as the block runs; closing it is the caller's. Raises RuntimeError.

    `held` is a TCP socket of the loopback that listens: nobody takes its port before the server is there.
    """
    host, port = held.getsockname()[:2]
    server = server_of(create_app(engine), host=host, port=port, grace=2)
    ready = threading.Event()
    startup = server.startup

    async def started(sockets: list[socket] | None = None) -> None:
        await startup(sockets)
        ready.set()

    server.startup = started  # type: ignore[method-assign]  # to be told, in place of asking again and again
    thread = threading.Thread(target=server.run, args=([held],))
    thread.start()
    try:
        if not ready.wait(PATIENCE):
            raise RuntimeError("the server did not start")
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
