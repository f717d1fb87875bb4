"""A small firm: a supervisor that may hand on, a researcher who reads, a writer who drafts and writes."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority
from deputize.testing import FakeClock

CRM = "https://crm.example/mcp"
WIKI = "https://wiki.example/mcp"

CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
binding = "dpop"
[resources.crm.tools]
read_customers = ["crm:read"]
merge_customers = ["crm:read", "crm:write"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["wiki:read", "crm:read"]
[resources.local]
url = "urn:deputize:tools"
allow_framework_tools = ["write_todos"]
[agents.supervisor]
open = true
delegate = { crm = ["crm:read", "crm:write"], local = ["search", "draft"] }
use = { local = ["plan"] }
delegate_to = ["researcher", "writer", "supervisor"]
[agents.researcher]
open = true
use = { crm = ["crm:read"], local = ["search"] }
delegate = { crm = ["crm:read"] }
delegate_to = ["writer"]
[agents.writer]
use = { crm = ["crm:read", "crm:write"], local = ["draft"], wiki = ["wiki:read"] }
session_ttl = "10m"
[agents.loner]
open = true
use = { wiki = ["wiki:read"] }
[[impersonation]]
agent = "writer"
user = "local|alice"
resource = "crm"
scopes = ["crm:read", "crm:write"]
expires = 2099-01-01T00:00:00Z
reason = "INC-4711"
[policy]
files = ["extra.cedar"]
"""
POLICIES = """
@id("writer-may-appear-for-reading")
permit (principal == Agent::"spiffe://example.org/agent/writer", action == Action::"impersonate", resource)
when { resource.name == "crm:read" };
@id("loner-acts-for-itself")
permit (principal == Agent::"spiffe://example.org/agent/loner", action == Action::"open", resource)
when { context.mode == "self" && context has from && context.from == Agent::"spiffe://example.org/agent/supervisor" };
@id("mallory-is-nobody")
forbid (principal == User::"local|mallory", action == Action::"grant", resource);
"""


class World:
    """An authority over one kind of store, with a clock that moves by hand."""

    def __init__(self, kind: str, folder: Path, url: str | None = None) -> None:
        self.clock = FakeClock()
        self.kind = kind
        self.url = "sqlite::memory:" if kind == "memory" else url
        self.path = folder / "deputize.toml"
        self.path.write_text(CONFIGURATION, encoding="utf-8")
        (folder / "extra.cedar").write_text(POLICIES, encoding="utf-8")
        self._opened: list[Authority] = []
        self.authority = self.open()

    def open(self) -> Authority:
        """One more authority; but in memory on the same store, as another process would have it."""
        authority = Authority.open(self.path, store=self.url, clock=self.clock)
        self._opened.append(authority)
        return authority

    def reopen(self) -> Authority:
        """Close and open again, as another process would."""
        self.authority.close()
        self.authority = self.open()
        return self.authority

    def root(self, **options: Any) -> Any:
        """A root session of the supervisor for alice."""
        return self.authority.session(**{"user": "alice", "agent": "supervisor", **options})

    def close(self) -> None:
        """Close all."""
        for authority in self._opened:
            authority.close()


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The anchor of a server, in the environment as its platform hands it over."""
    text = hashlib.sha256(b"no secret: a seed for tests").hexdigest()
    monkeypatch.setenv("DEPUTIZE_ANCHOR", text)
    return text


# Where the law is about what is stored, it is shown on what machines share, too.
OVER_POSTGRES = {
    "test_exchange",
    "test_idempotency",
    "test_introspection",
    "test_law_idempotency",
    "test_law_keys",
    "test_law_records",
    "test_law_revocation",
    "test_limits_and_time",
    "test_log",
    "test_revocation",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        over = metafunc.module.__name__.rpartition(".")[2] in OVER_POSTGRES
        metafunc.parametrize("world", ["memory", "file", *(["postgres"] if over else [])], indirect=True)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = request.getfixturevalue("shared") if request.param == "postgres" else World(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def shared(tmp_path: Path, database: Any, seed: str) -> Iterator[World]:
    """A world over PostgreSQL alone, with an anchor."""
    made = World("postgres", tmp_path, database.url())
    yield made
    made.close()


@pytest.fixture
def filed(tmp_path: Path) -> Iterator[World]:
    """A world over a file alone, for what needs two processes' worth of it."""
    made = World("file", tmp_path)
    yield made
    made.close()
