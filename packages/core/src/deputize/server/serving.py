"""From a configuration to processes that answer: what `deputize serve` runs."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deputize.authority.engine import Engine
from deputize.authority.stores import store_of
from deputize.client.spiffe import workload_api_keys
from deputize.config import Configuration
from deputize.keys.anchor import Anchor
from deputize.model.failure import DeputizeError
from deputize.server.connections import room
from deputize.server.limits import CONNECTIONS, MULTIPROCESS, limits_of
from deputize.server.listening import listen, listen_unix, remove
from deputize.server.logs import FIELDS
from deputize.server.run import DRAIN, server_of
from deputize.server.spans import spans_from_environment
from deputize.server.workers import Workers
from deputize.system import SystemClock

FAILED: Final = 3  # the store or an issuer could not be reached
_LOG = logging.getLogger("deputize.serve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """One server: what it decides by, its trust root and its sockets."""

    configuration: Configuration
    anchor: Anchor
    tcp: socket.socket = field(repr=False)
    unix: socket.socket | None = field(default=None, repr=False)

    @property
    def port(self) -> int:
        """Which is listened on; where port 0 was asked for, the one that was found."""
        return int(self.tcp.getsockname()[1])


def open_sockets(configuration: Configuration, anchor: Anchor) -> Serving:
    """Listen. Raises ConfigurationError."""
    server = configuration.server
    tcp = listen(server.host, server.port)
    try:
        unix = listen_unix(server.unix_socket) if server.unix_socket else None
    except DeputizeError:
        tcp.close()
        raise
    return Serving(configuration=configuration, anchor=anchor, tcp=tcp, unix=unix)


def open_engine(serving: Serving) -> Engine:
    """The authority of one process. Raises ConfigurationError, StoreError."""
    configuration = serving.configuration
    store = store_of(configuration)
    try:
        return Engine(configuration, store=store, clock=SystemClock(), anchor=serving.anchor, follows=True)
    except BaseException:
        store.close()
        raise


def serve_one(serving: Serving, engine: Engine) -> int:
    """Answer until a signal to stop; then the key's lease ends and the store is closed."""
    from deputize.server.app import create_app  # noqa: PLC0415  # its figures look for the workers' folder when imported

    settings = serving.configuration.server
    try:
        app = create_app(
            engine,
            limits=limits_of(serving.configuration, workers=settings.workers),
            bundles=workload_api_keys(engine.parts.clock),
            spans=spans_from_environment(),
        )
        server = server_of(
            app,
            host=settings.host,
            port=serving.port,
            grace=settings.shutdown_grace,
            max_headers=settings.max_headers,
            connections=room(CONNECTIONS),
            unix=serving.unix,
            drain=DRAIN,
        )
        server.run(sockets=[serving.tcp])
    finally:
        engine.close()
    return 0


def serve(serving: Serving, *, opened: Callable[[Engine], None] | None = None) -> int:
    """One process or as many as the configuration says; the exit status. `opened` is called in the one process alone.

    Raises ConfigurationError, StoreError where the one process cannot start.
    """
    count = serving.configuration.server.workers
    try:
        if count == 1:
            engine = open_engine(serving)
            if opened is not None:
                opened(engine)
            return serve_one(serving, engine)
        return _several(serving, count)
    finally:
        if serving.unix is not None:
            remove(serving.configuration.server.unix_socket)


def _several(serving: Serving, count: int) -> int:
    def work() -> int:
        try:
            return serve_one(serving, open_engine(serving))
        except DeputizeError as error:
            _LOG.error("a worker cannot start: %s", error, extra={FIELDS: {"code": error.code}})  # one line
            return FAILED

    def gone(pid: int) -> None:
        """What only a living process has is no longer counted."""
        for file in Path(folder).glob(f"gauge_live*_{pid}.db"):
            file.unlink(missing_ok=True)

    folder = tempfile.mkdtemp(prefix="deputize-figures-")
    os.environ[MULTIPROCESS] = folder
    try:
        return Workers(count, work, grace=serving.configuration.server.shutdown_grace, ended=gone).run()
    finally:
        del os.environ[MULTIPROCESS]
        shutil.rmtree(folder, ignore_errors=True)
