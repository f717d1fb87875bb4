"""Keys over HTTP: of their issuer alone, fetched seldom, kept while the endpoint is down."""

import threading
from typing import Any

import pytest

from deputize import AuthorityUnavailable, DeputizeError, HttpKeys, InvalidRequest
from deputize.wire import json_strict, metadata

CRM = "https://crm.example/mcp"


def token_of(place: Any, user: str = "alice") -> str:
    return place.authority.session(agent="a", user=user).access(CRM, ["crm:read"]).reveal()


def kid_of(place: Any) -> str:
    return place.parts.keys.signer().kid


@pytest.mark.requirement("JW-02")
def test_a_verifier_finds_the_keys_from_the_issuers_url_alone(place: Any) -> None:
    token = token_of(place)
    place.serve()
    verifier = place.verifier()
    assert verifier.verify(token).subject == "local|alice"
    for _ in range(3):
        verifier.verify(token_of(place))
    counts = place.serving.app.counts
    assert counts == {metadata.WELL_KNOWN: 1, "/jwks": 1}


@pytest.mark.requirement("JW-02")
def test_ten_thousand_unknown_key_ids_cause_one_fetch(place: Any) -> None:
    token_of(place)
    place.serve()
    keys = HttpKeys(place.issuer, clock=place.clock)
    assert keys.key(kid_of(place)) is not None
    place.clock.advance(6)  # past the cool-down
    before = place.serving.app.counts["/jwks"]
    assert {keys.key(f"random-{number}") for number in range(10_000)} == {None}
    assert place.serving.app.counts["/jwks"] - before == 1


def test_threads_that_ask_at_once_share_one_fetch(place: Any) -> None:
    token_of(place)
    place.serve()
    keys = HttpKeys(place.issuer, clock=place.clock)
    kid, found, gate = kid_of(place), [], threading.Barrier(16)

    def ask() -> None:
        gate.wait(10)
        found.append(keys.key(kid))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 16
    assert None not in found
    assert place.serving.app.counts["/jwks"] == 1


def test_a_new_key_is_found_after_the_cool_down(place: Any) -> None:
    token_of(place)
    place.serve()
    keys = HttpKeys(place.issuer, clock=place.clock)
    old = kid_of(place)
    assert keys.key(old) is not None
    place.authority.revoke(key=old, reason="test")
    token_of(place)
    new = kid_of(place)
    assert new != old
    place.clock.advance(5)
    assert keys.key(new) is not None
    assert keys.key(old) is None  # the revoked one is served no more


def test_while_the_endpoint_is_down_old_keys_go_on_until_they_are_too_old(place: Any) -> None:
    token_of(place)
    serving = place.serve()
    keys = HttpKeys(place.issuer, clock=place.clock, max_stale=1800)
    kid = kid_of(place)
    assert keys.key(kid) is not None
    place.stop()
    del serving
    for _ in range(17):
        place.clock.advance(100)
        assert keys.key(kid) is not None
        assert keys.key("unknown") is None
    place.tools.until(lambda: keys.failure is not None)
    place.clock.advance(101)
    with pytest.raises(AuthorityUnavailable):
        keys.key(kid)
    place.serve()
    place.clock.advance(6)
    with pytest.raises(DeputizeError):  # an endpoint that is back has other keys: the lease ran out long ago
        place.verifier(keys=keys).verify(token_of(place) + "x")
    assert keys.key(kid_of(place)) is not None


def test_a_failed_fetch_never_empties_the_keys(place: Any) -> None:
    token_of(place)
    serving = place.serve()
    keys = HttpKeys(place.issuer, clock=place.clock)
    kid = kid_of(place)
    assert keys.key(kid) is not None
    serving.app.down = {"/jwks", metadata.WELL_KNOWN}
    place.clock.advance(6)
    assert keys.key("unknown") is None
    assert keys.key(kid) is not None
    assert isinstance(keys.failure, AuthorityUnavailable)


def test_before_the_first_answer_everything_is_refused(place: Any) -> None:
    token = token_of(place)
    serving = place.serve()
    serving.app.down = {metadata.WELL_KNOWN}
    verifier = place.verifier()
    for _ in range(2):
        with pytest.raises(AuthorityUnavailable):
            verifier.verify(token)
    assert serving.app.counts == {metadata.WELL_KNOWN: 1}


