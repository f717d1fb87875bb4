"""The engine as a whole: fail closed, never raise, and decide by a slice as by everything."""

import dataclasses
import json
from collections.abc import Callable, Mapping

import cedarpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deputize.model.decision import DEFAULT_DENY, Question, Verdict
from deputize.model.resource import Right
from deputize.policy import CedarEngine
from deputize.policy.engine import _request
from deputize.policy.entities import user_entity
from deputize.testing import vectors

CRM = "https://crm.example/mcp"
TOML = """
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["crm:read"]
binding = "dpop"
[agents.supervisor]
open = true
use = { crm = ["crm:read"] }
delegate = { crm = ["crm:read", "crm:write"], wiki = ["crm:read"] }
delegate_to = ["researcher", "writer"]
groups = ["front", "all"]
[agents.researcher]
use = { crm = ["crm:read", "crm:write"], local = ["search"] }
groups = ["all"]
[agents.writer]
use = { wiki = ["crm:read"] }
"""
POLICIES = """
@id("p1") forbid (principal in Group::"front", action, resource in Resource::"https://crm.example/mcp")
when { resource.name like "*:write" };
@id("p2") permit (principal is Agent in Group::"all", action in [Action::"use", Action::"open"], resource);
@id("p3") forbid (principal, action, resource) when { Scope::"https://wiki.example/mcp#crm:read".name == "other" };
@id("p4") forbid (principal, action == Action::"delegate", resource)
when { context.to == Agent::"spiffe://example.org/agent/writer" && context.depth > 2 };
@id("p5") permit (principal in Group::"interns", action == Action::"grant", resource);
@id("p6") forbid (principal, action == Action::"use", resource)
when { context has user && context.user in Group::"interns" && !context.bound };
@id("p7") forbid (principal, action == Action::"use", resource)
when { context.depth * 9223372036854775807 > 0 } unless { context.ttl > 100 };
@id("p8") permit (principal, action == Action::"open", resource)
when { context has from && context.from in Group::"front" && context.time > datetime("2025-06-15T12:00:00Z") };
@id("p9") forbid (principal == User::"local|mallory", action, resource);
@id("p10") forbid (principal, action == Action::"grant", resource)
when { User::"local|mallory" in Group::"banned" || context.agent in Group::"nobody" };
"""
Ask = Callable[..., Question]
Build = Callable[..., CedarEngine]


@pytest.fixture
def engine(engine_of: Build) -> CedarEngine:
    return engine_of(TOML, POLICIES)


