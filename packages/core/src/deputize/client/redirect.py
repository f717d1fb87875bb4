"""Where a browser comes back to: a port of the loopback, one answer, and then nothing listens (RFC 8252 §7.3, §8.3)."""

import http.server
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, ConfigurationError

PATH: Final = "/callback"
MAX_LINE: Final = 16 * 1024  # characters of the request's path
_STEP: Final = 5.0  # seconds that one connection may take
_DONE: Final = b"You may close this window; the command line goes on.\n"


class _Server(http.server.HTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke is none that was waited for."""


class Redirect:
    """Listens on 127.0.0.1 while the `with` block runs. Other paths, other methods and other hosts are refused."""

    def __init__(self, *, port: int, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, str] | None = None
        try:
            self._server = _Server(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise ConfigurationError(f"nothing can listen on the loopback: {error.strerror}") from None
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}{PATH}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.server_close()

    def wait(self, seconds: float) -> Mapping[str, str]:
        """The parameters of the first answer; one that stands twice is left out.

        Raises AuthorityUnavailable (`login_timed_out`).
        """
        end = self._clock.monotonic() + seconds
        while self._told is None:
            left = end - self._clock.monotonic()
            if left <= 0:
                raise AuthorityUnavailable("nobody signed in in time", code="login_timed_out")
            self._server.timeout = left
            self._server.handle_request()
        return self._told

    def take(self, path: str, host: str) -> bool:
        """Whether a request is the answer that is waited for; it is kept, and no second is."""
        parts = urlsplit(path)
        if self._told is not None or parts.path != PATH or host != urlsplit(self.uri).netloc or len(path) > MAX_LINE:
            return False
        items = parse_qsl(parts.query, keep_blank_values=True)
        names = [name for name, _ in items]
        self._told = {name: value for name, value in items if names.count(name) == 1}
        return True

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        redirect = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = _STEP

            def do_GET(self) -> None:
                taken = redirect.take(self.path, self.headers.get("Host", ""))
                body = _DONE if taken else b""
                self.send_response(200 if taken else 404)
                self.send_header("Content-Type", "text/plain; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is printed: the path holds a code."""

        return Handler