def test_a_renewed_lease_is_heard_of(place: Any) -> None:
    place.serve()
    session = place.authority.session(agent="a", user="alice")
    verifier = place.verifier()
    verifier.verify(session.access(CRM, ["crm:read"]).reveal())
    for _ in range(4):
        place.clock.advance(299)
        token = session.access(CRM, ["crm:read"]).reveal()
        verifier.verify(token)
        place.clock.advance(5)
        verifier.verify(token)


class Answering:
    """An issuer that says what the test wants."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.metadata = metadata.metadata_of(issuer)
        self.jwks: bytes = b'{"keys":[]}'

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del receive
        body = self.jwks if scope["path"] == "/jwks" else json_strict.dumps(self.metadata)
        status, headers = (302, [(b"location", b"/jwks")]) if scope["path"] == "/elsewhere" else (200, [])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def answering(place: Any) -> Any:
    hub = place.tools.hub_over(place.parts.store, issuer=place.issuer, clock=place.clock, key=place.key)
    app = Answering(place.issuer)
    place.serving = place.tools.Serving(app, hub, place.held)
    return app


@pytest.mark.requirement("MD-01")
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"issuer": "https://evil.example"}, "wrong_issuer"),
        ({"issuer": "SAME/"}, "wrong_issuer"),
        ({"issuer": None}, "wrong_issuer"),
        ({"jwks_uri": "https://evil.example/jwks"}, "metadata_malformed"),
        ({"jwks_uri": "http://evil.example/jwks"}, "metadata_malformed"),
        ({"jwks_uri": "file:///etc/passwd"}, "metadata_malformed"),
        ({"jwks_uri": None}, "metadata_malformed"),
        ({"jwks_uri": "SAME/elsewhere"}, "authority_unavailable"),
        ({"pad": "x" * 70_000}, "authority_unavailable"),
    ],
    ids=str,
)
def test_an_attackers_metadata_gives_no_keys(place: Any, answering: Any, changes: Any, code: str) -> None:
    said = {name: value.replace("SAME", place.issuer) if value else value for name, value in changes.items()}
    answering.metadata = {**answering.metadata, **said}
    answering.jwks = json_strict.dumps({"keys": place.parts.keys.jwks()})
    keys = HttpKeys(place.issuer, clock=place.clock)
    with pytest.raises(AuthorityUnavailable):
        keys.key("any")
    assert keys.failure is not None
    assert keys.failure.code == code


@pytest.mark.parametrize("jwks", [b"", b"[]", b'{"keys":{}}', b'{"keys":[{"kty":"oct","k":"AA"}]}', b"x" * 70_000])
def test_what_is_no_key_set_gives_no_keys(place: Any, answering: Any, jwks: bytes) -> None:
    answering.jwks = jwks
    keys = HttpKeys(place.issuer, clock=place.clock)
    try:
        assert keys.key("any") is None
    except DeputizeError as error:
        assert error.code == "authority_unavailable"  # noqa: PT017  # either is a refusal


@pytest.mark.requirement("A-13")
@pytest.mark.requirement("JW-02")
def test_the_same_key_id_at_two_issuers_is_two_keys(place: Any, answering: Any) -> None:
    """An issuer serves a key of its own under the other's key id: the other's verifier never sees it."""
    token = token_of(place)
    foreign = HttpKeys(place.issuer, clock=place.clock)
    answering.jwks = json_strict.dumps({"keys": [{**place.parts.keys.jwks()[0]}]})
    assert foreign.key(kid_of(place)) is not None
    own = HttpKeys(place.issuer + "/other", clock=place.clock)
    with pytest.raises(AuthorityUnavailable):
        own.key(kid_of(place))
    assert own.failure is not None
    assert own.failure.code == "wrong_issuer"
    assert place.verifier(keys=foreign).verify(token)


def test_an_issuer_is_checked_when_it_is_named() -> None:
    with pytest.raises(InvalidRequest):
        HttpKeys("sts.example")
