"""SEMANTICS, "Narrowing" and "Policy model": who is asked what, with which context, and asked again each time."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from deputize import Denied, Mode
from deputize.config import load
from deputize.model.decision import Question
from deputize.model.limits import Limits
from deputize.model.resource import Right

RESEARCHER = "spiffe://example.org/agent/researcher"
SUPERVISOR = "spiffe://example.org/agent/supervisor"
WRITER = "spiffe://example.org/agent/writer"
COMMON = {"mode", "evidence", "attestation", "depth", "ttl", "time"}


def add_policy(world: Any, text: str) -> None:
    file = world.path.parent / "extra.cedar"
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    configuration = load(str(world.path))
    world.authority.engine.apply(configuration)


def decisions(world: Any) -> Iterator[dict[str, Any]]:
    for record in world.authority.audit:
        yield from record.get("detail", {}).get("decisions", [])


def refusal(attempt: Any) -> Denied:
    with pytest.raises(Denied) as refused:
        attempt()
    return refused.value


def live_through_everything(world: Any) -> None:
    """Every action is asked: for a user, for an agent itself, below both, in a link and in an impersonation."""
    with world.root(task="a secret plan") as root, root.delegate("writer", task="another") as child:
        root.delegate("loner", mode=Mode.SELF).access("wiki", ["wiki:read"])
        child.access("crm", ["crm:read"], tool="read_customers")
        child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-4711")
        with child.tool_call("draft", args={"text": "a secret argument"}):
            pass
    with world.authority.session(agent="researcher", mode=Mode.SELF) as alone:
        alone.delegate("writer").access("crm", ["crm:read"])


@pytest.mark.requirement("A-03")
def test_the_context_is_exactly_the_schemas(world: Any) -> None:
    live_through_everything(world)
    seen: dict[str, set[frozenset[str]]] = {}
    for decision in decisions(world):
        seen.setdefault(decision["action"], set()).add(frozenset(decision["context"]))
    user = COMMON | {"user"}
    assert seen == {
        "grant": {frozenset({"agent", "evidence", "time"})},
        "open": {frozenset(user), frozenset(user | {"from"}), frozenset(COMMON), frozenset(COMMON | {"from"})},
        "delegate": {frozenset(user | {"to"}), frozenset(COMMON | {"to"})},
        "use": {
            frozenset(user | {"bound", "tool"}),
            frozenset(COMMON | {"bound"}),
        },
        "impersonate": {frozenset({"user", "reason", "grant", "attestation", "ttl", "time"})},
    }


@pytest.mark.requirement("AU-05")
def test_no_text_of_a_task_or_an_argument_stands_in_a_record(world: Any) -> None:
    live_through_everything(world)
    for record in world.authority.audit:
        assert "secret" not in str(record)


def test_how_the_user_was_proved_is_recorded_and_policies_see_it(filed: Any) -> None:
    add_policy(
        filed,
        '@id("absent-user-only-read")\n'
        'forbid (principal, action == Action::"use", resource) when { context.evidence == "asserted" }\n'
        'unless { resource.name like "*:read" };',
    )
    child = filed.root().delegate("writer")
    assert child.access("crm", ["crm:read"])
    refused = refusal(lambda: child.access("crm", ["crm:write"]))
    assert refused.denial.policy == "absent-user-only-read"
    assert {found["context"]["evidence"] for found in decisions(filed)} == {"asserted"}
    opened = filed.authority.audit.find(type="session.opened")
    assert [record["detail"]["evidence"] for record in opened] == ["asserted", "asserted"]
    alone = filed.authority.session(agent="researcher", mode=Mode.SELF)
    record = filed.authority.audit.find(session=alone.id)[0]
    assert record["detail"]["evidence"] == "agent"
    assert {found["context"]["evidence"] for found in record["detail"]["decisions"]} == {"agent"}


@pytest.mark.requirement("A-02")
def test_the_users_right_is_asked_again_at_open_hand_off_and_use(filed: Any) -> None:
    root = filed.root()
    child = root.delegate("writer")
    child.access("crm", ["crm:read"])
    add_policy(
        filed, '@id("not-any-more")\nforbid (principal == User::"local|alice", action == Action::"grant", resource);'
    )
    for attempt in (
        filed.root,
        lambda: root.delegate("writer"),
        lambda: child.access("crm", ["crm:read"]),
        lambda: child.tool_call("draft").start(),
    ):
        assert refusal(attempt).denial.policy == "not-any-more"


@pytest.mark.requirement("A-02")
def test_the_agents_right_is_asked_again_too(filed: Any) -> None:
    root = filed.root()
    child = root.delegate("writer")
    add_policy(filed, f'@id("writer-rests")\nforbid (principal == Agent::"{WRITER}", action, resource);')
    for attempt in (lambda: root.delegate("writer"), lambda: child.access("crm", ["crm:read"])):
        assert refusal(attempt).denial.policy == "writer-rests"


def test_where_the_subject_is_an_agent_its_own_right_to_open_stands_for_the_users(filed: Any) -> None:
    root = filed.authority.session(agent="researcher", mode=Mode.SELF)
    child = root.delegate("writer")
    child.access("crm", ["crm:read"])
    asked = list(decisions(filed))
    assert not [found for found in asked if found["action"] == "grant"]
    own = [found for found in asked if (found["action"], found["principal"]) == ("open", RESEARCHER)]
    assert [found["context"]["depth"] for found in own if found["scope"] == "crm:read"] == [0, 1, 1]
    add_policy(
        filed,
        f'@id("no-more-for-itself")\nforbid (principal == Agent::"{RESEARCHER}", action == Action::"open", resource);',
    )
    for attempt in (
        lambda: filed.authority.session(agent="researcher", mode=Mode.SELF),
        lambda: root.delegate("writer"),
        lambda: child.access("crm", ["crm:read"]),
    ):
        assert refusal(attempt).denial.policy == "no-more-for-itself"


def test_a_link_is_used_by_the_right_by_which_it_was_opened_and_no_other(filed: Any) -> None:
    text = filed.path.read_text(encoding="utf-8")
    alone = (
        '[agents.loner]\nuse = { wiki = ["wiki:read"] }\n'
        'delegate = { wiki = ["wiki:read"] }\ndelegate_to = ["writer"]\n'
    )
    start, rest = text.split("[agents.loner]\n")
    filed.path.write_text(start + alone + "[[impersonation]]" + rest.split("[[impersonation]]")[1], encoding="utf-8")
    filed.authority.engine.apply(load(str(filed.path)))
    refusal(lambda: filed.authority.session(agent="loner", mode=Mode.SELF))  # not open = true: in a tree alone
    link = filed.root().delegate("loner", mode=Mode.SELF)
    below = link.delegate("writer")
    assert link.access("wiki", ["wiki:read"])
    assert below.access("wiki", ["wiki:read"])
    asked = [row for row in decisions(filed) if (row["action"], row["principal"]) == ("open", link.agent)]
    assert [row["context"].get("from") for row in asked] == [None, *[SUPERVISOR] * 4]
    add_policy(
        filed, f'@id("no-more")\nforbid (principal == Agent::"{link.agent}", action == Action::"open", resource);'
    )
    for attempt in (lambda: link.access("wiki", ["wiki:read"]), lambda: below.access("wiki", ["wiki:read"])):
        assert refusal(attempt).denial.policy == "no-more"


def test_what_a_child_may_use_does_not_depend_on_what_its_parent_may_use(world: Any) -> None:
    root = world.root()
    assert refusal(lambda: root.access("crm", ["crm:write"])).denial.policy == "default-deny"
    child = root.delegate("writer")
    assert Right("https://crm.example/mcp", "crm:write") in child.rights
    assert child.access("crm", ["crm:write"]).scopes == {"crm:write"}


def test_leaving_the_users_out_is_a_policy_that_records_name(world: Any) -> None:
    root = world.root()
    record = world.authority.audit.find(session=root.id)[0]
    assert "users.unrestricted" in record["policies"]


@pytest.mark.requirement("AZ-03")
def test_a_policy_that_errs_denies_and_leaves_an_event_of_its_own(filed: Any) -> None:
    child = filed.root().delegate("writer")
    add_policy(
        filed,
        '@id("sums-badly")\nforbid (principal, action == Action::"use", resource)\n'
        "when { context.depth + 9223372036854775807 == 0 };",
    )
    refused = refusal(lambda: child.access("crm", ["crm:read"]))
    assert refused.denial.policy == "sums-badly"
    event = filed.authority.audit.find(type="policy.failed")[0]
    assert event["policies"] == ["sums-badly"]
    assert event["reference"] == refused.reference
    assert event["detail"]["decisions"][0]["errors"]


@pytest.mark.requirement("AZ-03")
def test_a_policy_that_errs_while_a_session_opens_drops_its_right_and_leaves_an_event(filed: Any) -> None:
    root = filed.root()
    add_policy(
        filed,
        '@id("sums-badly")\nforbid (principal, action == Action::"open", resource)\n'
        'when { resource.name == "tool:search" && context.depth + 9223372036854775807 == 0 };',
    )
    child = root.delegate("researcher")
    assert [(right.scope, why) for right, why in child.narrowed] == [("tool:search", "sums-badly")]
    event = filed.authority.audit.find(type="policy.failed")[0]
    assert (event["outcome"], event["policies"]) == ("failed", ["sums-badly"])
    assert [row["scope"] for row in event["detail"]["decisions"]] == ["tool:search"]


@pytest.mark.requirement("I16")
def test_a_recorded_decision_is_enough_to_decide_it_again(world: Any) -> None:
    live_through_everything(world)
    refusal(lambda: world.root(user="mallory"))
    refusal(lambda: world.root().access("crm", ["crm:read"]))
    engine = world.authority.engine.parts.rules.policy
    found = list(decisions(world))
    assert {row["action"] for row in found} == {"grant", "open", "delegate", "use", "impersonate"}
    assert {row["allowed"] for row in found} == {True, False}
    for row in found:
        question = Question(
            action=row["action"],
            principal=row["principal"],
            right=Right(row["resource"], row["scope"]),
            context=row["context"],
            groups=tuple(row.get("groups", ())),
        )
        verdict = engine.decide(question)
        assert (verdict.allowed, list(verdict.policies)) == (row["allowed"], row["policies"])


@pytest.mark.requirement("I16")
def test_a_refusal_names_no_policy_that_permitted(world: Any) -> None:
    parts = world.authority.engine.parts
    limits = Limits(children_max=0)
    parts.rules = replace(parts.rules, configuration=replace(parts.rules.configuration, limits=limits))
    with pytest.raises(Exception) as refused:  # whichever of ours
        world.root().delegate("researcher")
    record = world.authority.audit.find(reference=refused.value.reference)[0]
    assert (record["code"], record["policies"]) == ("too_many_children", ["default-deny"])
    assert all(row["allowed"] for row in record["detail"]["decisions"])


def test_an_implicit_deny_is_recorded_with_the_nearest_permits(world: Any) -> None:
    with world.root() as root:
        refused = refusal(lambda: root.access("crm", ["crm:read"]))
    record = world.authority.audit.find(reference=refused.reference)[0]
    assert record["policies"] == ["default-deny"]
    assert record["detail"]["decisions"][-1]["nearest"] == ["agent.supervisor.use"]


def test_every_decision_names_the_policy_set_that_the_store_holds(filed: Any) -> None:
    first = filed.root()
    old = filed.authority.engine.parts.rules.policy.digest
    add_policy(filed, '@id("more")\nforbid (principal == User::"local|eve", action == Action::"grant", resource);')
    new = filed.authority.engine.parts.rules.policy.digest
    second = filed.root()
    assert old != new
    for session, digest in ((first, old), (second, new)):
        assert filed.authority.audit.find(session=session.id)[0]["policy_set"] == digest


def test_an_unknown_right_is_refused_before_policy_is_asked(world: Any) -> None:
    with pytest.raises(Exception) as refused:  # whichever of ours
        world.root(scopes=["crm:delete"], resources=["crm"])
    assert refused.value.code == "invalid_scope"
    assert not list(decisions(world))
