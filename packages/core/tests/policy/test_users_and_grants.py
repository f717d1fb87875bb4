"""For whom: users, their groups, and stored grants of impersonation."""

from collections.abc import Callable

import pytest

from deputize.model.decision import DEFAULT_DENY, Question
from deputize.policy import CedarEngine

TOML = """
{users}
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[agents.supervisor]
open = true
use = {{ crm = ["crm:read"] }}
[agents.writer]
use = {{ crm = ["crm:write"] }}
{more}
"""
OKTA = """
[[users]]
issuer = "https://acme.okta.com/oauth2/aus1"
alias = "okta"
audience = ["api://agents"]
"""
GRANT = """
[[impersonation]]
agent = "writer"
user = "okta|00u1"
resource = "crm"
scopes = ["crm:read"]
expires = 2026-01-01T00:00:00Z
reason = "INC-4711"
"""
MAY_IMPERSONATE = """
@id("support-may-impersonate")
permit (principal, action == Action::"impersonate", resource in Resource::"https://crm.example/mcp");
"""
Ask = Callable[..., Question]
Build = Callable[..., CedarEngine]


def test_unrestricted_users_are_a_visible_policy(engine_of: Build, ask: Ask) -> None:
    verdict = engine_of(TOML.format(users="", more="")).decide(ask("grant", "local|alice", "crm:read"))
    assert (verdict.allowed, verdict.policies) == (True, ("users.unrestricted",))


def test_listed_users_without_a_list_are_nobody(engine_of: Build, ask: Ask) -> None:
    engine = engine_of(TOML.format(users='users = "listed"', more=""))
    verdict = engine.decide(ask("grant", "local|alice", "crm:read"))
    assert (verdict.allowed, verdict.policies) == (False, (DEFAULT_DENY,))


def test_a_user_of_a_listed_issuer_is_let_in_by_a_token_only(engine_of: Build, ask: Ask) -> None:
    engine = engine_of(TOML.format(users="", more=OKTA))
    proved = engine.decide(ask("grant", "okta|00u1", "crm:read", evidence="token"))
    assert (proved.allowed, proved.policies) == (True, ("users.okta",))
    assert not engine.decide(ask("grant", "okta|00u1", "crm:read", evidence="asserted")).allowed
    assert not engine.decide(ask("grant", "other|00u1", "crm:read", evidence="token")).allowed
    assert not engine.decide(ask("grant", "local|alice", "crm:read", evidence="token")).allowed


def test_a_policy_may_decide_by_user_group_agent_and_right(engine_of: Build, ask: Ask) -> None:
    policy = """
    @id("sales-read")
    permit (principal in Group::"sales", action == Action::"grant", resource == Scope::"https://crm.example/mcp#crm:read")
    when { context.agent == Agent::"spiffe://example.org/agent/supervisor" };
    """
    engine = engine_of(TOML.format(users='users = "listed"', more=""), policy)
    sales = ("sales", "sales", "all")
    assert engine.decide(ask("grant", "local|alice", "crm:read", groups=sales)).allowed
    assert not engine.decide(ask("grant", "local|alice", "crm:read", groups=("all",))).allowed
    assert not engine.decide(ask("grant", "local|alice", "crm:write", groups=sales)).allowed
    assert not engine.decide(ask("grant", "local|alice", "crm:read", groups=sales, agent="writer")).allowed


def test_one_users_groups_are_not_anothers(engine_of: Build, ask: Ask) -> None:
    policy = '@id("staff") permit (principal in Group::"staff", action == Action::"grant", resource);'
    engine = engine_of(TOML.format(users='users = "listed"', more=""), policy)
    assert engine.decide(ask("grant", "local|alice", "crm:read", groups=("staff",))).allowed
    assert not engine.decide(ask("grant", "local|bob", "crm:read")).allowed
    assert not engine.decide(ask("grant", "local|alice", "crm:read")).allowed
    assert engine.decide(ask("grant", "local|alice", "crm:read", groups=("staff",))).allowed


