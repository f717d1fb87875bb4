"""A client that proved a key and gets an answer that is not bound to it throws the answer away (TX-22).

Something stands between client and authority, at the issuer's own address, and changes answers.
"""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import orjson
import pytest

from deputize import Authority
from deputize.authority.joining import enroll
from deputize.client.evidence import Join
from deputize.errors import DeputizeError
from deputize.testing.serving import free_port
from tests.http.raw import World, claims

Change = Callable[[dict[str, Any]], dict[str, Any]]


class Between:
    """A proxy at the issuer's address. `change` is applied to what answers a request for the kind of token `kind`."""

    def __init__(self, world: World, at: int) -> None:
        self.change: Change = lambda told: told
        self.kind = ""
        between = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kept = {k: v for k, v in self.headers.items() if k.lower() not in {"host", "content-length"}}
                answer = httpx.request(
                    self.command, f"http://127.0.0.1:{at}{self.path}", content=body, headers=kept, trust_env=False
                )
                sent = answer.content
                if between.kind and answer.status_code == 200 and self.path == "/token":
                    told = answer.json()
                    if told["issued_token_type"].endswith(between.kind):
                        sent = orjson.dumps(between.change(told))
                self.send_response(answer.status_code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST  # noqa: N815  # the name that the base class looks for

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", int(world.base.rpartition(":")[2])), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()


@pytest.fixture(scope="module")
def firm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Between]]:
    at = free_port()
    world = World.begin(tmp_path_factory.mktemp("between"), at=at)
    between = Between(world, at)
    yield world, between
    between.server.shutdown()
    between.server.server_close()
    between.thread.join()
    world.end()


def _unbound(world: World, typ: str, **changed: object) -> Change:
    def change(told: dict[str, Any]) -> dict[str, Any]:
        said = {**claims(told["access_token"]), **changed}
        kept = {name: value for name, value in said.items() if value is not None}
        return {**told, "access_token": world.signed(typ, kept)}

    return change


def _connected(world: World) -> Authority:
    return Authority.connect(world.base, attestor=Join(enroll(world.engine.parts, "churn", by="test").token))


@pytest.mark.requirement("TX-22", "A-08", "DP-10")
@pytest.mark.parametrize(
    "changed",
    [{"cnf": None}, {"cnf": {"jkt": "A" * 43}}, {"cnf": {"x5t#S256": "A" * 43}}, {"cnf": {}}, "Bearer"],
    ids=["none", "another key", "another method", "empty", "said to be Bearer"],
)
def test_access_that_is_bound_to_another_key_or_none_is_thrown_away(firm: Any, changed: Any) -> None:
    world, between = firm
    between.kind = ""
    with (
        _connected(world) as authority,
        authority.session(agent="reader", user="alice", scopes=["crm:read"]) as session,
    ):
        between.kind = "access_token"
        if changed == "Bearer":
            between.change = lambda told: {**told, "token_type": "Bearer"}
        else:
            between.change = _unbound(world, "at+jwt", **changed)
        with pytest.raises(DeputizeError) as refused:
            session.access("crm", ["crm:read"])
        assert refused.value.code == "wrong_binding"
        between.kind = ""
        assert session.access("crm", ["crm:read"]).bound


@pytest.mark.requirement("TX-22", "A-12")
@pytest.mark.parametrize("cnf", [None, {"jkt": "A" * 43}], ids=["none", "another key"])
def test_so_is_a_session(firm: Any, cnf: object) -> None:
    world, between = firm
    between.kind = ""
    with _connected(world) as authority:
        between.kind, between.change = "session", _unbound(world, "vnd.deputize.session+jwt", cnf=cnf)
        with pytest.raises(DeputizeError) as refused:
            authority.session(agent="reader", user="alice", scopes=["crm:read"])
        assert refused.value.code == "wrong_binding"
        between.kind = ""


@pytest.mark.requirement("A-06", "TX-22")
def test_access_for_another_resource_or_more_than_was_asked_for_is_thrown_away(firm: Any) -> None:
    world, between = firm
    between.kind = ""
    with (
        _connected(world) as authority,
        authority.session(agent="reader", user="alice", scopes=["crm:read"]) as session,
    ):
        between.kind = "access_token"
        between.change = lambda told: {**told, "scope": "crm:read crm:write"}
        with pytest.raises(DeputizeError) as refused:
            session.access("crm", ["crm:read"])
        assert refused.value.code == "invalid_response"
        between.kind = ""
