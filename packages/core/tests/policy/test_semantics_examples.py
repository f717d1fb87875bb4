"""The policies and the answers that SEMANTICS shows ("Policy model")."""

from collections.abc import Callable

import pytest

from deputize.model.decision import DEFAULT_DENY, Question
from deputize.policy import CedarEngine

TOML = """
users = "listed"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[agents.supervisor]
open = true
delegate = { crm = ["crm:read", "crm:write"] }
delegate_to = ["researcher"]
[agents.researcher]
use = { crm = ["crm:read"] }
[agents.writer]
use = { crm = ["crm:write"] }
"""
POLICIES = """
@id("no-writes-unbound")
forbid (principal, action == Action::"use", resource) when { resource.name like "*:write" && !context.bound };
@id("absent-user-only-read")
forbid (principal, action == Action::"use", resource) when { context.evidence == "asserted" }
unless { resource.name like "*:read" };
@id("staff-may-use-agents")
permit (principal in Group::"staff", action == Action::"grant", resource);
"""

Ask = Callable[..., Question]


@pytest.fixture
def engine(engine_of: Callable[..., CedarEngine]) -> CedarEngine:
    return engine_of(TOML, POLICIES)


def test_the_supervisor_may_not_use_what_it_may_hand_on(engine: CedarEngine, ask: Ask) -> None:
    verdict = engine.decide(ask("use", "supervisor", "crm:read"))
    assert (verdict.allowed, verdict.policies, verdict.errors) == (False, (DEFAULT_DENY,), ())


def test_the_supervisor_may_hand_on_to_the_researcher_by_a_named_policy(engine: CedarEngine, ask: Ask) -> None:
    verdict = engine.decide(ask("delegate", "supervisor", "crm:write", to="researcher"))
    assert (verdict.allowed, verdict.policies) == (True, ("agent.supervisor.delegate.researcher",))


def test_the_supervisor_may_not_hand_on_to_itself(engine: CedarEngine, ask: Ask) -> None:
    verdict = engine.decide(ask("delegate", "supervisor", "crm:read", to="supervisor"))
    assert (verdict.allowed, verdict.nearest) == (False, ("agent.supervisor.delegate.researcher",))


def test_an_intern_may_not_bring_authority_and_alice_may(engine: CedarEngine, ask: Ask) -> None:
    intern = engine.decide(ask("grant", "okta|intern", "crm:read", groups=("interns",)))
    alice = engine.decide(ask("grant", "okta|alice", "crm:read", groups=("staff",)))
    assert (intern.allowed, intern.nearest) == (False, ("staff-may-use-agents",))
    assert (alice.allowed, alice.policies) == (True, ("staff-may-use-agents",))


def test_the_researcher_may_not_open_with_write(engine: CedarEngine, ask: Ask) -> None:
    assert not engine.decide(ask("open", "researcher", "crm:write", from_="supervisor")).allowed
    assert engine.decide(ask("open", "researcher", "crm:read", from_="supervisor")).allowed


@pytest.mark.requirement("I16")
def test_a_forbid_wins_and_is_named(engine: CedarEngine, ask: Ask) -> None:
    unbound = engine.decide(ask("use", "writer", "crm:write", evidence="token", bound=False))
    assert (unbound.allowed, unbound.policies, unbound.nearest) == (False, ("no-writes-unbound",), ())
    absent = engine.decide(ask("use", "writer", "crm:write", evidence="asserted", bound=True))
    assert absent.policies == ("absent-user-only-read",)
    assert engine.decide(ask("use", "writer", "crm:write", evidence="token", bound=True)).allowed


def test_the_generated_policy_reads_as_in_the_specification(engine: CedarEngine) -> None:
    assert engine.policy_text("agent.supervisor.delegate.researcher") == (
        '@id("agent.supervisor.delegate.researcher")\n'
        'permit (principal == Agent::"spiffe://example.org/agent/supervisor", action == Action::"delegate", '
        'resource in Resource::"https://crm.example/mcp")\n'
        'when { context.to == Agent::"spiffe://example.org/agent/researcher" };'
    )
