"""One authority in every form: in process over memory and a file, at a URL over a file and over PostgreSQL.

The tests speak to the public classes alone and know none of this; sync and async are one more dimension.
"""

import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority, Session
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.evidence import Join
from deputize.config import load
from deputize.facade.audit_log import AuditLog
from deputize.keys.anchor import SeedAnchor
from deputize.testing import FakeClock, postgres
from deputize.testing.serving import serving

SEED = hashlib.sha256(b"no secret: a seed for tests").digest()
KINDS = ("memory", "file", "remote-file", "remote-postgres")
CRM, PAYROLL = "https://crm.example/mcp", "https://payroll.example/mcp"
CONFIGURATION = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
trust_domain = "example.org"
users = "unrestricted"
[store]
url = "{store}"
durability = "normal"
[limits]
depth_max = 3
children_max = 5
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
binding = "bearer"
introspection = ["crew"]
[resources.crm.tools]
read_customers = ["crm:read"]
drop_table = ["crm:write"]
[resources.payroll]
url = "https://payroll.example/mcp"
scopes = ["pay:read"]
binding = "dpop"
[resources.local]
allow_framework_tools = ["write_todos"]
[agents.supervisor]
open = true
use = {{ local = ["plan"], payroll = ["pay:read"] }}
delegate = {{ crm = ["crm:read", "crm:write"], local = ["search"], payroll = ["pay:read"] }}
delegate_to = ["researcher", "writer"]
[agents.researcher]
open = true
use = {{ crm = ["crm:read"], local = ["search"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["writer", "researcher"]
[agents.writer]
use = {{ crm = ["crm:read", "crm:write"], payroll = ["pay:read"] }}
[agents.auditor]
open = true
use = {{ crm = ["crm:read"] }}
[[attestation]]
method = "join"
workload = "crew"
agents = ["supervisor", "researcher", "writer", "auditor"]
[[impersonation]]
agent = "writer"
user = "local|alice"
resource = "crm"
scopes = ["crm:read"]
expires = 2100-01-01T00:00:00Z
reason = "INC-4711"
[policy]
files = ["rules.cedar"]
"""
POLICIES = """
@id("writer-may-appear-as-alice")
permit (principal == Agent::"spiffe://example.org/agent/writer", action == Action::"impersonate", resource)
when { context.user == User::"local|alice" };
@id("researcher-links")
permit (principal == Agent::"spiffe://example.org/agent/researcher", action == Action::"open",
        resource == Scope::"https://crm.example/mcp#crm:read")
when { context.mode == "self" && context has from };
@id("no-writes-at-night")
forbid (principal, action == Action::"use", resource == Scope::"https://crm.example/mcp#crm:write")
when { context.evidence == "asserted" };
"""


@dataclass
class Driver:
    """The verbs of the public surface, sync or async, under one name each."""

    authority: Authority
    engine: Engine  # that decides, wherever it runs; for what tests look at
    clock: FakeClock
    waits: bool  # async
    sessions: list[Session] = field(default_factory=list)

    @property
    def log(self) -> AuditLog:
        """The log, as its owner reads it."""
        return AuditLog(self.engine.parts)

    async def _do(self, sync: Callable[[], Any], twin: Callable[[], Awaitable[Any]]) -> Any:
        return await twin() if self.waits else sync()

    async def session(self, **asked: Any) -> Session:
        authority = self.authority
        found = await self._do(lambda: authority.session(**asked), lambda: authority.asession(**asked))
        self.sessions.append(found)
        return found

    async def delegate(self, session: Session, to: str, **asked: Any) -> Session:
        found = await self._do(lambda: session.delegate(to, **asked), lambda: session.adelegate(to, **asked))
        self.sessions.append(found)
        return found

    async def access(self, session: Session, resource: str, scopes: list[str], **asked: Any) -> Any:
        return await self._do(
            lambda: session.access(resource, scopes, **asked), lambda: session.aaccess(resource, scopes, **asked)
        )

    async def call(self, session: Session, tool: str, body: Callable[[Any], Any] = id, **asked: Any) -> Any:
        if self.waits:
            async with session.atool_call(tool, **asked) as call:
                return body(call)
        with session.tool_call(tool, **asked) as call:
            return body(call)

    async def close(self, session: Session) -> None:
        await self._do(session.close, session.aclose)

    async def revoke(self, session: Session, reason: str) -> Any:
        return await self._do(lambda: session.revoke(reason), lambda: session.arevoke(reason))

    async def tree(self, session: Session) -> Any:
        return await self._do(session.tree, session.atree)

    async def introspect(self, token: str) -> Any:
        return await self._do(lambda: self.authority.introspect(token), lambda: self.authority.aintrospect(token))


@pytest.fixture(scope="session")
def database() -> Iterator[Any]:
    with postgres() as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def waits(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
async def place(kind: str, waits: bool, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Driver]:
    """The authority of this test."""
    clock = FakeClock()
    store = {"memory": "sqlite::memory:", "remote-postgres": ""}.get(kind, "sqlite:deputize.db")
    if kind == "remote-postgres":
        store = request.getfixturevalue("database").url()
    with ExitStack() as stack:
        held = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = held.getsockname()[1]
        (tmp_path / "deputize.toml").write_text(CONFIGURATION.format(port=port, store=store), encoding="utf-8")
        (tmp_path / "rules.cedar").write_text(POLICIES, encoding="utf-8")
        configuration = load(str(tmp_path / "deputize.toml"))
        if not kind.startswith("remote"):
            authority = Authority.from_configuration(configuration, clock=clock)
            stack.callback(authority.close)
            engine = authority.engine
        else:
            anchor = SeedAnchor(SEED)
            engine = Engine(configuration, store=store_of(configuration), clock=clock, anchor=anchor, follows=True)
            stack.callback(engine.close)
            stack.enter_context(serving(engine, held))
            joined = Join(enroll(engine.parts, "crew", by="test").token)
            authority = Authority.connect(f"http://127.0.0.1:{port}", attestor=joined, clock=clock)
            stack.callback(authority.close)
        assert engine is not None
        yield Driver(authority=authority, engine=engine, clock=clock, waits=waits)  # type: ignore[arg-type]  # in process it is the engine
