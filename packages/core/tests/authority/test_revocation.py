"""SEMANTICS, "Revocation": G1 and G4, and what each kind kills."""

from typing import Any

import pytest

from deputize import InvalidRequest, InvalidToken, NotFound, SessionEnded

RESEARCHER = "spiffe://example.org/agent/researcher"


def family(world: Any) -> tuple[Any, Any, Any]:
    root = world.root()
    middle = root.delegate("researcher")
    return root, middle, middle.delegate("writer")


@pytest.mark.requirement("TX-12")
@pytest.mark.requirement("I7")
@pytest.mark.requirement("RV-03")
def test_revoking_the_middle_kills_it_and_all_below_and_nothing_above(world: Any) -> None:
    root, middle, last = family(world)
    token = last.access("crm", ["crm:read"]).reveal()
    done = middle.revoke("suspicious")
    assert done.sessions == 2
    assert [root.state, middle.state, last.state] == ["open", "revoked", "revoked"]
    assert not world.authority.introspect(token).active
    for session in (middle, last):
        with pytest.raises(SessionEnded) as refused:
            session.access("crm", ["crm:read"])
        assert refused.value.code == "session_revoked"
    assert root.delegate("researcher").access("crm", ["crm:read"])


@pytest.mark.requirement("I7")
def test_revoked_stays_revoked_after_a_restart(filed: Any) -> None:
    root = filed.root(key="thread-1")
    token = root.delegate("researcher").access("crm", ["crm:read"]).reveal()
    root.revoke("over")
    authority = filed.reopen()
    assert not authority.introspect(token).active
    with pytest.raises(SessionEnded):
        filed.root(key="thread-1")


def test_closing_ends_everything_below_and_twice_is_nothing(world: Any) -> None:
    root, middle, last = family(world)
    middle.close()
    middle.close()
    with pytest.raises(SessionEnded) as refused:
        last.access("crm", ["crm:read"])
    assert refused.value.code == "session_closed"
    assert root.state == "open"
    closed = world.authority.audit.find(session=middle.id, type="session.closed")
    assert len(closed) == 1


def test_a_revoked_token_dies_alone(world: Any) -> None:
    _, _, last = family(world)
    first, second = last.access("crm", ["crm:read"]), last.access("crm", ["crm:read"])
    world.authority.revoke(token=first.id, reason="leaked")
    assert not world.authority.introspect(first.reveal()).active
    assert world.authority.introspect(second.reveal()).active


@pytest.mark.requirement("I7")
def test_revoking_a_user_kills_all_of_the_users_roots_and_nobody_elses(world: Any) -> None:
    root, _, last = family(world)
    other = world.root(user="bob")
    token = last.access("crm", ["crm:read"]).reveal()
    world.clock.advance(2)
    assert world.authority.revoke(user="alice", reason="left the firm").sessions >= 1
    assert not world.authority.introspect(token).active
    with pytest.raises(SessionEnded):
        root.delegate("researcher")
    assert other.delegate("researcher").access("crm", ["crm:read"])
    world.clock.advance(2)
    assert world.root().state == "open"


@pytest.mark.requirement("I7")
def test_a_suspended_agent_authenticates_for_nothing_and_what_hangs_below_it_is_dead(world: Any) -> None:
    root, middle, last = family(world)
    token = last.access("crm", ["crm:read"]).reveal()
    identity = world.authority.engine.identity(RESEARCHER).token
    world.authority.revoke(agent="researcher", reason="misbehaves")
    assert not world.authority.introspect(token).active
    assert not world.authority.introspect(identity).active
    with pytest.raises(SessionEnded):
        last.access("crm", ["crm:read"])
    for attempt in (lambda: middle.access("crm", ["crm:read"]), lambda: root.delegate("researcher")):
        with pytest.raises(InvalidToken) as refused:
            attempt()
        assert refused.value.code == "agent_suspended"
    assert root.delegate("writer").access("crm", ["crm:read"])


@pytest.mark.requirement("I7")
def test_sessions_that_a_revoked_user_or_suspended_agent_takes_along_say_that_they_are_revoked(world: Any) -> None:
    root, middle, last = family(world)
    world.authority.revoke(agent="researcher", reason="misbehaves")
    assert (root.state, middle.state, last.state) == ("open", "revoked", "revoked")
    world.clock.advance(2)
    world.authority.revoke(user="alice", reason="left the firm")
    root.close()
    assert [node.state for node in root.tree().walk()] == ["revoked"] * 3
    assert not world.authority.audit.find(type="session.closed", session=root.id)


def test_a_revoked_signing_key_takes_its_tokens_with_it(world: Any) -> None:
    _, _, last = family(world)
    token = last.access("crm", ["crm:read"]).reveal()
    kid = world.authority.engine.parts.keys.signer().kid
    world.authority.revoke(key=kid, reason="leaked")
    assert not world.authority.introspect(token).active
    assert all(key["kid"] != kid for key in world.authority.jwks()["keys"])


def test_exactly_one_target_with_a_reason_is_revoked(world: Any) -> None:
    root = world.root()
    for wrong in ({}, {"session": root.id, "user": "alice"}):
        with pytest.raises(InvalidRequest):
            world.authority.revoke(reason="?", **wrong)
    with pytest.raises(InvalidRequest):
        root.revoke("")
    with pytest.raises(NotFound):
        world.authority.revoke(session="AAAAAAAAAAAAAAAA", reason="gone")
    with pytest.raises(NotFound):
        world.authority.revoke(agent="nobody", reason="gone")
    with pytest.raises(NotFound):
        world.authority.revoke(key="nothing", reason="gone")


@pytest.mark.requirement("I7")
def test_another_process_on_the_store_sees_a_revocation_at_its_next_exchange(filed: Any) -> None:
    _, _, last = family(filed)
    other = filed.open()
    other.revoke(user="alice", reason="from the other side")
    with pytest.raises(SessionEnded):
        last.access("crm", ["crm:read"])


def test_a_session_is_cut_off_by_one_row_whatever_hangs_below(world: Any) -> None:
    root, middle, last = family(world)
    before = len(world.authority.audit)
    root.revoke("all of it")
    assert len(world.authority.audit) == before + 1
    assert {root.state, middle.state, last.state} == {"revoked"}
