"""What a process finds to prove itself with, in which order, and that nothing of it is left lying about."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deputize.client.evidence import Join, Kubernetes, Oidc, Spiffe, Unix, detect
from deputize.model.failure import AttestationFailed

AUTHORITY = "https://sts.example"


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("a.b.c\n", encoding="ascii")
    return path


def test_the_first_way_that_is_there_is_taken_and_named(mounted: Path) -> None:
    env = {
        "DEPUTIZE_KUBERNETES_TOKEN_FILE": str(mounted),
        "SPIFFE_ENDPOINT_SOCKET": "unix:///run/agent.sock",
        "DEPUTIZE_OIDC_TOKEN": "d.e.f",
        "DEPUTIZE_JOIN_TOKEN": "deputize-join-x",
    }
    order = []
    for name in (*env, ""):
        order.append(detect("unix:/run/deputize.sock", dict(env)).method)
        env.pop(name, None)
    # A peer is there as soon as the authority is on a socket; without one the join token is what is left.
    assert order == ["kubernetes", "spiffe", "oidc", "unix", "unix"]
    assert detect(AUTHORITY, {"DEPUTIZE_JOIN_TOKEN": "deputize-join-x"}).method == "join"


def test_a_process_that_has_nothing_is_told_what_was_looked_for() -> None:
    with pytest.raises(AttestationFailed) as caught:
        detect(AUTHORITY, {})
    assert "SPIFFE_ENDPOINT_SOCKET" in str(caught.value)


def test_a_projected_token_is_read_anew_each_time(mounted: Path) -> None:
    attestor = Kubernetes(str(mounted))
    first = attestor.evidence(AUTHORITY)
    assert (first.kind, first.token) == ("jwt", "a.b.c")
    mounted.write_text("d.e.f", encoding="ascii")
    assert attestor.evidence(AUTHORITY).token == "d.e.f"


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 20_000, b"\xff\xfe"])
def test_a_file_that_holds_no_token_is_no_evidence(mounted: Path, content: bytes) -> None:
    mounted.write_bytes(content)
    with pytest.raises(AttestationFailed):
        Kubernetes(str(mounted)).evidence(AUTHORITY)


def test_a_file_that_is_not_there_is_no_evidence(tmp_path: Path) -> None:
    for attestor in (Kubernetes(str(tmp_path / "x")), Oidc.from_file(str(tmp_path / "x")), Oidc.from_file("\0")):
        with pytest.raises(AttestationFailed):
            attestor.evidence(AUTHORITY)


@pytest.mark.parametrize(("name", "kind"), [("DEPUTIZE_OIDC_TOKEN", "jwt"), ("DEPUTIZE_JOIN_TOKEN", "join")])
def test_a_secret_in_the_environment_is_taken_out_of_it(name: str, kind: str) -> None:
    env = {name: "secret-1"}
    attestor = detect(AUTHORITY, env)
    assert not env
    evidence = attestor.evidence(AUTHORITY)
    assert (evidence.kind, evidence.token) == (kind, "secret-1")
    assert "secret-1" not in repr(attestor) + repr(evidence)


def test_the_environment_of_the_process_itself_is_meant_where_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_JOIN_TOKEN", "secret-1")
    assert Join.from_environment().evidence(AUTHORITY).token == "secret-1"
    with pytest.raises(AttestationFailed):
        Join.from_environment().evidence(AUTHORITY)


def test_over_a_socket_nothing_is_sent() -> None:
    evidence = Unix().evidence(AUTHORITY)
    assert (evidence.kind, evidence.token, evidence.peer) == ("unix", "", None)


def test_attestors_say_what_they_are() -> None:
    made = [Kubernetes("/x"), Spiffe("unix:/x"), Oidc(lambda _: "t"), Unix(), Join("t")]
    assert [attestor.method for attestor in made] == ["kubernetes", "spiffe", "oidc", "unix", "join"]


class Provider:
    """A CI provider that gives a token on request."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, json.dumps({"count": 1, "value": "a.b.c"}).encode())
        self.seen: list[tuple[dict[str, list[str]], str | None]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.seen.append((parse_qs(urlsplit(self.path).query), self.headers["Authorization"]))
                status, body = provider.answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token?api-version=2.0"


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def test_a_ci_provider_is_asked_for_a_token_for_this_authority(provider: Any) -> None:
    env = {"ACTIONS_ID_TOKEN_REQUEST_URL": provider.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runner"}
    attestor = detect(AUTHORITY, env)
    assert attestor.method == "oidc"
    assert attestor.evidence(AUTHORITY).token == "a.b.c"
    assert provider.seen == [({"api-version": ["2.0"], "audience": [AUTHORITY]}, "Bearer runner")]


@pytest.mark.parametrize(
    "answer",
    [(500, b""), (200, b"x"), (200, b"[]"), (200, b"{}"), (200, b'{"value": 7}'), (200, b'{"value": ""}'), (302, b"")],
)
def test_a_ci_provider_that_gives_none_is_no_evidence(provider: Any, answer: tuple[int, bytes]) -> None:
    provider.answer = answer
    with pytest.raises(AttestationFailed):
        Oidc.from_request(provider.url, "runner").evidence(AUTHORITY)


def test_a_ci_provider_that_is_not_there_is_no_evidence() -> None:
    for url in ("http://127.0.0.1:9/x", "nowhere", "http://[::1"):
        with pytest.raises(AttestationFailed):
            Oidc.from_request(url, "runner").evidence(AUTHORITY)
