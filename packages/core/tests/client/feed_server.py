"""A small server of the endpoints that verifiers read. In a thread (`Serving`), or as a process of its own:

`python feed_server.py <folder> <port>` serves the authority whose deputize.toml lies in the folder.
"""

import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deputize import Authority
from deputize.audit.checkpoint import NoteKey, new_key, origin_of
from deputize.authority.feed import Feed
from deputize.authority.log_keys import LogKey, publish_log_key
from deputize.errors import InvalidToken
from deputize.model.clock import Clock
from deputize.model.request import Client
from deputize.server.feed import FeedEndpoints
from deputize.server.feed_hub import FeedHub
from deputize.wire import metadata

READER = "the reader shows this"
PATIENCE = 20.0  # seconds that a condition may take to come true on a busy machine

CONFIGURATION = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
trust_domain = "example.org"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.a]
open = true
use = {{ crm = ["crm:read"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["a", "b", "c"]
[agents.b]
open = true
use = {{ crm = ["crm:read"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["c"]
[agents.c]
open = true
use = {{ crm = ["crm:read"] }}
[policy]
files = ["links.cedar"]
"""
POLICIES = """
@id("b-may-link")
permit (principal == Agent::"spiffe://example.org/agent/b", action == Action::"open", resource)
when { context.mode == "self" && context has from && context.from == Agent::"spiffe://example.org/agent/a" };
"""


async def authenticate(request: Request) -> Client:
    """Stands for private_key_jwt: a header or a field of the form."""
    shown = request.headers.get("x-reader")
    if request.method == "POST":
        form = (await request.body()).decode()
        shown = READER if "reader=the+reader+shows+this" in form else shown
    if shown != READER:
        raise InvalidToken("who is that?", code="invalid_client")
    return Client(agent="", jkt="", workload="spiffe://example.org/workload/crm", attestation="test")


class HubServer(uvicorn.Server):
    """As `deputize serve` does it: streams end before the server waits for its connections."""

    hub: FeedHub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.hub.stop()
        await super().shutdown(sockets)


class Counting:
    """Requests by path."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.counts: dict[str, int] = {}
        self.down: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            self.counts[path] = self.counts.get(path, 0) + 1
            if path in self.down:
                await Response("down", status_code=503)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def hub_over(store: Any, *, issuer: str, clock: Clock, key: NoteKey, **options: Any) -> FeedHub:
    """A hub that beats fast."""
    feed = Feed(issuer=issuer, store=store, clock=clock, key=key, unanchored=True)
    return FeedHub(feed, **{"heartbeat": 0.03, "poll": 0.005, **options})


def app_of(authority: Authority, hub: FeedHub, **options: Any) -> Counting:
    """The endpoints as an app."""
    endpoints = FeedEndpoints(hub, authority.engine.parts.keys, authenticate, **options)

    async def described(_: Request) -> Response:
        return Response(metadata.build(authority.issuer), media_type="application/json")

    return Counting(
        Starlette(
            routes=[
                Route("/revocations", endpoints.revocations, methods=["GET", "POST"]),
                Route("/jwks", endpoints.jwks),
                Route("/checkpoint", endpoints.checkpoint),
                Route(metadata.WELL_KNOWN, described),
            ]
        )
    )


def listening(port: int = 0) -> socket.socket:
    """A socket that waits on the loopback; restarting on its port works at once."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(128)
    return made


def server_of(app: Any, hub: FeedHub) -> HubServer:
    """Not yet running."""
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", lifespan="off", log_config=None, timeout_graceful_shutdown=5
    )
    server = HubServer(config)
    server.hub = hub
    return server


class Serving:
    """A server in a thread, until `stop`."""

    def __init__(self, app: Any, hub: FeedHub, held: socket.socket) -> None:
        self.app = app
        self.hub = hub
        self.server = server_of(app, hub)
        self._held = held
        self._thread = threading.Thread(target=self.server.run, kwargs={"sockets": [held]}, daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Whether it ended in order."""
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        self._held.close()
        return not self._thread.is_alive()


def until(condition: Any) -> None:
    """Wait for a condition, and fail where it does not come."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("the condition did not come true")


def main(folder: str, port: int) -> None:
    """A process of its own."""
    authority = Authority.open(Path(folder) / "deputize.toml")
    parts = authority.engine.parts
    key = new_key(origin_of(parts.issuer))
    publish_log_key(parts.store, LogKey(key, "none"), parts.clock)
    hub = hub_over(parts.store, issuer=parts.issuer, clock=parts.clock, key=key)
    held = listening(port)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    server_of(app_of(authority, hub), hub).run(sockets=[held])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
