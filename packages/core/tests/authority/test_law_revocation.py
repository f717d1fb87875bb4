"""SEMANTICS, "Revocation": for each kind, whom it kills, by which ways nothing comes out any more, and for good."""

from typing import Any

import pytest

from deputize import DeputizeError, InvalidToken, Mode
from deputize.model.revocation import Kind, RevocationEntry

RESEARCHER = "spiffe://example.org/agent/researcher"


class Family:
    """root > middle > last, a link of middle, a neighbour of middle; with a token and a key of each way to ask."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.root = world.root(key="root")
        self.middle = self.root.delegate("researcher", key="middle")
        self.last = self.middle.delegate("writer", key="last")
        self.neighbour = self.root.delegate("writer", key="neighbour")
        self.token = self.last.access("crm", ["crm:read"], key="access").reveal()
        self.beside = self.neighbour.access("crm", ["crm:read"], key="beside").reveal()
        self.session_token = self.last.present()

    def ways(self) -> dict[str, Any]:
        """Every way to get something out of `last`, or to get `last` again."""
        return {
            "access": lambda: self.last.access("crm", ["crm:read"]),
            "access again": lambda: self.last.access("crm", ["crm:read"], key="access"),
            "hand-off": lambda: self.middle.delegate("writer"),
            "hand-off again": lambda: self.middle.delegate("writer", key="last"),
            "tool call": lambda: self.last.tool_call("read_customers").start(),
            "impersonation": lambda: self.last.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-1"),
        }

    def dead(self, skip: tuple[str, ...] = ()) -> dict[str, str]:
        """The codes of all refusals; fails where something comes out."""
        codes = {}
        for name, way in self.ways().items():
            if name in skip:
                continue
            with pytest.raises(DeputizeError) as refused:
                way()
            codes[name] = refused.value.code
        for token in (self.token, self.session_token):
            assert not self.world.authority.introspect(token).active
        return codes


KILLS = {
    "session": lambda f: f.middle.revoke("test"),
    "root": lambda f: f.root.revoke("test"),
    "close": lambda f: f.middle.close(),
    "agent": lambda f: f.world.authority.revoke(agent="researcher", reason="test"),
    "user": lambda f: f.world.authority.revoke(user="alice", reason="test"),
}


@pytest.mark.requirement("I7")
@pytest.mark.requirement("TX-12")
@pytest.mark.requirement("A-04")
@pytest.mark.parametrize("cause", KILLS)
def test_when_it_returns_nothing_comes_out_below_by_any_way(world: Any, cause: str) -> None:
    family = Family(world)
    KILLS[cause](family)
    codes = set(family.dead().values())
    assert codes <= {"session_revoked", "session_closed", "agent_suspended"}
    above = cause in {"root", "user"}
    assert world.authority.introspect(family.beside).active is not above
    if not above:
        assert family.neighbour.access("crm", ["crm:read"])
        assert world.root(key="root") is family.root
    else:
        with pytest.raises(DeputizeError):
            world.root(key="root")


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("cause", KILLS)
def test_it_stays_so_in_another_process_and_after_a_restart(filed: Any, cause: str) -> None:
    family = Family(filed)
    other = filed.open()
    KILLS[cause](family)
    assert not other.introspect(family.token).active
    assert not filed.reopen().introspect(family.token).active


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("cause", ["session", "close", "agent", "user"])
def test_it_costs_one_row_and_one_record_and_says_so(world: Any, cause: str) -> None:
    family = Family(world)
    before = len(world.authority.audit)
    KILLS[cause](family)
    store = world.authority.engine.parts.store
    rows = store.read(lambda tx: tx.revocations())
    assert len(rows) == 1
    assert len(world.authority.audit) == before + 1
    record = list(world.authority.audit)[-1]
    assert record["seq"] == rows[0].seq
    assert record["detail"]["reason"] == rows[0].reason


@pytest.mark.parametrize(("first", "second"), [("session", "close"), ("close", "session"), ("user", "close")])
def test_causes_are_united_and_the_later_one_frees_nothing(world: Any, first: str, second: str) -> None:
    family = Family(world)
    KILLS[first](family)
    KILLS[second](family)
    family.dead()


def test_an_agent_that_is_resumed_works_again_and_none_of_its_sessions_does(filed: Any) -> None:
    family = Family(filed)
    filed.authority.revoke(agent="researcher", reason="suspicious")
    filed.clock.advance(10)
    now = int(filed.clock.now())
    store = filed.authority.engine.parts.store
    resumed = RevocationEntry(kind=Kind.AGENT, id=RESEARCHER, at=now, until=now + 9, before=now, seq=10_000)
    store.write(lambda tx: tx.revoke(resumed))
    family.dead(skip=())
    filed.clock.advance(2)
    fresh = family.root.delegate("researcher")
    assert fresh.access("crm", ["crm:read"])


@pytest.mark.requirement("I7")
def test_a_suspended_agent_gets_no_new_identity_and_its_old_one_is_inactive(world: Any) -> None:
    engine = world.authority.engine
    token = engine.identity(RESEARCHER).token
    world.authority.revoke(agent="researcher", reason="test")
    assert not world.authority.introspect(token).active
    world.clock.advance(world.authority.engine.parts.limits.identity_ttl // 2 + 1)
    with pytest.raises(InvalidToken) as refused:
        engine.identity(RESEARCHER)
    assert refused.value.code == "agent_suspended"
    assert world.authority.audit.find(type="identity.denied")[0]["code"] == "agent_suspended"
    for attempt in (
        lambda: world.authority.session(user="alice", agent="researcher"),
        lambda: world.authority.session(agent="researcher", mode=Mode.SELF),
    ):
        with pytest.raises(InvalidToken):
            attempt()


def test_a_revoked_identity_is_inactive_and_no_actor_token(world: Any) -> None:
    from deputize.model.request import HandOffRequest

    root = world.root()
    held = world.authority.engine.identity(RESEARCHER)
    jti = world.authority.audit.find(agent=RESEARCHER, type="identity.issued")[0]["jti"]
    world.authority.revoke(token=jti, reason="leaked")
    assert not world.authority.introspect(held.token).active
    request = HandOffRequest(subject_token=root.present(), actor_token=held.token, to="researcher")
    with pytest.raises(InvalidToken) as refused:
        world.authority.engine.hand_off(root.agent, request)
    assert refused.value.code == "token_revoked"
    assert root.delegate("researcher").depth == 1  # a new identity over the same key


def test_a_revoked_session_token_dies_alone_and_its_holder_gets_another(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher")
    lost = child.present()
    jti = world.authority.audit.find(session=child.id, type="session.opened")[0]["jti"]
    world.authority.revoke(token=jti, reason="leaked")
    assert not world.authority.introspect(lost).active
    assert child.state == "open"
    assert child.access("crm", ["crm:read"])
    assert child.present() != lost
    refused = world.authority.audit.find(session=child.id, type="exchange.denied")
    assert [record["code"] for record in refused] == ["token_revoked"]


@pytest.mark.requirement("I7")
def test_a_revoked_signing_key_kills_its_tokens_and_sessions_go_on_under_another(world: Any) -> None:
    family = Family(world)
    identity = world.authority.engine.identity(RESEARCHER).token
    kid = world.authority.engine.parts.keys.signer().kid
    world.authority.revoke(key=kid, reason="leaked")
    for token in (family.token, family.beside, family.session_token, identity):
        assert not world.authority.introspect(token).active
    again = family.last.access("crm", ["crm:read"])
    assert world.authority.introspect(again.reveal()).active
    assert world.authority.engine.parts.keys.signer().kid != kid
    assert family.middle.delegate("writer").access("crm", ["crm:read"])
    with family.last.tool_call("read_customers"):
        pass


@pytest.mark.requirement("I7")
def test_a_signing_key_that_another_process_revoked_signs_nothing_more(filed: Any) -> None:
    family = Family(filed)
    kid = filed.authority.engine.parts.keys.signer().kid
    other = filed.open()
    other.revoke(key=kid, reason="leaked")
    assert not filed.authority.introspect(family.token).active
    token = family.last.access("crm", ["crm:read"]).reveal()
    for authority in (filed.authority, other):
        assert authority.introspect(token).active
        assert kid not in [key["kid"] for key in authority.jwks()["keys"]]


def test_a_revocation_says_how_many_lived(world: Any) -> None:
    family = Family(world)
    family.last.close()
    assert family.middle.revoke("test").sessions == 1
    assert world.authority.revoke(user="alice", reason="test").sessions == 2
    world.clock.advance(2)
    root = world.root()
    root.delegate("writer")
    root.delegate("researcher").delegate("writer")
    assert world.authority.revoke(agent="researcher", reason="test").sessions == 2
    other = world.root(user="bob")
    other.delegate("writer").close()
    assert other.revoke("test").sessions == 1
    assert other.revoke("again").sessions == 0


def test_an_entry_lasts_until_the_last_thing_that_it_kills_has_expired(world: Any) -> None:
    family = Family(world)
    now, limits = int(world.clock.now()), world.authority.engine.parts.limits
    store = world.authority.engine.parts.store
    access = family.neighbour.access("crm", ["crm:read"])
    kid = world.authority.engine.parts.keys.signer().kid
    family.middle.close()
    family.neighbour.revoke("test")
    world.authority.revoke(token=access.id, reason="test")
    world.authority.revoke(user="alice", reason="test")
    world.authority.revoke(agent="researcher", reason="test")
    world.authority.revoke(key=kid, reason="test")
    until = {entry.kind: entry.until for entry in store.read(lambda tx: tx.revocations())}
    assert until == {
        Kind.CLOSE: now + limits.access_ttl,
        Kind.SESSION: int(family.neighbour.expires_at),
        Kind.TOKEN: int(access.expires_at),
        Kind.USER: now + limits.session_ttl_max,
        Kind.AGENT: now + limits.session_ttl_max,
        Kind.KEY: now + limits.session_token_ttl,
    }


def test_an_unknown_token_is_revoked_without_a_complaint(world: Any) -> None:
    assert world.authority.revoke(token="AAAAAAAAAAAAAAAA", reason="just in case").kind == "token"
