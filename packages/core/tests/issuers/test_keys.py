"""Keys of a foreign issuer: found by its metadata, picked up when they rotate, asked for seldom, kept for a while."""

import json
import secrets
import threading
from pathlib import Path
from typing import Any

import pytest

from deputize.fetch import Fetcher
from deputize.issuers.keys import COOL_DOWN, MAX_STALE, REFRESH, IssuerKeys, issuer_keys
from deputize.issuers.metadata import discover_jwks, metadata_urls
from deputize.model.failure import AuthorityUnavailable, DeputizeError, InvalidToken
from deputize.testing import FakeClock, FakeIssuer
from deputize.wire import foreign_token
from deputize.wire.jws import Header

AUDIENCE = "https://sts.example"


def accepted(keys: IssuerKeys, token: str, clock: FakeClock) -> bool:
    given = {"issuer": keys.issuer, "audience": [AUDIENCE], "key_for": keys.key_for, "now": clock.now(), "leeway": 0}
    try:
        foreign_token.decode(token, types={"jwt"}, **given)
    except InvalidToken as error:
        if error.code != "unknown_key":
            raise
        return False
    return True


def named(kid: str | None) -> Header:
    return Header(alg="ES256", kid=kid, typ="jwt", jwk=None, others=frozenset(), ours=False)


def fetches(issuer: FakeIssuer) -> int:
    return sum(path.endswith("/jwks") for path in issuer.requests)


def test_keys_are_found_by_the_issuers_metadata(issuer: Any, keys_of: Any, clock: Any) -> None:
    keys = keys_of(issuer)
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    assert accepted(keys, issuer.id_token("bob", AUDIENCE), clock)
    assert issuer.requests == ["/.well-known/openid-configuration", "/jwks"]


def test_an_issuer_with_a_path_is_found_in_both_places(clock: Any, keys_of: Any) -> None:
    with FakeIssuer(clock=clock, path="/tenant") as issuer:
        openid, oauth = metadata_urls(issuer.url)
        assert openid == issuer.url + "/.well-known/openid-configuration"
        assert oauth.endswith("/.well-known/oauth-authorization-server/tenant")
        assert accepted(keys_of(issuer), issuer.id_token("alice", AUDIENCE), clock)
    assert metadata_urls("https://a.example/")[0] == "https://a.example/.well-known/openid-configuration"
    assert metadata_urls("https://a.example/")[1] == "https://a.example/.well-known/oauth-authorization-server"


def test_an_issuer_that_knows_only_rfc_8414_is_found(clock: Any, keys_of: Any, monkeypatch: Any) -> None:
    class Oauth(FakeIssuer):
        def _document(self, path: str) -> Any:
            return None if "openid" in path else super()._document(path)

    with Oauth(clock=clock) as issuer:
        assert accepted(keys_of(issuer), issuer.id_token("alice", AUDIENCE), clock)


@pytest.mark.parametrize("jwks", ["url", "file"])
def test_keys_are_where_the_operator_says(issuer: Any, keys_of: Any, clock: Any, tmp_path: Path, jwks: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [issuer.key.public_jwk() | {"kid": issuer.key.kid}]}), encoding="utf-8")
    keys = keys_of(issuer, jwks=issuer.jwks_uri if jwks == "url" else str(file))
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    assert issuer.requests == (["/jwks"] if jwks == "url" else [])


def test_a_file_that_was_replaced_is_read_again(issuer: Any, keys_of: Any, clock: Any, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = keys_of(issuer, jwks=str(file))
    with pytest.raises(AuthorityUnavailable) as caught:
        accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    assert (caught.value.code, caught.value.retry_after) == ("issuer_unavailable", COOL_DOWN)
    file.write_text(json.dumps({"keys": [issuer.key.public_jwk()]}), encoding="utf-8")
    clock.advance(COOL_DOWN)
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)


@pytest.mark.requirement("MD-01")
def test_metadata_of_another_issuer_is_not_used(issuer: Any, keys_of: Any, clock: Any) -> None:
    for wrong in (issuer.url + "/", issuer.url.replace("127.0.0.1", "localhost"), "https://evil.example", None, 7):
        issuer.metadata = {"issuer": wrong}
        with pytest.raises(AuthorityUnavailable) as caught:
            accepted(keys_of(issuer), issuer.id_token("alice", AUDIENCE), clock)
        assert caught.value.code == "issuer_unavailable"
    assert fetches(issuer) == 0


@pytest.mark.parametrize("url", ["https://evil.example/jwks", "file:///etc/passwd", "", 7, None, "/jwks"])
def test_keys_at_another_origin_are_not_used_unless_written_down(issuer: Any, clock: Any, url: Any) -> None:
    issuer.metadata = {"jwks_uri": url}
    with pytest.raises(DeputizeError) as caught:
        discover_jwks(Fetcher(clock=clock, loopback=True, ports=None), issuer.url)
    assert caught.value.code in {"metadata_refused", "fetch_refused"}
    assert fetches(issuer) == 0


