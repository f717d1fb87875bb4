"""A server with operators of an issuer on the loopback, agents that work there, and callers of every kind."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deputize import Authority
from deputize.audit.record import open_body
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.connect import connect_operator
from deputize.client.evidence import Join
from deputize.client.operator import Operator
from deputize.config import load
from deputize.model.event import Json
from deputize.system import SystemClock
from deputize.testing import FakeClock, FakeIssuer
from deputize.testing.serving import serving

CONFIGURATION = """
version = 1
[authority]
issuer = "{issuer}"
users = "unrestricted"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
binding = "dpop"
[resources.crm.tools]
read_customers = ["crm:read"]
[agents.supervisor]
open = true
delegate = {{ crm = ["crm:read"], local = ["search"] }}
delegate_to = ["researcher"]
use = {{ local = ["plan"] }}
[agents.researcher]
use = {{ crm = ["crm:read"], local = ["search"] }}
[[attestation]]
method = "join"
workload = "churn"
agents = ["supervisor", "researcher"]
[[operators]]
issuer = "{people}"
audience = ["https://sts.example", "the-cli"]
groups = {{ viewer = ["sec-read"], responder = ["sec-oncall"], admin = ["platform"] }}
"""
GROUPS = {"viewer": "sec-read", "responder": "sec-oncall", "admin": "platform", "none": "sales"}


class Site:
    """The server, its engine, and its people."""

    def __init__(self, folder: Path, people: FakeIssuer, port: int, clock: FakeClock) -> None:
        self.clock = clock
        self.folder = folder
        self.people = people
        self.url = f"http://127.0.0.1:{port}"
        self.file = folder / "deputize.toml"
        self.file.write_text(CONFIGURATION.format(issuer=self.url, people=people.url), encoding="utf-8")
        configuration = load(str(self.file))
        self.engine = Engine(configuration, store=store_of(configuration), clock=clock, follows=True)
        self.http = httpx.Client(base_url=self.url, trust_env=False)
        self._open: list[Operator] = []

    def token(self, role: str, sub: str | None = None, **claims: object) -> str:
        groups = {"groups": [GROUPS[role], "everybody"], **claims}
        return self.people.access_token(sub or f"u-{role}", "https://sts.example", **groups)

    def operator(self, role: str) -> Operator:
        token = self.token(role)
        found = connect_operator(self.url, timeout=10, clock=self.clock, operator_token=lambda _: token)
        self._open.append(found)
        return found

    def close(self) -> None:
        for operator in self._open:
            operator.close()
        self.http.close()
        self.engine.close()

    def authority(self) -> Authority:
        token = enroll(self.engine.parts, "churn", by="test").token
        return Authority.connect(self.url, attestor=Join(token), clock=self.clock)

    def send(self, method: str, path: str, token: str | None, body: Any = None, **headers: str) -> httpx.Response:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.http.request(method, path, json=body, headers=headers)

    def size(self) -> int:
        return self.engine.parts.store.read(lambda tx: tx.size())

    def told(self, kind: str) -> list[dict[str, Json]]:
        records = self.engine.parts.store.read(lambda tx: tx.find(type=kind, limit=10_000))
        return [open_body(record) for record in records]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Site]:
    clock = FakeClock(SystemClock().now())
    with socket.create_server(("127.0.0.1", 0)) as held, FakeIssuer(clock=clock) as people:
        site = Site(folder, people, held.getsockname()[1], clock)
        try:
            with serving(site.engine, held):
                yield site
        finally:
            site.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("shared")) as found:
        yield found
