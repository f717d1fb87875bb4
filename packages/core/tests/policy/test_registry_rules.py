"""Each rule of the registry, both ways: what it permits and what it does not."""

from collections.abc import Callable

import pytest

from deputize.config import from_mappings
from deputize.model.decision import DEFAULT_DENY, Question
from deputize.model.failure import ConfigurationError
from deputize.policy import CedarEngine, compile_policy

TOML = """
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write", "crm:admin"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["crm:read", "wiki:edit"]
[agents.supervisor]
open = true
delegate = { crm = ["crm:read"], local = ["search"] }
delegate_to = ["researcher", "supervisor"]
groups = ["front"]
[agents.researcher]
use = { crm = ["crm:read", "crm:write"], wiki = ["crm:read", "wiki:edit"], local = ["search"] }
[agents.loner]
use = { wiki = ["wiki:edit"] }
[agents.boss]
open = true
use = { crm = ["crm:admin"] }
delegate_to = ["researcher"]
"""
WIKI = "https://wiki.example/mcp"
LOCAL = "urn:deputize:tools"
Ask = Callable[..., Question]


@pytest.fixture
def engine(engine_of: Callable[..., CedarEngine]) -> CedarEngine:
    return engine_of(TOML)


def test_the_registry_compiles_to_policies_with_readable_ids(engine: CedarEngine) -> None:
    assert engine.policies == (
        "agent.boss.use",
        "agent.boss.open",
        "agent.loner.use",
        "agent.researcher.use",
        "agent.researcher.open",
        "agent.supervisor.open",
        "agent.supervisor.delegate.researcher",
        "agent.supervisor.delegate.supervisor",
        "users.unrestricted",
        "impersonation.without-grant",
    )
    assert all(f'@id("{name}")' in str(engine.policy_text(name)) for name in engine.policies)


@pytest.mark.parametrize(
    ("agent", "scope", "resource", "allowed"),
    [
        ("researcher", "crm:read", "https://crm.example/mcp", True),
        ("researcher", "crm:admin", "https://crm.example/mcp", False),
        ("researcher", "crm:read", WIKI, True),
        ("researcher", "tool:search", LOCAL, True),
        ("loner", "crm:read", WIKI, False),
        ("loner", "wiki:edit", WIKI, True),
        ("supervisor", "crm:read", "https://crm.example/mcp", False),
        ("supervisor", "tool:search", LOCAL, False),
    ],
)
def test_use_is_permitted_for_what_is_registered_and_nothing_else(
    engine: CedarEngine, ask: Ask, agent: str, scope: str, resource: str, allowed: bool
) -> None:
    verdict = engine.decide(ask("use", agent, scope, resource=resource))
    assert verdict.allowed is allowed
    assert verdict.policies == ((f"agent.{agent}.use",) if allowed else (DEFAULT_DENY,))


def test_the_same_scope_at_another_resource_is_another_right(engine: CedarEngine, ask: Ask) -> None:
    assert engine.decide(ask("use", "researcher", "crm:read", resource=WIKI)).allowed
    assert not engine.decide(ask("use", "loner", "crm:read", resource=WIKI)).allowed


def test_a_root_opens_only_where_the_agent_opens_and_holds_the_right(engine: CedarEngine, ask: Ask) -> None:
    assert engine.decide(ask("open", "supervisor", "crm:read")).allowed
    assert not engine.decide(ask("open", "researcher", "crm:read")).allowed
    assert not engine.decide(ask("open", "supervisor", "crm:write")).allowed
    assert not engine.decide(ask("open", "loner", "wiki:edit", resource=WIKI)).allowed


def test_a_root_on_its_own_behalf_needs_an_opener_too(engine: CedarEngine, ask: Ask) -> None:
    own = {"mode": "self", "evidence": "agent", "without": ("user",)}
    assert engine.decide(ask("open", "boss", "crm:admin", **own)).allowed
    assert not engine.decide(ask("open", "researcher", "crm:read", **own)).allowed


