"""A session outlives the token that its user signed in with; nobody else gets in by that token once it is over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority
from deputize.errors import DeputizeError, InvalidToken
from deputize.testing import FakeClock, FakeIssuer

CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
users = "listed"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.boss]
open = true
use = {{ crm = ["crm:read"] }}
[[users]]
issuer = "{issuer}"
alias = "corp"
audience = ["https://sts.example"]
"""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def issuer(clock: FakeClock) -> Iterator[FakeIssuer]:
    with FakeIssuer(clock=clock) as running:
        yield running


@pytest.fixture
def file(tmp_path: Path, issuer: FakeIssuer) -> Path:
    path = tmp_path / "deputize.toml"
    path.write_text(CONFIGURATION.format(issuer=issuer.url), encoding="utf-8")
    return path


def opened(authority: Authority, token: str, key: str | None = None) -> Any:
    return authority.session(subject_token=token, agent="boss", key=key)


def test_a_session_goes_on_after_its_users_token_and_its_own_token_are_over(
    file: Path, issuer: FakeIssuer, clock: FakeClock
) -> None:
    token = issuer.access_token("alice", "https://sts.example")
    with Authority.open(file, clock=clock) as authority, opened(authority, token) as session:
        for _ in range(3):
            clock.advance(1000)
            session.access("crm", ["crm:read"])
        assert (session.subject, session.state) == ("corp|alice", "open")
        issuer.down()
        clock.advance(500)
        session.access("crm", ["crm:read"])  # its issuer need not be asked either


@pytest.mark.requirement("I12")
def test_a_token_that_is_over_opens_nothing_for_another_key_or_another_idempotency_key(
    file: Path, issuer: FakeIssuer, clock: FakeClock
) -> None:
    token = issuer.access_token("alice", "https://sts.example")
    with Authority.open(file, clock=clock) as authority, Authority.open(file, clock=clock) as other:
        session = opened(authority, token, "thread")
        assert opened(other, token, "thread").id == session.id  # evidence that holds now
        clock.advance(700)
        assert opened(authority, token, "thread").id == session.id
        for step in (lambda: opened(authority, token, "another"), lambda: opened(authority, token)):
            with pytest.raises(InvalidToken) as refused:
                step()
            assert refused.value.code == "token_expired"
        with Authority.open(file, clock=clock) as third, pytest.raises(InvalidToken) as refused:
            opened(third, token, "thread")
        assert refused.value.code == "token_expired"


@pytest.mark.requirement("A-03")
def test_a_token_that_only_names_the_user_finds_nothing_that_the_asker_did_not_open(
    file: Path, issuer: FakeIssuer, clock: FakeClock
) -> None:
    with FakeIssuer(clock=clock) as stranger, Authority.open(file, clock=clock) as authority:
        opened(authority, issuer.access_token("alice", "https://sts.example"), "thread")
        claims = {"iss": issuer.url, "sub": "bob", "aud": "https://sts.example", "client_id": "c", "jti": "1"}
        forged = stranger.mint(claims, typ="at+jwt")
        with Authority.open(file, clock=clock) as other:
            for asked in (authority, other):
                with pytest.raises(DeputizeError):
                    opened(asked, forged, "thread")
            with pytest.raises(DeputizeError):
                opened(other, stranger.mint({**claims, "sub": "alice"}, typ="at+jwt"), "thread")


@pytest.mark.requirement("I7")
def test_a_revoked_user_does_not_come_back_by_the_key(file: Path, issuer: FakeIssuer, clock: FakeClock) -> None:
    token = issuer.access_token("alice", "https://sts.example")
    with Authority.open(file, clock=clock) as authority:
        opened(authority, token, "thread")
        authority.revoke(user="corp|alice", reason="left")
        with pytest.raises(DeputizeError) as refused:
            opened(authority, token, "thread")
        assert refused.value.code == "session_revoked"
