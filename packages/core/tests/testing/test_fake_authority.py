"""What users' own tests stand on: it decides as the real one does, and is easy to bring into any state."""

import asyncio
from pathlib import Path

import pytest

from deputize import Authority
from deputize.errors import AuthorityUnavailable, ConfigurationError, Denied, SessionEnded
from deputize.runtime import current_call
from deputize.testing import FakeAuthority, FakeClock, FakeIssuer

CRM = "https://crm.example/mcp"
TOML = """
version = 1
[authority]
users = "unrestricted"
[store]
url = "sqlite:real.db"
[policy]
files = ["policies/*.cedar"]
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[agents.solo]
open = true
use = { crm = ["crm:read", "crm:write"] }
"""
RULE = '@id("no-writes") forbid (principal, action == Action::"use", resource) when { resource.name like "*:write" };'


@pytest.fixture
def fake() -> FakeAuthority:
    return FakeAuthority(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read", "crm:write"]})


def test_it_is_an_authority_and_decides_as_one(fake: FakeAuthority) -> None:
    assert isinstance(fake, Authority)
    with fake.session(user="alice", agent="solo") as session:
        access = session.access("crm", ["crm:read"])
        assert fake.introspect(access.reveal()).active
        with pytest.raises(Denied) as refused:
            session.access("crm", ["crm:write"])
    assert refused.value.denial.policy == "session-ceiling"
    assert not fake.introspect(access.reveal()).active


def test_its_time_stands_until_it_is_moved(fake: FakeAuthority) -> None:
    with fake.session(user="alice", agent="solo", ttl=600) as session:
        fake.clock.advance(599)
        assert session.state == "open"
        fake.clock.advance(1)
        with pytest.raises(SessionEnded):
            session.access("crm", ["crm:read"])


def test_it_takes_a_clock_that_others_share() -> None:
    clock = FakeClock()
    first, second = (FakeAuthority(agents={"solo": ["look"]}, clock=clock) for _ in range(2))
    assert first.clock is second.clock is clock


def test_its_tokens_are_what_the_test_mints(fake: FakeAuthority) -> None:
    asked: list[tuple[str, frozenset[str]]] = []

    def mint(resource: str, scopes: frozenset[str]) -> str:
        asked.append((resource, scopes))
        return f"token-{len(asked)}"

    minting = FakeAuthority(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]}, mint=mint)
    with minting.session(user="alice", agent="solo") as session:
        access = session.access(CRM, ["crm:read"])
        again = asyncio.run(session.aaccess(CRM, ["crm:read"]))
    assert access.headers("GET", CRM) == {"Authorization": "Bearer token-1"}
    assert again.reveal() == "token-2"
    assert asked == [(CRM, frozenset({"crm:read"}))] * 2
    assert [row["type"] for row in minting.audit.find(type="exchange.permitted")] == ["exchange.permitted"] * 2


def test_a_token_is_minted_only_where_access_is_permitted() -> None:
    minting = FakeAuthority(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read", "crm:write"]}, mint=_never)
    with minting.session(user="alice", agent="solo") as session, pytest.raises(Denied):
        session.access(CRM, ["crm:write"])


def _never(resource: str, scopes: frozenset[str]) -> str:
    raise AssertionError((resource, scopes))


def test_your_own_file_is_what_is_tested_and_its_store_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "deputize.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "house.cedar").write_text(RULE, encoding="utf-8")
    with FakeAuthority(config=tmp_path / "deputize.toml") as fake, fake.session(user="alice", agent="solo") as session:
        session.access("crm", ["crm:read"])
        with pytest.raises(Denied) as refused:
            session.access("crm", ["crm:write"])
    assert refused.value.denial.policy == "no-writes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deputize.toml", "policies"]


def test_a_file_and_mappings_are_not_both_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        FakeAuthority(config=tmp_path / "deputize.toml", agents={"solo": []})


def test_while_it_is_down_nothing_is_permitted_and_afterwards_all_goes_on(fake: FakeAuthority) -> None:
    with fake.session(user="alice", agent="solo") as session:
        fake.down()
        with pytest.raises(AuthorityUnavailable):
            session.access("crm", ["crm:read"])
        with pytest.raises(AuthorityUnavailable), session.tool_call("read", scopes=["crm:read"], resource="crm"):
            raise AssertionError("the body never runs")
        assert current_call() is None
        with pytest.raises(AuthorityUnavailable):
            fake.session(user="bob", agent="solo")
        fake.up()
        session.access("crm", ["crm:read"])


def test_its_policy_can_be_changed_in_the_middle(fake: FakeAuthority) -> None:
    with fake.session(user="alice", agent="solo") as session:
        fake.update(agents={"solo": []})
        with pytest.raises(Denied):
            session.access("crm", ["crm:read"])


def test_users_of_a_fake_issuer_are_known_to_it(tmp_path: Path) -> None:
    clock = FakeClock()
    config = tmp_path / "deputize.toml"
    with FakeIssuer(clock=clock) as issuer:
        listed = f'[[users]]\nissuer = "{issuer.url}"\nalias = "okta"\naudience = ["api://agents"]\n'
        config.write_text(TOML.replace('users = "unrestricted"', 'users = "listed"') + listed, encoding="utf-8")
        with FakeAuthority(config=config, clock=clock) as fake:
            token = issuer.access_token("u1", "api://agents")
            with fake.session(subject_token=token, agent="solo") as session:
                assert session.subject == "okta|u1"
