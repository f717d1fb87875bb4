"""A resource server in a few lines: every request shows a token, and the token has to be good for what is asked.

It runs in a thread, to keep the examples small. The one of `examples/demo` is a process of its own.
"""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from deputize.errors import Denied, InvalidRequest
from deputize.verifier import Caller, FileSource, Verifier
from langchain_deputize import DeputizeAuth

Arguments = Mapping[str, object]
_LONGEST: Final = 65_536  # bytes of a request
_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Operation:
    """`scopes`: what the server asks for, whatever its clients believe. `answer` is given who calls."""

    scopes: frozenset[str]
    answer: Callable[[Caller, Arguments], object]


class NotEnough(Exception):  # read as a sentence
    """An operation finds that this call needs another scope, which its token does not have."""


class Service:
    """`with` it once it is started. `heard`: who called what, for whom, through whom, with which scopes.

    `written`: its URL in the example's deputize.toml; the port that was free here takes its place.
    """

    def __init__(self, name: str, written: str, operations: Mapping[str, Operation]) -> None:
        self.name = name
        self.written = written
        self.heard: list[str] = []
        self._operations = operations
        self._server = ThreadingHTTPServer((_LOOPBACK, 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://{_LOOPBACK}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def trust(self, issuer: str, store: Path) -> Self:
        """Whose tokens it takes. Keys and revocations come from the authority's file, which is only read."""
        known = FileSource(store)
        self._verifier = Verifier(issuer, self.url, keys=known, revocations=known)
        return self

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[HTTPStatus, object]:
        """Verify, then answer: nothing is read or written before the token has been checked."""
        operation = self._operations.get(path.removeprefix("/"))
        if operation is None:
            return HTTPStatus.NOT_FOUND, {"error": "not_found"}
        try:
            caller = self._verifier.verify(
                headers, scopes=operation.scopes, method="POST", url=self.url + path, binding="dpop"
            )
            self.heard.append(_sentence(caller, path.removeprefix("/")))
            return HTTPStatus.OK, operation.answer(caller, json.loads(body))
        except (Denied, NotEnough) as refused:
            self.heard.append(f"refused: {refused}" if isinstance(refused, NotEnough) else "refused: too few scopes")
            return HTTPStatus.FORBIDDEN, {"error": "insufficient_scope"}
        except InvalidRequest:
            return HTTPStatus.UNAUTHORIZED, {"error": "invalid_token"}  # and no word of why, to nobody known
        except (ValueError, KeyError, TypeError):
            return HTTPStatus.BAD_REQUEST, {"error": "invalid_request"}


def _sentence(caller: Caller, operation: str) -> str:
    through = ", ".join(_name(actor) for actor in caller.chain[1:]) or "nobody"
    user, scopes = caller.subject.rpartition("|")[2], " ".join(sorted(caller.scopes))
    return f"{_name(caller.agent)} for {user} via {through}: {operation} with {scopes}"


def _name(spiffe_id: str) -> str:
    return spiffe_id.rpartition("/")[2]


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(min(_length(self.headers.get("Content-Length")), _LONGEST))
            status, answer = service.serve(self.path, dict(self.headers), body)
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            if status is HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", "DPoP")
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    return Handler


def _length(header: str | None) -> int:
    return int(header) if header is not None and header.isascii() and header.isdigit() else 0


class Refused(Exception):  # read as a sentence
    """A service refused a request."""


def call(url: str, operation: str, **arguments: object) -> str:
    """Ask a service, from the body of a tool. The token is put in at the socket; nothing here sees it."""
    with httpx.Client(auth=DeputizeAuth(), timeout=10, trust_env=False) as http:
        response = http.post(f"{url}/{operation}", json=arguments)
    if response.is_error:
        raise Refused(f"The server refused {operation}: {json.loads(response.content)['error']}.")
    return response.text