def test_a_child_opens_only_from_an_agent_that_hands_on_to_it(engine: CedarEngine, ask: Ask) -> None:
    assert engine.decide(ask("open", "researcher", "crm:write", from_="supervisor")).allowed
    assert engine.decide(ask("open", "researcher", "crm:write", from_="boss")).allowed
    assert not engine.decide(ask("open", "researcher", "crm:write", from_="loner")).allowed
    assert not engine.decide(ask("open", "researcher", "crm:admin", from_="boss")).allowed
    assert not engine.decide(ask("open", "boss", "crm:admin", from_="supervisor")).allowed
    assert not engine.decide(ask("open", "loner", "wiki:edit", resource=WIKI, from_="supervisor")).allowed


def test_an_agent_may_hand_on_to_itself_where_it_is_named(engine: CedarEngine, ask: Ask) -> None:
    assert engine.decide(ask("delegate", "supervisor", "crm:read", to="supervisor")).allowed
    assert engine.decide(ask("open", "supervisor", "crm:read", from_="supervisor")).allowed


@pytest.mark.requirement("I3")
def test_a_link_is_never_permitted_by_the_registry(engine: CedarEngine, ask: Ask) -> None:
    verdict = engine.decide(ask("open", "researcher", "crm:read", mode="self", from_="supervisor"))
    assert (verdict.allowed, verdict.policies) == (False, (DEFAULT_DENY,))
    assert "agent.researcher.open" in verdict.nearest


def test_a_policy_may_permit_a_link(engine_of: Callable[..., CedarEngine], ask: Ask) -> None:
    policy = """
    @id("researcher-acts-for-itself")
    permit (principal == Agent::"spiffe://example.org/agent/researcher", action == Action::"open", resource)
    when { context.mode == "self" && context has from && context.from in Group::"front" };
    """
    engine = engine_of(TOML, policy)
    assert engine.decide(ask("open", "researcher", "crm:read", mode="self", from_="supervisor")).allowed
    assert not engine.decide(ask("open", "researcher", "crm:read", mode="self", from_="boss")).allowed


def test_delegate_is_permitted_for_delegate_rights_to_named_agents(engine: CedarEngine, ask: Ask) -> None:
    assert engine.decide(ask("delegate", "supervisor", "crm:read", to="researcher")).allowed
    assert engine.decide(ask("delegate", "supervisor", "tool:search", resource=LOCAL, to="researcher")).allowed
    assert not engine.decide(ask("delegate", "supervisor", "crm:read", to="boss")).allowed
    assert not engine.decide(ask("delegate", "supervisor", "crm:write", to="researcher")).allowed


def test_what_an_agent_uses_it_may_not_therefore_hand_on(engine: CedarEngine, ask: Ask) -> None:
    assert engine.decide(ask("use", "boss", "crm:admin")).allowed
    assert not engine.decide(ask("delegate", "boss", "crm:admin", to="researcher")).allowed


def test_mappings_let_a_delegator_pass_on_but_not_use_what_is_below(ask: Ask) -> None:
    made = from_mappings(
        agents={"top": [], "middle": ["search"], "bottom": ["crm:read", "crm:write"]},
        resources={"https://crm.example/mcp": ["crm:read", "crm:write"]},
        delegations={"top": ["middle"], "middle": ["bottom"]},
    )
    engine = compile_policy(made.registry, users=made.users)
    names = {name: entry.id for entry in made.registry.agents.values() for name in [entry.name]}

    def decide(action: str, agent: str, **context: str) -> bool:
        asked = ask(action, agent, "crm:write", **context)
        inner = {
            key: names[str(value).rpartition("/")[2]] if key in {"from", "to"} else value
            for key, value in asked.context.items()
        }
        return engine.decide(
            Question(action=asked.action, principal=names[agent], right=asked.right, context=inner)
        ).allowed

    assert decide("open", "top")
    assert decide("delegate", "top", to="middle")
    assert decide("open", "middle", from_="top")
    assert decide("delegate", "middle", to="bottom")
    assert decide("use", "bottom")
    assert not decide("use", "top")
    assert not decide("use", "middle")
    assert not decide("delegate", "top", to="bottom")
    assert not decide("open", "bottom", from_="top")


def test_names_that_would_make_one_id_of_two_policies_are_refused(engine_of: Callable[..., CedarEngine]) -> None:
    text = """
    [agents.a]
    delegate = { local = ["t"] }
    delegate_to = ["b.use"]
    [agents."b.use"]
    [agents."a.delegate.b"]
    use = { local = ["t"] }
    """
    with pytest.raises(ConfigurationError) as caught:
        engine_of(text)
    assert caught.value.line is not None
