"""What the tests of the MCP package stand on: a real authority, real servers on loopback, tokens made by hand."""

import base64
import json
import secrets
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
import uvicorn
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from deputize import Authority
from deputize.model.token import AccessClaims, TokenContext
from deputize.system import SystemClock
from deputize.verifier import MemoryKeys, MemoryRevocations
from deputize.wire import access_token, dpop
from deputize.wire.alg import LocalKey, generate
from deputize_mcp import AgentGuard, TokenExchangeAuth

ISSUER = "https://sts.example"
RESOURCE = "https://crm.example/mcp"
RESEARCHER = "spiffe://local/agent/researcher"
SUPERVISOR = "spiffe://local/agent/supervisor"


# ---- servers on loopback


@dataclass
class Port:
    """A bound socket, so that the URL is known before there is an application."""

    socket: socket.socket

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"


@contextmanager
def bound_port() -> Iterator[Port]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(64)
        yield Port(bound)


@contextmanager
def served(app: Any, port: Port) -> Iterator[None]:
    """`app` under uvicorn in a thread of its own; raises where it does not start."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [port.socket]})
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    if not server.started:
        thread.join(1)
        raise RuntimeError("the server did not start")
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def serving(make: Callable[[str], Any]) -> Iterator[str]:
    """Serves `make(origin)` and gives the origin."""
    with bound_port() as port, served(make(port.origin), port):
        yield port.origin


@pytest.fixture(scope="session")
def serve() -> Callable[[Callable[[str], Any]], Any]:
    return serving


# ---- a real authority

TOML = """
version = 1
[authority]
issuer = "http://127.0.0.1:8400"
users = "unrestricted"
[limits]
access_ttl_bearer = "60s"
[resources.crm]
url = "{url}"
scopes = ["crm:base", "crm:read", "crm:write", "crm:admin"]
binding = "{binding}"
[resources.crm.tools]
meet = ["crm:read"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["wiki:read"]
[agents.supervisor]
open = true
use = {{ crm = ["crm:base", "crm:read", "crm:write"], wiki = ["wiki:read"] }}
delegate = {{ crm = ["crm:base", "crm:read", "crm:write"] }}
delegate_to = ["researcher", "writer"]
[agents.researcher]
use = {{ crm = ["crm:base", "crm:read"] }}
[agents.writer]
use = {{ crm = ["crm:base", "crm:write"] }}
"""


def write_toml(folder: Path, *, url: str, binding: str = "bearer") -> Path:
    path = folder / "deputize.toml"
    path.write_text(TOML.format(url=url, binding=binding), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def toml() -> Callable[..., Path]:
    return write_toml


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Authority]:
    """The authority of the agents' process, for the resource at RESOURCE."""
    with Authority.open(write_toml(tmp_path, url=RESOURCE)) as authority:
        yield authority


# ---- an MCP client over our auth


@asynccontextmanager
async def mcp_client(url: str, auth: TokenExchangeAuth | httpx2.Auth, mode: str) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(auth=auth, timeout=10) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.fixture
def connect() -> Callable[..., Any]:
    return mcp_client


# ---- tokens by hand, an application that writes down what reaches it


@dataclass
class Issuer:
    """Signs what it is asked to, as no authority would."""

    key: LocalKey = field(default_factory=generate)
    agent_key: LocalKey = field(default_factory=generate)
    revocations: MemoryRevocations = field(default_factory=MemoryRevocations)
    reports: list[Mapping[str, Any]] = field(default_factory=list)
    issuer: str = ISSUER

    @property
    def now(self) -> int:
        return int(SystemClock().now())

    @property
    def keys(self) -> MemoryKeys:
        return MemoryKeys([self.key.public])

    def record_call(self, **report: Any) -> None:
        self.reports.append(report)

    def claims(self, scopes: Sequence[str] = ("crm:read",), **changed: Any) -> AccessClaims:
        now = self.now
        content: dict[str, Any] = {
            "iss": ISSUER,
            "aud": RESOURCE,
            "sub": "local|alice",
            "client_id": RESEARCHER,
            "chain": (RESEARCHER, SUPERVISOR),
            "scope": tuple(scopes),
            "jti": secrets.token_urlsafe(12),
            "iat": now,
            "exp": now + 60,
            "sid": "S" * 16,
            "txn": "T" * 16,
            "jkt": None,
            "context": TokenContext(mode="on_behalf_of", path=(), rec="A" * 43),
        }
        return AccessClaims(**{**content, **changed})

    def token(self, scopes: Sequence[str] = ("crm:read",), **changed: Any) -> str:
        return access_token.encode(self.claims(scopes, **changed), self.key)

    def bound_token(self, scopes: Sequence[str] = ("crm:read",), **changed: Any) -> str:
        return self.token(scopes, jkt=self.agent_key.kid, **changed)

    def proof(self, token: str, *, key: LocalKey | None = None, **changed: Any) -> str:
        given: dict[str, Any] = {"htm": "POST", "htu": RESOURCE, "now": self.now, "access_token": token}
        return dpop.proof(key or self.agent_key, **{**given, **changed})

    def forged(self, header: Mapping[str, Any], token: str, signature: bytes) -> str:
        """The claims of `token` under another header."""
        head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        tail = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        return f"{head}.{token.split('.')[1]}.{tail}"


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


@dataclass
class Application:
    """An ASGI application that answers JSON-RPC and keeps what it saw: scope, body and who called."""

    seen: list[tuple[Mapping[str, Any], bytes]] = field(default_factory=list)
    answer: Mapping[str, Any] = field(default_factory=lambda: {"result": {}})
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.seen.append((scope, body))
        reply = json.dumps({"jsonrpc": "2.0", "id": 1, **self.answer}).encode()
        headers = [(b"content-type", b"application/json"), *self.headers]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": reply})


@pytest.fixture
def application() -> Application:
    return Application()


@dataclass
class Guarded:
    """A guarded application, called in process."""

    guard: AgentGuard
    application: Application
    issuer: Issuer

    async def send(
        self, body: bytes | Mapping[str, Any] | None, *, method: str = "POST", path: str = "/mcp", **headers: str
    ) -> httpx.Response:
        raw = json.dumps(body).encode() if isinstance(body, Mapping) else body or b""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return await self.send_raw(raw, named, method=method, path=path)

    async def send_raw(
        self, body: bytes, headers: Sequence[tuple[str, str]], *, method: str = "POST", path: str = "/mcp"
    ) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.guard)
        async with httpx.AsyncClient(transport=transport, base_url="https://crm.example") as client:
            return await client.request(method, path, content=body, headers=list(headers))

    async def call(self, tool: str, token: str | None, **headers: str) -> httpx.Response:
        given = {"authorization": f"Bearer {token}", **headers} if token is not None else headers
        return await self.send(tool_call(tool), **given)

    @property
    def reached(self) -> int:
        return len(self.application.seen)


def tool_call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@pytest.fixture
def call_of() -> Callable[..., dict[str, Any]]:
    return tool_call


@pytest.fixture
def guarded(issuer: Issuer, application: Application) -> Callable[..., Guarded]:
    """`guarded(...)`: a guard with these arguments before the application that keeps what it saw."""

    def make(**changed: Any) -> Guarded:
        given: dict[str, Any] = {
            "resource": RESOURCE,
            "authority": issuer,
            "tools": {"read": ["crm:read"], "write": ["crm:read", "crm:write"]},
        }
        return Guarded(AgentGuard(application, **{**given, **changed}), application, issuer)

    return make
