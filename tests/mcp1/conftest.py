"""Tests of another lock (`make deep-adapters`). In an environment without its packages there is nothing to collect."""

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("langchain_mcp_adapters") else ["test_*.py"]


@dataclass
class Server:
    """An MCP server on the loopback that writes down what it gets."""

    url: str
    strict: bool = False  # no request without a token
    calls: list[tuple[int, str | None]] = field(default_factory=list)  # argument, jti
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # HTTP method, jti
    tokens: set[str] = field(default_factory=set)
    proofs: list[str | None] = field(default_factory=list)  # of possession (RFC 9449), of each request


def jti_of(authorization: str | None) -> str | None:
    """The id in a token, unverified."""
    if authorization is None:
        return None
    payload = authorization.rpartition(" ")[2].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["jti"])


class _Gate:
    """ASGI: writes down each request, and lets none without a token through where the server is strict."""

    def __init__(self, app: Callable[..., Awaitable[None]], server: Server) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self._server.requests.append((scope["method"], jti_of(headers.get("authorization"))))
            self._server.tokens.add(headers.get("authorization", "").rpartition(" ")[2])
            self._server.proofs.append(headers.get("dpop"))
            if self._server.strict and "authorization" not in headers:
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers, each with a tool `read(n)` that answers once `together` calls of it are there."""
    import uvicorn
    from mcp.server.fastmcp import Context, FastMCP

    running: list[tuple[Any, threading.Thread]] = []

    def start(*, together: int = 1, strict: bool = False) -> Server:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        server = Server(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", strict=strict)
        mcp = FastMCP("crm", host="127.0.0.1")
        all_there = asyncio.Event()

        @mcp.tool()
        async def read(n: int, context: Context) -> str:  # type: ignore[type-arg]  # its types are not ours to name
            """Read."""
            request = context.request_context.request
            server.calls.append((n, jti_of(request.headers.get("authorization") if request is not None else None)))
            if len(server.calls) >= together:
                all_there.set()
            await all_there.wait()
            return str(n)

        app = _Gate(mcp.streamable_http_app(), server)
        http = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=lambda: asyncio.run(http.serve([listening])), daemon=True)
        thread.start()
        running.append((http, thread))
        return server

    yield start
    for http, thread in running:
        http.should_exit = True
        thread.join()
