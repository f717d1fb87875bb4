"""Signing in through a browser: what is asked, what is taken, and what an answer that is not ours gets."""

import contextlib
import json
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from deputize.client.login import SignIn, challenge, sign_in
from deputize.client.operator_token import forget, keep, kept, operator_token
from deputize.client.redirect import Redirect
from deputize.errors import AuthorityUnavailable, ConfigurationError, DeputizeError
from deputize.system import SystemClock
from deputize.testing import FakeIssuer

CLOCK = SystemClock()
AUTHORITY = "https://sts.example"
Change = Callable[[dict[str, str]], None]


class Provider:
    """A provider whose token endpoint gives a token for the one code, if the verifier is that of the challenge."""

    def __init__(self, people: FakeIssuer) -> None:
        self.people = people
        self.asked: dict[str, str] = {}
        self.forms: list[dict[str, str]] = []
        self.status = 200
        self.threads: list[threading.Thread] = []
        self.seen: list[int] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
                body = json.dumps(provider.answer(dict(parse_qsl(raw)))).encode()
                self.send_response(provider.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        base = f"http://127.0.0.1:{self.server.server_address[1]}"
        people.metadata = {
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "authorization_response_iss_parameter_supported": True,
            "code_challenge_methods_supported": ["S256"],
        }

    def answer(self, form: dict[str, str]) -> Mapping[str, object]:
        self.forms.append(form)
        if form["code"] != "the-code" or challenge(form["code_verifier"]) != self.asked["code_challenge"]:
            self.status = 400
            return {"error": "invalid_grant"}
        return {
            "token_type": "Bearer",
            "expires_in": 600,
            "access_token": self.people.access_token("ann", AUTHORITY, groups=["platform"]),
            "id_token": self.people.id_token("ann", "cli", nonce=self.asked["nonce"]),
        }

    def browser(self, change: Change = lambda _: None) -> Callable[[str], None]:
        """What a person does with the URL: sign in, and be sent back with an answer that `change` may change."""

        def show(url: str) -> None:
            self.asked = dict(parse_qsl(urlsplit(url).query))
            answer = {"code": "the-code", "state": self.asked["state"], "iss": self.people.url}
            change(answer)

            def back() -> None:
                with contextlib.suppress(httpx.HTTPError), httpx.Client(trust_env=False, timeout=10) as client:
                    client.get(self.asked["redirect_uri"].replace("/callback", "/favicon.ico"))
                    self.seen.append(client.get(self.asked["redirect_uri"], params=answer).status_code)

            thread = threading.Thread(target=back)
            self.threads.append(thread)
            thread.start()

        return show


@pytest.fixture
def provider() -> Iterator[Provider]:
    with FakeIssuer() as people:
        found = Provider(people)
        thread = threading.Thread(target=found.server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found
        finally:
            for waiting in found.threads:
                waiting.join()
            found.server.shutdown()
            found.server.server_close()
            thread.join()


def how(provider: Provider, **changes: object) -> SignIn:
    return SignIn(issuer=provider.people.url, client_id="cli", wait=10, **changes)  # type: ignore[arg-type]  # as given


def refused(provider: Provider, change: Change) -> str:
    with pytest.raises(DeputizeError) as caught:
        sign_in(how(provider), clock=CLOCK, show=provider.browser(change))
    return caught.value.code


def test_a_person_signs_in_by_code_and_challenge_and_no_secret_goes_through_the_browser(provider: Provider) -> None:
    found = sign_in(how(provider, resource=AUTHORITY), clock=CLOCK, show=provider.browser())
    assert found.token not in repr(found)
    assert 0 < found.expires - CLOCK.now() <= 600
    (form,) = provider.forms
    asked = provider.asked
    assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == ("code", "S256", "openid")
    assert asked["resource"] == form["resource"] == AUTHORITY
    assert asked["redirect_uri"] == form["redirect_uri"]
    where = urlsplit(asked["redirect_uri"])
    assert (where.scheme, where.hostname, where.path) == ("http", "127.0.0.1", "/callback")
    assert form["code_verifier"] not in str(asked)
    assert "client_secret" not in form
    for waiting in provider.threads:
        waiting.join()
    assert provider.seen == [200]
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as client:
        client.get(asked["redirect_uri"])  # nothing listens any more


def test_the_id_token_is_taken_only_with_the_nonce_of_this_sign_in(provider: Provider) -> None:
    found = sign_in(how(provider, id_token=True), clock=CLOCK, show=provider.browser())
    assert found.token.count(".") == 2
    browser = provider.browser()

    def other(url: str) -> None:
        browser(url)
        provider.asked["nonce"] = "another"

    with pytest.raises(DeputizeError) as caught:
        sign_in(how(provider, id_token=True), clock=CLOCK, show=other)
    assert caught.value.code == "state_mismatch"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda answer: answer.update(state="guessed"), "state_mismatch"),
        (lambda answer: answer.pop("state"), "state_mismatch"),
        (lambda answer: answer.update(iss="https://attacker.example"), "wrong_issuer"),
        (lambda answer: answer.pop("iss"), "wrong_issuer"),
        (lambda answer: answer.update(error="access_denied"), "login_refused"),
        (lambda answer: answer.pop("code"), "login_refused"),
    ],
)
def test_an_answer_that_is_not_to_this_sign_in_is_not_taken(provider: Provider, change: Change, code: str) -> None:
    assert refused(provider, change) == code
    assert provider.forms == []


