"""An issuer of users on the loopback, for tests."""

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from deputize.model.clock import Clock
from deputize.system import SystemClock
from deputize.wire import jws
from deputize.wire.alg import LocalKey, generate

_LIFETIME: Final = 600  # seconds of a token that says nothing else


class FakeIssuer:
    """An issuer of users on the loopback: a real HTTP server, a real key set, private keys in memory alone.

    Use it as a context manager, and its `url` as the `issuer` of a `[[users]]` section:

        with FakeIssuer() as issuer:
            token = issuer.id_token("alice", audience="https://sts.example", groups=["sales"])

    Args:
        clock: When its tokens are issued; a `FakeClock` in tests that move time.
        alg: What it signs with: ES256, EdDSA or RS256.
        path: A path behind its host, as issuers with several tenants have one.

    Attributes:
        key: What it signs with now.
        published: What its key set shows, by `kid`.
        metadata: Members of its metadata document that replace the true ones.
        requests: The paths that it was asked for, in order.
    """

    def __init__(self, *, clock: Clock | None = None, alg: str = "ES256", path: str = "") -> None:
        self._clock = clock or SystemClock()
        self._alg = alg
        self._path = path
        self._up = True
        self.key = generate(alg)
        self.published: dict[str, LocalKey] = {self.key.kid: self.key}
        self.metadata: dict[str, object] = {}
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its `iss`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{self._path}"

    @property
    def jwks_uri(self) -> str:
        """Where its keys are."""
        return f"{self.url}/jwks"

    def mint(
        self, claims: Mapping[str, object] | None = None, *, typ: str | None = "JWT", key: LocalKey | None = None
    ) -> str:
        """A signed token: `iss`, `iat` and `exp` (10 minutes), and `claims` over them; one that is None is left out.

        `key` signs instead of the current one, under its own `kid`; `typ` None leaves the header's type out.
        """
        now = int(self._clock.now())
        content = {"iss": self.url, "iat": now, "exp": now + _LIFETIME, **(claims or {})}
        signer = key or self.key
        header = {"alg": signer.alg, "kid": signer.kid, "typ": typ}
        return jws.sign_with(_without_none(header), _without_none(content), signer)

    def id_token(self, sub: str, audience: str | list[str], **claims: object) -> str:
        """What a sign-in gives a client (OpenID Connect Core §2): the user signed in now, unless `claims` say else."""
        return self.mint({"sub": sub, "aud": audience, "auth_time": int(self._clock.now()), **claims})

    def access_token(self, sub: str, audience: str | list[str], **claims: object) -> str:
        """An `at+jwt` (RFC 9068 §2) of `sub`."""
        base = {"sub": sub, "aud": audience, "client_id": "client", "jti": os.urandom(8).hex()}
        return self.mint({**base, **claims}, typ="at+jwt")

    def rotate(self, *, keep: bool = True) -> LocalKey:
        """Sign with a new key from now on; `keep` goes on publishing the old ones. Returns the key before."""
        before, self.key = self.key, generate(self._alg)
        self.published = {**(self.published if keep else {}), self.key.kid: self.key}
        return before

    def down(self) -> None:
        """Answer nothing but 503."""
        self._up = False

    def up(self) -> None:
        """Answer again."""
        self._up = True

    def _document(self, path: str) -> Mapping[str, object] | None:
        well_known = "/.well-known/"
        if path == f"{self._path}/jwks":
            return {"keys": [{**key.public_jwk(), "kid": kid, "use": "sig"} for kid, key in self.published.items()]}
        if path in {
            f"{self._path}{well_known}openid-configuration",
            f"{well_known}oauth-authorization-server{self._path}",
        }:
            return {"issuer": self.url, "jwks_uri": self.jwks_uri, **self.metadata}
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                document = issuer._document(self.path) if issuer._up else None
                body = json.dumps(document).encode() if document is not None else b""
                self.send_response(200 if document is not None else 404 if issuer._up else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        return Handler


def _without_none(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}