def test_metadata_that_says_its_issuer_twice_is_not_used(clock: Any) -> None:
    class Twice(FakeIssuer):
        def _document(self, path: str) -> Any:
            found = super()._document(path)
            return [found] if found is not None and "issuer" in found else found

    with Twice(clock=clock) as issuer, pytest.raises(DeputizeError) as caught:
        discover_jwks(Fetcher(clock=clock, loopback=True, ports=None), issuer.url)
    assert caught.value.code == "metadata_refused"


def test_a_rotated_key_is_picked_up_and_a_retired_one_forgotten(issuer: Any, keys_of: Any, clock: Any) -> None:
    keys = keys_of(issuer)
    old = issuer.id_token("alice", AUDIENCE)
    assert accepted(keys, old, clock)
    issuer.rotate(keep=True)
    clock.advance(COOL_DOWN)
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    assert accepted(keys, old, clock)
    issuer.rotate(keep=False)
    clock.advance(COOL_DOWN)
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    assert not accepted(keys, old, clock)


def test_a_key_that_was_withdrawn_is_noticed_though_nobody_asks_for_another(
    issuer: Any, keys_of: Any, clock: Any
) -> None:
    keys = keys_of(issuer)
    stolen = issuer.key
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    issuer.rotate(keep=False)
    clock.advance(REFRESH)
    forged = issuer.mint({"sub": "alice", "aud": AUDIENCE}, key=stolen)
    assert not accepted(keys, forged, clock)


@pytest.mark.requirement("JW-06")
def test_ten_thousand_unknown_kids_make_one_fetch_in_a_cool_down(issuer: Any, keys_of: Any, clock: Any) -> None:
    keys = keys_of(issuer)
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)
    before = fetches(issuer)
    for _ in range(10_000):
        assert keys.key_for(named(secrets.token_hex(8))) is None
    assert fetches(issuer) == before
    clock.advance(COOL_DOWN)
    for _ in range(10_000):
        assert keys.key_for(named(secrets.token_hex(8))) is None
    assert fetches(issuer) == before + 1
    assert accepted(keys, issuer.id_token("alice", AUDIENCE), clock)


def test_keys_outlive_an_outage_until_the_stated_limit(issuer: Any, keys_of: Any, clock: Any) -> None:
    keys = keys_of(issuer)
    assert keys.key_for(named(issuer.key.kid)) is not None
    issuer.down()
    clock.advance(MAX_STALE - 1)
    assert keys.key_for(named(issuer.key.kid)) is not None
    clock.advance(1)
    with pytest.raises(AuthorityUnavailable) as caught:
        keys.key_for(named(issuer.key.kid))
    assert caught.value.code == "issuer_unavailable"
    issuer.up()
    clock.advance(COOL_DOWN)
    assert keys.key_for(named(issuer.key.kid)) is not None


@pytest.mark.parametrize("broken", ["not json", '{"keys":{}}', '{"keys":[],"keys":[]}', "[" * 9000, "{" + " " * 70_000])
def test_a_broken_set_changes_nothing(issuer: Any, clock: Any, tmp_path: Path, broken: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [issuer.key.public_jwk()]}), encoding="utf-8")
    keys = issuer_keys(issuer.url, clock=clock, jwks=str(file))
    assert keys.key_for(named(issuer.key.kid)) is not None
    file.write_text(broken, encoding="utf-8")
    clock.advance(REFRESH)
    assert keys.key_for(named(issuer.key.kid)) is not None


def test_threads_that_need_the_same_keys_make_one_fetch(issuer: Any, keys_of: Any) -> None:
    keys = keys_of(issuer)
    barrier, found = threading.Barrier(16), []

    def ask() -> None:
        barrier.wait()
        found.append(keys.key_for(named(issuer.key.kid)))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert None not in found
    assert fetches(issuer) == 1


@pytest.mark.requirement("JW-02")
@pytest.mark.requirement("A-13")
def test_one_kid_at_two_issuers_is_two_keys(issuer: Any, keys_of: Any, clock: Any) -> None:
    with FakeIssuer(clock=clock) as mallory:
        mallory.published = {issuer.key.kid: mallory.key}
        ours, theirs = keys_of(issuer), keys_of(mallory)
        found = ours.key_for(named(issuer.key.kid)), theirs.key_for(named(issuer.key.kid))
        assert all(found)
        assert not found[0].verify(mallory.key.sign(b"data"), b"data")
        assert found[1].verify(mallory.key.sign(b"data"), b"data")


def test_a_header_without_kid_means_the_only_key(issuer: Any, keys_of: Any, clock: Any) -> None:
    keys = keys_of(issuer)
    assert keys.key_for(named(None)) is not None
    issuer.rotate(keep=True)
    clock.advance(REFRESH)
    assert keys.key_for(named(None)) is None
