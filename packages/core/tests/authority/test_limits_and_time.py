"""SEMANTICS, "Time" and the limits: omitted is cut, explicit and too long is refused, nothing outlives its parent."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from deputize import InvalidRequest, SessionEnded
from deputize.model.limits import Limits


def code_of(attempt: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        attempt()
    return refused.value.code


@pytest.mark.requirement("I2")
def test_an_omitted_lifetime_is_cut_to_what_the_parent_has_left(world: Any) -> None:
    root = world.root(ttl=100)
    world.clock.advance(40)
    child = root.delegate("researcher")
    assert child.expires_at == root.expires_at


@pytest.mark.requirement("I2")
def test_an_explicit_lifetime_above_a_limit_is_refused_and_not_clipped(world: Any) -> None:
    root = world.root(ttl=100)
    assert code_of(lambda: root.delegate("researcher", ttl=101)) == "ttl_too_long"
    assert code_of(lambda: world.root(ttl=8 * 3600 + 1)) == "ttl_too_long"
    child = root.delegate("researcher")
    assert code_of(lambda: child.access("crm", ["crm:read"], ttl=301)) == "ttl_too_long"
    assert child.access("crm", ["crm:read"], ttl=30).expires_at - world.clock.now() <= 30


def test_an_agents_own_session_limit_holds(world: Any) -> None:
    child = world.root().delegate("writer")
    assert child.expires_at - world.clock.now() <= 600
    assert code_of(lambda: world.root().delegate("writer", ttl=601)) == "ttl_too_long"


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "60"])
def test_a_lifetime_is_a_number_of_seconds(world: Any, ttl: Any) -> None:
    assert code_of(lambda: world.root(ttl=ttl)) == "invalid_ttl"


def test_nothing_new_is_opened_in_a_sessions_last_seconds(world: Any) -> None:
    root = world.root(ttl=100)
    child = root.delegate("researcher")
    world.clock.advance(96)
    assert code_of(lambda: root.delegate("researcher")) == "session_expiring"
    assert code_of(lambda: child.access("crm", ["crm:read"])) == "session_expiring"


@pytest.mark.requirement("I12")
def test_an_expired_session_opens_and_issues_nothing(world: Any) -> None:
    root = world.root(ttl=100, key="thread-1")
    child = root.delegate("researcher")
    token = child.access("crm", ["crm:read"], ttl=50).reveal()
    world.clock.advance(101)
    assert root.state == child.state == "expired"
    assert not world.authority.introspect(token).active
    for attempt in (lambda: child.access("crm", ["crm:read"]), lambda: world.root(ttl=100, key="thread-1")):
        with pytest.raises((SessionEnded, InvalidRequest)) as refused:
            attempt()
        assert refused.value.code in {"session_expired", "token_expired"}


@pytest.mark.requirement("I12")
def test_a_clock_that_steps_back_revives_nothing(world: Any) -> None:
    root = world.root(ttl=100)
    world.clock.advance(101)
    assert root.state == "expired"
    world.root(user="bob")  # its record holds the newest time
    world.clock.step(-90)
    assert root.state == "expired"
    with pytest.raises((SessionEnded, InvalidRequest)):
        root.delegate("researcher")


def test_a_session_token_is_minted_again_while_the_session_lives(world: Any) -> None:
    root = world.root(ttl=7200)
    child = root.delegate("researcher")
    first = root.present()
    world.clock.advance(3000)
    assert child.access("crm", ["crm:read"])
    assert root.present() != first
    assert len(root.tree().children) == 1


@pytest.mark.requirement("I5")
def test_depth_is_bounded(world: Any) -> None:
    session = world.root()
    for _ in range(4):
        session = session.delegate("supervisor")
    assert session.depth == 4
    assert code_of(lambda: session.delegate("supervisor")) == "depth_exceeded"


@pytest.mark.requirement("I5")
@pytest.mark.requirement("A-10")
def test_children_and_trees_are_bounded_when_many_ask_at_once(world: Any) -> None:
    parts = world.authority.engine.parts
    limits = Limits(children_max=5, tree_max=8)
    parts.rules = replace(parts.rules, configuration=replace(parts.rules.configuration, limits=limits))
    root = world.root()
    outcome: list[str] = []

    def ask() -> None:
        try:
            root.delegate("researcher")
            outcome.append("opened")
        except InvalidRequest as error:
            outcome.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcome.count("opened") == 5
    assert outcome.count("too_many_children") == 7
    child = root.tree().children[0]
    held = world.authority.get_session(child.sid) if child.sid in world.authority._live else None
    assert held is None or held.depth == 1
    middle = world.root(user="bob")
    for _ in range(4):
        middle.delegate("researcher")
    deep = middle.delegate("supervisor")
    for _ in range(2):
        deep.delegate("researcher")
    assert code_of(lambda: deep.delegate("researcher")) == "tree_full"


def test_a_refused_hand_off_counts_for_nothing(world: Any) -> None:
    parts = world.authority.engine.parts
    limits = Limits(children_max=1)
    parts.rules = replace(parts.rules, configuration=replace(parts.rules.configuration, limits=limits))
    root = world.root()
    for _ in range(3):
        assert code_of(lambda: root.delegate("researcher", ttl=99_999)) == "ttl_too_long"
    assert root.delegate("researcher").depth == 1


def test_what_writes_no_record_moves_no_time(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher")
    child.access("crm", ["crm:read"], key="call-1")
    other = world.root(user="bob")
    other.revoke("once")
    world.clock.advance(70)
    other.revoke("again")
    child.access("crm", ["crm:read"], key="call-1")
    world.clock.step(-60)
    assert world.authority.engine.parts.now() == world.clock.now()