def test_a_code_that_was_not_given_for_our_challenge_gives_no_token(provider: Provider) -> None:
    assert refused(provider, lambda answer: answer.update(code="stolen")) == "login_refused"


def test_a_provider_without_s256_or_with_endpoints_elsewhere_is_refused(provider: Provider) -> None:
    good = dict(provider.people.metadata)
    for name, value in (
        ("code_challenge_methods_supported", ["plain"]),
        ("token_endpoint", "http://attacker.example/token"),
        ("authorization_endpoint", None),
        ("issuer", "https://attacker.example"),
    ):
        provider.people.metadata = {**good, name: value}
        assert refused(provider, lambda _: None) == "metadata_refused", name
    assert provider.forms == []


def test_nobody_waits_for_ever_and_another_host_name_is_no_answer() -> None:
    with Redirect(port=0, clock=CLOCK) as redirect:
        assert not redirect.take("/callback?code=x", "attacker.example")
        assert not redirect.take("/other?code=x", urlsplit(redirect.uri).netloc)
        with pytest.raises(AuthorityUnavailable) as caught:
            redirect.wait(0.01)
        assert caught.value.code == "login_timed_out"
        assert redirect.take("/callback?code=a&code=b&state=s", urlsplit(redirect.uri).netloc)
        assert redirect.wait(1) == {"state": "s"}
        assert not redirect.take("/callback?code=c", urlsplit(redirect.uri).netloc)


def test_a_kept_token_is_its_owners_alone_and_goes_when_it_ends(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path), "HOME": "/nowhere"}
    path = keep(AUTHORITY, "a-token", 1000, environ)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    assert kept(AUTHORITY, environ, now=999) == "a-token"
    assert kept("https://other.example", environ, now=999) is None
    assert operator_token(AUTHORITY, {**environ, "DEPUTIZE_TOKEN": "given"}, now=999) == "given"
    path.chmod(0o640)
    with pytest.raises(ConfigurationError):
        kept(AUTHORITY, environ, now=999)
    path.chmod(0o600)
    assert kept(AUTHORITY, environ, now=1000) is None
    assert not path.exists()
    assert not forget(AUTHORITY, environ)


def test_a_link_in_place_of_the_kept_token_is_not_followed(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    path = keep(AUTHORITY, "a-token", 1000, environ)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        kept(AUTHORITY, environ, now=999)
    assert keep(AUTHORITY, "new", 1000, environ) == path
    assert not path.is_symlink()
