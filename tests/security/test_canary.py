"""One busy day of an authority on a file; then every sink is searched for every token and private key that it made."""

import json
import logging
import pickle  # noqa: TID251  # what others may try
import threading
import traceback
import warnings
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from deputize import Authority, DeputizeError, Mode
from deputize.authority import identities, journal, key_book
from deputize.cli.main import app
from deputize.facade.access import Access
from deputize.runtime import carry, current_access, tool, verifier_for
from deputize.wire import jws

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

CONFIGURATION = """
version = 1
[store]
url = "sqlite:deputize.db"
[authority]
users = "unrestricted"
[resources.bound]
url = "{bound}"
scopes = ["b:read", "b:write"]
binding = "dpop"
[resources.bound.tools]
fetch = ["b:read"]
[resources.open]
url = "{open}"
scopes = ["o:read"]
[resources.open.tools]
look = ["o:read"]
[agents.boss]
open = true
delegate = {{ bound = ["b:read", "b:write"], open = ["o:read"], local = ["search"] }}
delegate_to = ["worker"]
[agents.worker]
open = true
use = {{ bound = ["b:read"], open = ["o:read"], local = ["search"] }}
"""


class Secrets:
    """Every token that was signed and every private key that was made, in the spellings that could turn up."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.keys: set[bytes] = set()

    def signed(self, token: str) -> str:
        self.tokens.add(token)
        return token

    def made(self, key: Any) -> Any:
        private: ec.EllipticCurvePrivateKey = key._sign.args[0]
        raw = private.private_numbers().private_value.to_bytes(32, "big")
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.keys |= {raw, raw.hex().encode(), urlsafe_b64encode(raw).rstrip(b"="), b64encode(raw)}
        self.keys |= {str(private.private_numbers().private_value).encode(), pem.splitlines()[1]}
        return key

    def found_in(self, sink: object) -> list[str]:
        """What of them a sink holds: a token whole, a segment of 20 characters or more, or a key."""
        text = sink if isinstance(sink, bytes) else str(sink).encode("utf-8", "surrogatepass")
        segments = {part for token in self.tokens for part in (token, *token.split(".")) if len(part) >= 20}
        found = [part[:12] for part in segments if part.encode() in text]
        return found + ["a private key" for key in self.keys if key in text]


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    """Wiretaps where tokens are signed and keys are made."""
    held = Secrets()
    sign, make = jws._sign, key_book.generate
    monkeypatch.setattr(jws, "_sign", lambda *given: held.signed(sign(*given)))
    for module in (key_book, identities):
        monkeypatch.setattr(module, "generate", lambda algorithm: held.made(make(algorithm)))
    return held


@pytest.fixture
def server() -> Iterator[str]:
    """A resource server on the loopback that answers 200, or 401 where the path asks for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401 if "refuse" in self.path else 200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """As servers do, it logs nothing of the headers."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


class Day:
    """What was seen of one day: everything that an outsider, an operator or a debugger could look at."""

    def __init__(self, folder: Path, server: str) -> None:
        self.path = folder / "deputize.toml"
        self.path.write_text(CONFIGURATION.format(bound=f"{server}/bound", open=f"{server}/open"), encoding="utf-8")
        self.server = server
        self.sinks: dict[str, Any] = {}

    def look(self, name: str, thing: object) -> None:
        """As a log line, a debugger or an error tracker would: shown, listed, and by its members."""
        members = vars(thing) if hasattr(thing, "__dict__") else {}
        self.sinks[f"{name} {len(self.sinks)}"] = f"{thing} {thing!r} {[thing]!r} {members!r} {thing:}"

    @contextmanager
    def refusal(self, name: str) -> Iterator[None]:
        try:
            yield
        except DeputizeError as error:
            self.look(name, error)
            shown = "".join(traceback.format_exception(error))
            self.sinks[f"{name} traceback {len(self.sinks)}"] = f"{shown} {error.args} {error.__dict__}"
            with suppress(Exception):
                self.sinks[f"{name} pickle {len(self.sinks)}"] = pickle.dumps(error)
        else:
            pytest.fail(f"{name} was not refused")

    def run(self) -> None:
        with Authority.open(self.path) as authority:
            root = authority.session(user="alice", agent="boss", task="the churn report", key="thread-1")
            with root:
                self.work(authority, root)
            self.look("authority", authority)
            self.sinks["log"] = json.dumps(list(authority.audit))
            self.sinks["suggestions"] = authority.suggest()
            self.sinks["keys"] = json.dumps(authority.jwks())
            self.sinks["checkpoint"] = authority.audit.checkpoint()
            self.files("deputize.db open")
        self.files("deputize.db closed")

    def files(self, name: str) -> None:
        """The database, its write-ahead log and what else lies beside it, byte for byte."""
        self.sinks[name] = b"".join(file.read_bytes() for file in sorted(self.path.parent.glob("deputize.db*")))

    def work(self, authority: Authority, root: Any) -> None:
        child = root.delegate("worker", key="call-1")
        assert child is root.delegate("worker", key="call-1")
        bound, bearer = child.access("bound", ["b:read"], key="a"), child.access("open", ["o:read"])
        verifier = verifier_for(authority, f"{self.server}/bound")
        for held in (bound, bearer, child.access("bound", ["b:read"], key="a")):
            with httpx.Client() as client:
                assert client.get(held.resource, auth=held.auth()).status_code == 200
                assert client.get(f"{held.resource}/refuse", auth=held.auth()).status_code == 401
            self.look("access", held)
            self.look("its auth", held.auth())
            self.look("introspection", authority.introspect(held.reveal()))
        headers = bound.headers("GET", bound.resource)
        proved = {"method": "GET", "url": bound.resource, "binding": "dpop"}
        caller = verifier.verify(headers, **proved)
        self.look("caller", caller)
        self.sinks["caller, pickled"] = pickle.dumps(caller)
        for thing in (root, child, child._opened, child._request, authority.engine, authority.engine.parts, verifier):
            self.look(type(thing).__name__, thing)
        with child:
            self.look("result of a tool", look())
            threading.Thread(target=carry(look)).start()
            with child.tool_call("search", args={"q": "who"}, call_id="call_7") as call:
                self.look("call", call)
        refused = child.parent.delegate("worker", scopes=["o:read"], resources=["open"])
        with self.refusal("replay"):
            verifier.verify(headers, **proved)
        with self.refusal("as a bearer"):
            verifier.verify({"Authorization": f"Bearer {bound.reveal()}"})
        with self.refusal("wrong place"):
            verifier_for(authority, f"{self.server}/open").verify(bearer.reveal() + "x")
        with self.refusal("another origin"), httpx.Client() as client:
            client.get("http://127.0.0.2:9/", auth=bearer.auth())
        with self.refusal("no right"):
            refused.access("bound", ["b:write"])
        with self.refusal("no tool"):
            refused.tool_call("drop_table", args={"table": bound.reveal()}).start()
        with self.refusal("token for a name"):
            refused.access(bound.reveal()[:300], ["b:read"])
        with self.refusal("impersonation"):
            refused.access("open", ["o:read"], mode=Mode.IMPERSONATION, reason="curious")
        with self.refusal("token for a session token"):
            authority.engine.access(refused.agent, _with_token(bound.reveal()))
        refused.revoke("odd")
        with self.refusal("revoked"):
            refused.access("open", ["o:read"])
        authority.revoke(token=bearer.id, reason="leaked")
        authority.revoke(key=authority.engine.parts.keys.signer().kid, reason="leaked")
        self.look("session after its key was revoked", authority.session(user="bob", agent="worker"))
        self.look("tree", root.tree())
        self.sinks["tree as data"] = json.dumps(root.tree().to_dict())


@tool(name="look")
def look() -> str:
    """A tool's body with its own access."""
    held = current_access()
    with httpx.Client() as client:
        return client.get(held.resource, auth=held.auth()).text


