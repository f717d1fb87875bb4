"""Suspending an agent and letting it on again, in any order: what was dead stays dead (SEMANTICS, G4)."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize import Authority, Denied
from deputize.authority.naming import agent_named
from deputize.authority.revocation import resume
from deputize.errors import DeputizeError, InvalidRequest, InvalidToken, NotFound
from deputize.facade.session import Session
from deputize.testing import FakeClock

CRM = "https://crm.example/mcp"
STEPS = st.lists(st.sampled_from(["open", "hand on", "suspend", "resume", "wait", "revoke user"]), max_size=24)


def authority(clock: FakeClock) -> Authority:
    return Authority(
        agents={"boss": ["crm:read"], "helper": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["helper"]},
        clock=clock,
    )


def let_on(at: Authority, agent: str) -> None:
    parts = at.embedded("a test").parts
    resume(parts, agent_named(parts, agent), reason="fixed", by="test")
    at.engine.renew_identities()


@pytest.mark.requirement("I7")
@given(steps=STEPS)
def test_whatever_is_done_no_session_that_was_dead_lives_again(steps: list[str]) -> None:
    clock = FakeClock()
    with authority(clock) as at:
        sessions: list[Session] = []
        dead: set[str] = set()
        suspended = False
        for step in steps:
            if step == "open":
                sessions.append(at.session(user="alice", agent="boss"))
            elif step == "hand on":
                roots = [session for session in sessions if session.depth == 0 and session.state == "open"]
                if roots and not suspended:
                    sessions.append(roots[-1].delegate("helper"))
                elif roots:
                    with pytest.raises(DeputizeError):
                        roots[-1].delegate("helper")
            elif step == "suspend":
                at.revoke(agent="helper", reason="odd")
                suspended = True
            elif step == "resume":
                with suppress(InvalidRequest):
                    let_on(at, "helper")
                suspended = False
            elif step == "wait":
                clock.advance(1)
            else:
                at.revoke(user="alice", reason="left")
                clock.advance(1)
            states = {session.id: session.state for session in sessions}
            assert not any(states[sid] == "open" for sid in dead)
            dead |= {sid for sid, state in states.items() if state != "open"}
            if suspended:
                assert all(state != "open" for sid, state in states.items() if _of_helper(sessions, sid))
            clock.advance(1)


def _of_helper(sessions: list[Session], sid: str) -> bool:
    return next(session for session in sessions if session.id == sid).depth == 1


def test_an_agent_works_again_and_can_be_suspended_again() -> None:
    clock = FakeClock()
    with authority(clock) as at:
        root = at.session(user="alice", agent="boss")
        old = root.delegate("helper")
        with pytest.raises(InvalidRequest) as refused:
            let_on(at, "helper")
        assert refused.value.code == "not_suspended"
        for _ in range(3):
            at.revoke(agent="helper", reason="odd")
            assert old.state == "revoked"
            with pytest.raises(InvalidToken):
                root.delegate("helper")
            clock.advance(1)
            let_on(at, "helper")
            assert old.state == "revoked"
            with pytest.raises(Denied):
                old.access(CRM, ["crm:read"])
            old = root.delegate("helper")
            assert old.access(CRM, ["crm:read"]).scopes == {"crm:read"}
            clock.advance(1)


def test_an_agent_that_was_never_known_cannot_be_let_on() -> None:
    with authority(FakeClock()) as at, pytest.raises(NotFound):
        resume(at.embedded("a test").parts, "spiffe://local/agent/nobody", reason="r", by="test")
