"""Servers: in a thread of the test, and as processes of their own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from deputize import Authority
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.evidence import Join
from deputize.config import load
from deputize.model.event import Record
from deputize.server.app import create_app
from deputize.server.limits import Limits
from deputize.server.listening import listen
from deputize.server.run import Server, server_of
from deputize.server.spans import Spans, no_spans
from deputize.system import SystemClock
from deputize.testing.serving import free_port

COMMAND = [str(Path(sys.executable).with_name("deputize"))]
CONFIGURATION = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
users = "unrestricted"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[server]
port = {port}
{server}
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[resources.crm.tools]
read_customers = ["crm:read"]
[agents.supervisor]
open = true
use = {{ crm = ["crm:read"], local = ["plan"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["researcher"]
[agents.researcher]
use = {{ crm = ["crm:read"] }}
[[attestation]]
method = "join"
workload = "churn"
agents = ["supervisor", "researcher"]
{more}
"""


class Answer:
    """What HTTP answered."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int, path: str, *, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        found = connection.getresponse()
        return Answer(found.status, dict(found.getheaders()), found.read())
    finally:
        connection.close()


def form(port: int, path: str, body: str = "grant_type=x", **headers: str) -> Answer:
    named = {
        "Content-Type": "application/x-www-form-urlencoded",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    return ask(port, path, method="POST", body=body.encode(), headers=named)


class Site:
    """A server in a thread, with its engine at hand."""

    def __init__(self, engine: Engine, app: Starlette, server: Server, port: int) -> None:
        self.engine = engine
        self.app = app
        self.server = server
        self.port = port

    @property
    def issuer(self) -> str:
        return self.engine.parts.issuer

    @property
    def records(self) -> list[Record]:
        return self.engine.parts.store.read(lambda tx: list(tx.records()))

    def connect(self) -> Authority:
        token = enroll(self.engine.parts, "churn", by="test").token
        return Authority.connect(self.issuer, attestor=Join(token))

    def leave(self) -> None:
        """As at the beginning of an orderly end."""
        self.app.state.standing.leaving = True

    def ask(self, path: str, **kwargs: Any) -> Answer:
        return ask(self.port, path, **kwargs)

    def form(self, path: str, body: str = "grant_type=x", **headers: str) -> Answer:
        return form(self.port, path, body, **headers)


@contextlib.contextmanager
def site_of(
    folder: Path, *, limits: Limits | None = None, more: str = "", spans: Spans = no_spans, **bounds: Any
) -> Iterator[Site]:
    """`bounds`: what `server_of` is told beside."""
    tcp = listen("127.0.0.1", 0)
    port = tcp.getsockname()[1]
    file = folder / "deputize.toml"
    file.write_text(CONFIGURATION.format(port=port, server="", more=more), encoding="utf-8")
    configuration = load(file, asserted=True)
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
    app = create_app(engine, limits=limits, spans=spans)
    server = server_of(app, host="127.0.0.1", port=port, grace=5, **bounds)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [tcp]})
    thread.start()
    try:
        yield Site(engine, app, server, port)
    finally:
        server.should_exit = True
        thread.join()
        engine.close()


class Process:
    """`deputize serve` as a process; `ended` stops it in order."""

    def __init__(self, folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self._errors = (folder / "stderr").open("w", encoding="utf-8")
        self.popen = subprocess.Popen(
            [*COMMAND, "serve", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environ or {})},
        )
        self.screen: list[str] = []

    def read_until(self, beginning: str) -> str:
        """The first line of the screen that begins so; the server listens by then."""
        stream = self.popen.stdout
        assert stream is not None
        while line := stream.readline():
            self.screen.append(line.rstrip("\n"))
            if line.startswith(beginning):
                return line.rstrip("\n")
        raise AssertionError("\n".join(self.screen) + self.errors)

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.popen.send_signal(number)

    def ended(self) -> int:
        if self.popen.poll() is None:
            self.signal()
        try:
            status = self.popen.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            raise
        stream = self.popen.stdout
        if stream is not None and not stream.closed:
            self.screen += stream.read().splitlines()
            stream.close()
        self._errors.close()
        return status


@contextlib.contextmanager
def process_of(
    folder: Path, *arguments: str, server: str = "", more: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[tuple[Process, int]]:
    port = free_port()
    text = CONFIGURATION.format(port=port, server=server, more=more)
    (folder / "deputize.toml").write_text(text, encoding="utf-8")
    process = Process(folder, *arguments, environ=environ)
    try:
        yield process, port
    finally:
        process.ended()