def _with_token(token: str) -> Any:
    from deputize.model.request import AccessRequest

    return AccessRequest(subject_token=token, resource="open", scopes=frozenset({"o:read"}))


def commands(day: Day) -> None:
    """What the command line prints."""
    config = ["--config", str(day.path)]
    runner = CliRunner()
    for arguments in (
        ["audit", "show", *config],
        ["audit", "show", "--json", *config],
        ["audit", "verify", "--json", *config],
        ["audit", "key", *config],
        ["session", "list", *config],
        ["session", "list", "--json", *config],
        ["policy", "show", *config],
    ):
        result = runner.invoke(app, arguments)
        day.sinks[" ".join(arguments[:2])] = f"{result.output} {result.exception!r}"


@pytest.mark.requirement("I9")
@pytest.mark.requirement("A-18")
@pytest.mark.requirement("TT-04")
@pytest.mark.requirement("AU-05")
def test_no_token_and_no_private_key_is_in_any_sink(
    tmp_path: Path, server: str, secrets: Secrets, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    day = Day(tmp_path, server)
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for name in ("httpx", "httpcore", "asyncio"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        day.run()
        commands(day)
    day.sinks["logs"] = "\n".join(f"{r.getMessage()} {r.__dict__}" for r in caplog.records)
    day.sinks["warnings"] = [str(warning) for warning in warned]
    day.sinks["output"] = capfd.readouterr()
    assert len(secrets.tokens) > 15
    assert len(secrets.keys) >= 6 * 4
    assert "send_request_headers" in str(day.sinks["logs"])  # the loggers did listen
    assert b"local|alice" in day.sinks["deputize.db closed"]  # and the file is the one that was written
    assert len(day.sinks) > 60
    found = {name: what for name, sink in day.sinks.items() if (what := secrets.found_in(sink))}
    assert found == {}


@pytest.mark.parametrize("leak", ["repr", "record", "error", "log"])
def test_the_search_finds_a_leak_where_there_is_one(
    tmp_path: Path, server: str, secrets: Secrets, broken: Any, caplog: pytest.LogCaptureFixture, leak: str
) -> None:
    """The same day in a copy that leaks."""
    day = Day(tmp_path, server)
    seal = journal.seal

    def telling(event: Any, seq: int) -> Any:
        from dataclasses import replace

        newest = max(secrets.tokens, key=len, default="")
        return seal(replace(event, detail={**event.detail, "token": newest.split(".")[-1]}), seq)

    refuse = DeputizeError.__init__

    def talking(self: Any, message: str, **more: Any) -> None:
        refuse(self, f"{message}: {max(secrets.tokens)}", **more)

    def logging_headers(self: Any, method: str, url: str, *, nonce: str | None = None) -> dict[str, str]:
        logging.getLogger("deputize").warning("%s", self._token)
        return {"Authorization": f"Bearer {self._token}"}

    owner, name, weaker = {
        "repr": (Access, "__repr__", lambda self: f"Access({self._token})"),
        "record": (journal, "seal", telling),
        "error": (DeputizeError, "__init__", talking),
        "log": (Access, "headers", logging_headers),
    }[leak]
    with broken(owner, name, weaker), suppress(DeputizeError):
        day.run()
    day.sinks["logs"] = caplog.text
    day.files("deputize.db")
    found = {sink for sink, content in day.sinks.items() if secrets.found_in(content)}
    where = {"repr": "access", "record": "deputize.db", "error": "replay", "log": "logs"}[leak]
    assert any(sink.startswith(where) for sink in found)