def test_an_agents_policy_sees_the_user_and_the_users_groups(engine_of: Build, ask: Ask) -> None:
    policy = """
    @id("no-interns") forbid (principal, action == Action::"use", resource)
    when { context has user && context.user in Group::"interns" };
    @id("not-bob") forbid (principal, action == Action::"use", resource)
    when { User::"local|bob" in Group::"temps" };
    @id("okta-only") forbid (principal, action == Action::"use", resource)
    when { context has user && context.user.issuer == "elsewhere" };
    """
    engine = engine_of(TOML.format(users="", more=""), policy)
    plain = engine.decide(ask("use", "supervisor", "crm:read", groups=("staff",)))
    assert plain.allowed, plain
    assert engine.decide(ask("use", "supervisor", "crm:read", groups=("interns",))).policies == ("no-interns",)
    assert engine.decide(ask("use", "supervisor", "crm:read", user="elsewhere|x")).policies == ("okta-only",)
    temp = ask("use", "supervisor", "crm:read", user="local|bob", groups=("temps",))
    assert engine.decide(temp).policies == ("not-bob",)


def test_a_policy_sees_the_workloads_that_may_host_an_agent(engine_of: Build, ask: Ask) -> None:
    rule = '[[attestation]]\nmethod = "unix"\nworkload = "churn"\nagents = ["supervisor"]\nmatch = { uid = "1000" }\n'
    policy = """
    @id("churn-only") forbid (principal, action == Action::"use", resource)
    unless { principal.workload.contains(Workload::"spiffe://example.org/workload/churn") };
    """
    engine = engine_of(TOML.format(users="", more=rule), policy)
    assert engine.decide(ask("use", "supervisor", "crm:read")).allowed
    assert engine.decide(ask("use", "writer", "crm:write")).policies == ("churn-only",)


@pytest.mark.requirement("I3")
def test_impersonation_needs_a_policy_and_a_stored_grant(engine_of: Build, ask: Ask) -> None:
    asked = ask("impersonate", "writer", "crm:read")
    assert not engine_of(TOML.format(users="", more="")).decide(asked).allowed
    assert not engine_of(TOML.format(users="", more=GRANT)).decide(asked).allowed
    without = engine_of(TOML.format(users="", more=""), MAY_IMPERSONATE).decide(asked)
    assert (without.allowed, without.policies) == (False, ("impersonation.without-grant",))
    both = engine_of(TOML.format(users="", more=GRANT), MAY_IMPERSONATE).decide(asked)
    assert (both.allowed, both.policies) == (True, ("support-may-impersonate",))


@pytest.mark.parametrize(
    ("agent", "scope", "context"),
    [
        ("supervisor", "crm:read", {}),
        ("writer", "crm:write", {}),
        ("writer", "crm:read", {"user": "okta|00u2"}),
        ("writer", "crm:read", {"grant": "writer.2"}),
        ("writer", "crm:read", {"time": 1_767_225_600}),
    ],
)
def test_impersonation_stays_within_its_grant(
    engine_of: Build, ask: Ask, agent: str, scope: str, context: dict[str, str | int]
) -> None:
    engine = engine_of(TOML.format(users="", more=GRANT), MAY_IMPERSONATE)
    assert engine.decide(ask("impersonate", agent, scope, **context)).policies == ("impersonation.without-grant",)


def test_hundreds_of_stored_grants_are_one_policy_that_the_engine_still_reads(engine_of: Build, ask: Ask) -> None:
    many = "".join(GRANT.replace("00u1", f"00u{number}") for number in range(1, 301))
    engine = engine_of(TOML.format(users="", more=many), MAY_IMPERSONATE)
    last = {"user": "okta|00u300", "grant": "writer.300"}
    assert engine.decide(ask("impersonate", "writer", "crm:read", **last)).allowed
    assert not engine.decide(ask("impersonate", "writer", "crm:read", user="okta|00u301", grant="writer.1")).allowed