def decide_by_everything(engine: CedarEngine, question: Question) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Every policy, every entity, the whole context."""
    whole = engine._index.slice(engine.policies)
    user = str(question.principal if question.action == "grant" else question.context.get("user", ""))
    extra = [user_entity(user, question.groups, {})] if user else []
    result = cedarpy.is_authorized(_request(question, None), whole.policies, engine._entities.handle(None, extra))
    found = result.diagnostics
    return result.decision.value, tuple(sorted(found.reasons)), tuple(sorted(text[:200] for text in found.errors))


@st.composite
def drawn(draw: st.DrawFn) -> tuple[str, Mapping[str, object]]:
    action = draw(st.sampled_from(["grant", "open", "delegate", "use"]))
    agents = st.sampled_from(["supervisor", "researcher", "writer"])
    context: dict[str, object] = {"evidence": draw(st.sampled_from(["token", "asserted"]))}
    if action == "grant":
        principal = draw(st.sampled_from(["local|alice", "local|mallory", "okta|00u1"]))
        context["agent"] = draw(agents)
    else:
        principal = draw(agents)
        context |= {"depth": draw(st.integers(0, 4)), "ttl": draw(st.sampled_from([60, 3600]))}
        context["time"] = draw(st.sampled_from([1_750_000_000, 1_749_000_000]))
        context["user"] = draw(st.sampled_from(["local|alice", "local|mallory"]))
    if action == "delegate":
        context["to"] = draw(agents)
    if action == "open" and draw(st.booleans()):
        context |= {"from_": draw(agents), "mode": draw(st.sampled_from(["self", "on_behalf_of"]))}
    if action == "use":
        context["bound"] = draw(st.booleans())
    right = st.sampled_from([(CRM, "crm:read"), (CRM, "crm:write"), ("https://wiki.example/mcp", "crm:read")])
    resource, scope = draw(right)
    groups = draw(st.sampled_from([(), ("interns",), ("banned",), ("interns", "banned")]))
    return action, {"principal": principal, "scope": scope, "resource": resource, "groups": groups, **context}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn())
def test_the_engine_decides_as_everything_would(
    engine: CedarEngine, ask: Ask, case: tuple[str, dict[str, object]]
) -> None:
    action, told = case
    question = ask(action, **told)
    decision, reasons, errors = decide_by_everything(engine, question)
    verdict = engine.decide(question)
    assert verdict.allowed == (decision == "Allow" and not errors)
    assert verdict.errors == errors
    if not errors:
        assert verdict.policies == (reasons or (DEFAULT_DENY,))


@pytest.mark.requirement("I16")
def test_a_forbid_that_errs_is_a_deny_that_names_it(engine: CedarEngine, ask: Ask) -> None:
    fine = engine.decide(ask("use", "researcher", "crm:read", depth=1, ttl=3600))
    assert fine.allowed
    erring = engine.decide(ask("use", "researcher", "crm:read", depth=2, ttl=60))
    assert not erring.allowed
    assert erring.policies == ("p7",)
    assert len(erring.errors) == 1


@pytest.mark.requirement("I11")
def test_a_context_with_more_or_less_than_the_schema_is_refused(engine: CedarEngine, ask: Ask) -> None:
    good = ask("use", "researcher", "crm:read")
    assert engine.decide(good).allowed
    wrong: list[dict[str, object]] = [
        {"chain": "supervisor"},
        {"task": "anything"},
        {"bound": "yes"},
        {"depth": True},
        {"depth": 2**63},
        {"depth": 1.0},
        {"time": -1},
        {"time": 10**12},
        {"mode": None},
        {"user": 7},
        {"to": "spiffe://example.org/agent/writer"},
    ]
    for change in wrong:
        verdict = engine.decide(dataclasses.replace(good, context={**good.context, **change}))  # type: ignore[dict-item]  # on purpose
        assert (verdict.allowed, verdict.policies) == (False, (DEFAULT_DENY,)), change
        assert len(verdict.errors) == 1
    for member in good.context.keys() - {"user"}:
        less = {name: value for name, value in good.context.items() if name != member}
        assert not engine.decide(dataclasses.replace(good, context=less)).allowed, member
    assert engine.decide(ask("use", "researcher", "crm:read", without=("user",))).allowed


def test_unknown_things_are_refused_before_any_policy(engine_of: Build, ask: Ask) -> None:
    engine = engine_of(TOML, '@id("all") permit (principal, action, resource);')
    assert engine.decide(ask("use", "writer", "crm:read")).allowed
    unknown = [
        ask("use", "nobody", "crm:read"),
        ask("use", "writer", "crm:admin"),
        ask("use", "writer", "crm:read", resource="https://other.example/mcp"),
        ask("open", "writer", "crm:read", from_="nobody"),
        ask("delegate", "writer", "crm:read", to="nobody"),
        ask("grant", "local|alice", "crm:read", agent="nobody"),
        ask("grant", "spiffe://example.org/agent/writer", "crm:read"),
        ask("grant", "alice", "crm:read"),
    ]
    for question in unknown:
        verdict = engine.decide(question)
        assert (verdict.allowed, verdict.policies) == (False, (DEFAULT_DENY,)), question
        assert verdict.errors


@pytest.mark.requirement("I10")
def test_nothing_that_is_asked_makes_the_engine_raise(engine: CedarEngine) -> None:
    right = Right(CRM, "crm:read")
    odd: list[Question] = [
        Question(action="fly", principal="x", right=right, context={}),  # type: ignore[arg-type]  # on purpose
        Question(action="use", principal=None, right=right, context={}),  # type: ignore[arg-type]  # on purpose
        Question(action="use", principal="x", right=None, context={}),  # type: ignore[arg-type]  # on purpose
        Question(action="use", principal="x", right=right, context=None),  # type: ignore[arg-type]  # on purpose
        Question(action="grant", principal="a|b", right=right, context={}, groups=([],)),  # type: ignore[arg-type]  # on purpose
        Question(action=[], principal="x", right=right, context={}),  # type: ignore[arg-type]  # on purpose
    ]
    for question in odd:
        verdict = engine.decide(question)
        assert not verdict.allowed
        assert verdict.policies == (DEFAULT_DENY,)
        assert verdict.errors


def naughty() -> list[str]:
    found: list[str] = json.loads((vectors("naughty_strings") / "blns.json").read_text("utf-8"))
    assert len(found) > 400
    return [*found, "\0", "a" * 100_000, '"};', "{}"]


@pytest.mark.requirement("I10")
def test_naughty_strings_as_ids_are_decided_or_refused_and_never_permitted(engine_of: Build, ask: Ask) -> None:
    policy = """
    @id("bob") permit (principal == User::"local|bob", action == Action::"grant", resource);
    @id("staff") permit (principal in Group::"staff", action == Action::"grant", resource);
    """
    engine = engine_of('users = "listed"\n' + TOML, policy)
    for text in [*naughty(), "\ud800"]:
        for question in (
            ask("grant", f"local|{text}", "crm:read", groups=(text,)),
            ask("grant", text, "crm:read"),
            ask("use", text, "crm:read"),
            ask("use", "writer", text),
            ask("use", "writer", "crm:read", user=f"local|{text}", tool=text),
        ):
            assert not engine.decide(question).allowed, question
    for text in naughty():
        assert engine.decide(ask("grant", f"local|{text}", "crm:read", groups=("staff", text))).allowed


def test_a_verdict_always_names_a_policy(engine: CedarEngine, ask: Ask) -> None:
    verdicts: list[Verdict] = [
        engine.decide(ask("use", agent, scope))
        for agent in ("supervisor", "researcher", "writer", "nobody")
        for scope in ("crm:read", "crm:write", "none")
    ]
    assert all(verdict.policies for verdict in verdicts)
    assert any(verdict.allowed for verdict in verdicts)


def test_many_threads_may_ask_one_engine(engine: CedarEngine, ask: Ask) -> None:
    from concurrent.futures import ThreadPoolExecutor

    questions = [
        ask("use", agent, scope) for agent in ("supervisor", "researcher") for scope in ("crm:read", "crm:write")
    ]
    alone = [engine.decide(question) for question in questions]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(engine.decide, questions * 50))
    assert answers == alone * 50


@pytest.mark.parametrize("size", [10, 200])
def test_what_is_evaluated_does_not_grow_with_the_registry(engine_of: Build, ask: Ask, size: int) -> None:
    names = ", ".join(f'"w{number}"' for number in range(size))
    workers = "".join(f'[agents.w{number}]\nuse = {{ crm = ["crm:read"] }}\n' for number in range(size))
    engine = engine_of(
        '[resources.crm]\nurl = "https://crm.example/mcp"\nscopes = ["crm:read"]\n'
        f'[agents.boss]\nopen = true\ndelegate = {{ crm = ["crm:read"] }}\ndelegate_to = [{names}]\n{workers}'
    )
    assert len(engine.policies) > 2 * size
    for question in (
        ask("grant", "local|alice", "crm:read", agent="boss"),
        ask("open", "w7", "crm:read", from_="boss"),
        ask("use", "w7", "crm:read"),
        ask("delegate", "boss", "crm:read", to="w7"),
    ):
        assert engine.decide(question).allowed
        to = question.context.get("to")
        view = engine._view(question.action, question.principal, question.groups, question.right, to)[1]
        assert len(view.ids) == 1
