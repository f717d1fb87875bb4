"""A server on the loopback, and two processes' worth of clients: one hosts the supervisor, one the researcher."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize import Authority
from deputize.authority.engine import Engine, store_of
from deputize.authority.joining import enroll
from deputize.client.evidence import Join
from deputize.config import load
from deputize.server.app import create_app
from deputize.server.run import server_of
from deputize.system import SystemClock

CONFIGURATION = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
trust_domain = "example.org"
users = "unrestricted"
[store]
durability = "normal"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
binding = "dpop"
[resources.crm.tools]
read_customers = ["crm:read"]
[resources.desk]
url = "https://researcher.example/a2a"
scopes = ["invoke"]
agent = "researcher"
a2a = "JSONRPC"
[resources.desk.tools]
ask = ["invoke"]
[agents.supervisor]
open = true
use = {{ desk = ["invoke"], local = ["plan"] }}
delegate = {{ crm = ["crm:read", "crm:write"] }}
delegate_to = ["researcher"]
[agents.researcher]
use = {{ crm = ["crm:read"], local = ["search"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["writer"]
[agents.writer]
open = true
use = {{ crm = ["crm:read"] }}
[[attestation]]
method = "join"
workload = "front"
agents = ["supervisor", "writer"]
[[attestation]]
method = "join"
workload = "back"
agents = ["researcher"]
"""


class Rogue:
    """Somebody else's HTTP server. `pages`: path -> (status, headers, body); `asked` is what it was asked for."""

    def __init__(self, pages: dict[str, tuple[int, dict[str, str], bytes]]) -> None:
        self.pages, self.asked = pages, []
        asked: list[str] = self.asked

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                status, headers, body = pages.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing on the console."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Place:
    """One authority at a URL. `join` gives a token for a workload of a process of its own."""

    def __init__(self, folder: Path, *, more: str = "") -> None:
        held = socket.socket()
        held.bind(("127.0.0.1", 0))
        self.port = held.getsockname()[1]
        held.close()
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}"
        path = folder / "deputize.toml"
        path.write_text(CONFIGURATION.format(port=self.port) + more, encoding="utf-8")
        configuration = load(str(path))
        self.engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
        self._server = server_of(create_app(self.engine), host="127.0.0.1", port=self.port)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        self._clients: list[Authority] = []
        self._rogues: list[Rogue] = []

    def join(self, workload: str) -> str:
        return enroll(self.engine.parts, workload, by="test").token

    def connect(self, workload: str) -> Authority:
        client = Authority.connect(self.url, attestor=Join(self.join(workload)))
        self._clients.append(client)
        return client

    def rogue(self, *, more: Any = None) -> "Rogue":
        made = Rogue(more or {})
        self._rogues.append(made)
        return made

    def close(self) -> None:
        for rogue in self._rogues:
            rogue.close()
        for client in self._clients:
            client.close()
        self._server.should_exit = True
        self._thread.join()
        self.engine.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with contextlib.closing(Place(tmp_path)) as made:
        yield made


@pytest.fixture
def front(place: Any) -> Any:
    """The process that invites."""
    return place.connect("front")


@pytest.fixture
def back(place: Any) -> Any:
    """The process that redeems."""
    return place.connect("back")


@pytest.fixture
def make_place(tmp_path: Path) -> Any:
    """A place with more in its configuration; the caller closes it."""
    return lambda *, more="": Place(tmp_path, more=more)


@pytest.fixture
def rogue() -> Iterator[Rogue]:
    with contextlib.closing(Rogue({})) as made:
        yield made


@pytest.fixture
def other() -> Iterator[Rogue]:
    with contextlib.closing(Rogue({})) as made:
        yield made


@pytest.fixture
def get() -> Iterator[Any]:
    """A plain HTTP client's GET."""
    with httpx.Client(timeout=10) as client:
        yield client.get
