"""Time as an attacker sets it: what was dead stays dead, and what is issued is good."""

from typing import Any

import pytest

from deputize.authority.parts import Parts
from deputize.runtime import verifier_for

WIKI = "https://wiki.example/mcp"


@pytest.mark.requirement("I12")
def test_setting_the_clock_back_revives_nothing_that_the_log_has_seen_the_end_of(
    filed: Any, broken: Any, code_of: Any
) -> None:
    root = filed.root(ttl=100)
    child = root.delegate("reader")
    token = child.access("wiki", ["wiki:read"]).reveal()
    filed.clock.advance(101)
    filed.root(user="bob")  # anything that is recorded
    filed.clock.step(-101)
    with broken(Parts, "moment", lambda parts, _: parts.clock.now()):
        assert child.state == "open"
        assert filed.authority.introspect(token).active
    filed.reopen()
    assert child_state(filed, child) == "expired"
    assert not filed.authority.introspect(token).active


def child_state(firm: Any, session: Any) -> str:
    from deputize.authority.subject import state_of

    parts = firm.engine.parts
    return str(parts.store.read(lambda tx: state_of(tx, tx.line(session.node), parts.moment(tx))).value)


@pytest.mark.requirement("I12")
@pytest.mark.parametrize("step", [-3600, -601, -299, -1, 1])
def test_what_is_issued_after_the_clock_was_set_is_good_in_this_process_and_the_next(filed: Any, step: int) -> None:
    """The authority's time stays ahead of the clock; the lease of the key that signs has to reach as far."""
    filed.root()
    filed.clock.step(step)
    assert works(filed)
    filed.reopen()
    assert works(filed)


def works(firm: Any) -> bool:
    with firm.root() as root, root.delegate("boss") as again, again.delegate("reader") as child:
        return bool(firm.authority.introspect(child.access("wiki", ["wiki:read"]).reveal()).active)


@pytest.mark.requirement("I2")
def test_a_clock_that_jumps_ahead_ends_sessions_and_nothing_else(firm: Any, code_of: Any) -> None:
    root = firm.root()
    firm.clock.step(10 * 365 * 86400)
    assert code_of(lambda: root.delegate("reader")) in {"session_expired", "token_expired"}
    assert works(firm)


@pytest.mark.requirement("I2")
@pytest.mark.parametrize("ttl", [0, -1, 0.5, 2**31, 2**63, 1e308, float("inf"), float("nan"), True])
def test_no_lifetime_reaches_past_the_limits_whatever_number_it_is(firm: Any, code_of: Any, ttl: Any) -> None:
    root = firm.root()
    child = root.delegate("reader")
    for attempt in (
        lambda: firm.root(ttl=ttl),
        lambda: root.delegate("reader", ttl=ttl),
        lambda: child.access("crm", ["crm:read"], ttl=ttl),
    ):
        assert code_of(attempt) in {"invalid_ttl", "ttl_too_long"}


@pytest.mark.requirement("I12")
def test_tokens_from_the_future_are_not_taken(firm: Any, code_of: Any) -> None:
    """Signed by the authority's own key, a day ahead."""
    child = firm.root().delegate("reader")
    now = int(firm.clock.now())
    ahead = firm.forged(child, iat=now + 86400, exp=now + 90000)
    assert code_of(lambda: firm.access("reader", ahead)) == "not_yet_valid"
    endless = firm.forged(child, exp=2**53)
    assert firm.access("reader", endless).grant.exp <= child.expires_at  # what comes of it ends with the session
    firm.clock.advance(3601)
    assert code_of(lambda: firm.access("reader", endless)) == "session_expired"


@pytest.mark.requirement("I2")
def test_no_token_says_that_it_lives_longer_than_its_session(firm: Any, code_of: Any) -> None:
    child = firm.root(ttl=40).delegate("reader")
    firm.clock.advance(20.9)
    for resource, scope in (("crm", "crm:read"), ("wiki", "wiki:read")):
        held = child.access(resource, [scope])
        assert held.expires_at == child.expires_at
        assert firm.authority.introspect(held.reveal()).exp == child.expires_at
    assert firm.claims(child).exp <= child.expires_at
    # The second in which the token is made may lie after the one in which its lifetime was worked out.
    genuine = Parts.moment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parts, "moment", lambda parts, tx: genuine(parts, tx) + 3)
        assert child.access("wiki", ["wiki:read"]).expires_at == child.expires_at
    assert code_of(lambda: child.access("wiki", ["wiki:read"], ttl=60)) == "ttl_too_long"


@pytest.mark.requirement("I12")
def test_a_session_token_that_was_verified_before_expires_all_the_same(firm: Any, code_of: Any) -> None:
    """What is remembered of a verified token saves its signature's check, not its clock's."""
    child = firm.root(ttl=7200).delegate("reader", ttl=7000)
    token = child.present()
    assert firm.access("reader", token).grant
    firm.clock.advance(899)
    assert firm.access("reader", token).grant
    firm.clock.advance(1)
    for attempt in (
        lambda: firm.access("reader", token),
        lambda: firm.call("reader", token),
        lambda: firm.hand_off("reader", token, firm.identity("writer"), "writer"),
    ):
        assert code_of(attempt) == "token_expired"
    identity = firm.identity("reader")
    root = firm.root()
    assert firm.hand_off("boss", root.present(), identity, "reader").token
    firm.clock.advance(900)
    assert code_of(lambda: firm.hand_off("boss", root.present(), identity, "reader")) == "token_expired"


@pytest.mark.requirement("I7")
def test_a_verifier_that_cannot_tell_how_old_its_news_is_refuses(filed: Any, code_of: Any) -> None:
    child = filed.root().delegate("reader")
    token = child.access("wiki", ["wiki:read"]).reveal()
    verifier = verifier_for(filed.authority, WIKI, bound=10)
    assert verifier.verify(token)
    filed.authority.close()
    for file in filed.database.parent.glob("deputize.db*"):
        file.unlink()
    filed.clock.advance(11)
    assert code_of(lambda: verifier.verify(token)) in {"store_unreachable", "stale_revocations"}
