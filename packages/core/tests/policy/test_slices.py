"""A slice decides as the whole set does: decision, reasons and errors, for any policies over any hierarchy."""

import json
from dataclasses import dataclass

import cedarpy
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from deputize.policy.entities import EntityStore
from deputize.policy.index import PolicyIndex
from deputize.policy.text import Uid, entity

AGENTS: list[Uid] = [("Agent", name) for name in "ab"]
GROUPS: list[Uid] = [("Group", name) for name in "xyz"]
RESOURCES: list[Uid] = [("Resource", name) for name in "rq"]
SCOPES: list[Uid] = [("Scope", "r#1"), ("Scope", "r#2"), ("Scope", "q#1")]
ACTIONS: list[Uid] = [("Action", name) for name in ("use", "open", "delegate")]
PROBES = [
    "true",
    "context.flag",
    "context.missing",
    "context has flag && context.flag",
    'context.to == Agent::"a"',
    'context.to == Agent::"b" && context.flag',
    'Agent::"a" == context.to',
    "principal.name == resource.name",
    "principal.friend.name == context.text",
    'context.to in Group::"x"',
    'Agent::"b".name == "b"',
    'Scope::"q#1" in Resource::"q"',
    'principal in Group::"z"',
    "context == {}",
    "principal.nothing",
    'context.text like "b*"',
    "1 + context.number > 9223372036854775807",
]


LEADING = [probe for probe in PROBES if probe.startswith("context.to ==")]


@dataclass(frozen=True)
class World:
    policies: tuple[str, ...]
    entities: tuple[str, ...]
    asked: tuple[Uid, Uid, Uid]
    context: str


@st.composite
def worlds(draw: st.DrawFn) -> World:
    pin = st.sampled_from
    principal = st.one_of(
        st.just("principal"),
        pin([*AGENTS, *GROUPS]).map(lambda uid: f"principal in {entity(uid)}"),
        pin(AGENTS).map(lambda uid: f"principal == {entity(uid)}"),
        pin(GROUPS).map(lambda uid: f"principal is Agent in {entity(uid)}"),
        st.just("principal is Agent"),
    )
    action = st.one_of(
        st.just("action"),
        pin(ACTIONS).map(lambda uid: f"action == {entity(uid)}"),
        st.lists(pin(ACTIONS), min_size=1, max_size=2).map(
            lambda uids: f"action in [{', '.join(entity(uid) for uid in uids)}]"
        ),
    )
    resource = st.one_of(
        st.just("resource"),
        pin([*SCOPES, *RESOURCES]).map(lambda uid: f"resource in {entity(uid)}"),
        pin(SCOPES).map(lambda uid: f"resource == {entity(uid)}"),
        pin(RESOURCES).map(lambda uid: f"resource is Scope in {entity(uid)}"),
    )
    clause = st.tuples(st.sampled_from(["when", "unless"]), st.sampled_from([*PROBES, *LEADING * 2])).map(
        lambda c: f"{c[0]} {{{c[1]}}}"
    )
    policy = st.tuples(
        st.sampled_from(["permit", "forbid"]), principal, action, resource, st.lists(clause, max_size=2)
    ).map(lambda p: f"{p[0]} ({p[1]}, {p[2]}, {p[3]}) {' '.join(p[4])};")
    edges = {uid: draw(st.lists(st.sampled_from(GROUPS), max_size=2, unique=True)) for uid in AGENTS}
    edges |= {GROUPS[0]: draw(st.lists(st.sampled_from(GROUPS[1:]), max_size=2, unique=True))}
    edges |= {GROUPS[1]: draw(st.lists(st.just(GROUPS[2]), max_size=1))}
    edges |= {scope: [("Resource", scope[1][0])] for scope in SCOPES} | {uid: [] for uid in RESOURCES}
    context = {
        "flag": draw(st.booleans()),
        "text": draw(st.sampled_from(["a", "b"])),
        "number": 1,
        "to": {"__entity": dict(zip(("type", "id"), draw(st.sampled_from(AGENTS)), strict=True))},
    }
    return World(
        policies=tuple(draw(st.lists(policy, min_size=1, max_size=8))),
        entities=tuple(json.dumps(document(uid, parents)) for uid, parents in edges.items()),
        asked=(
            draw(st.sampled_from(AGENTS)),
            draw(st.sampled_from(ACTIONS)),
            draw(st.sampled_from(SCOPES)),
        ),
        context=json.dumps(context),
    )


def document(uid: Uid, parents: list[Uid]) -> dict[str, object]:
    friend = {"__entity": {"type": "Agent", "id": "b"}}
    attributes = {"name": uid[1], "friend": friend} if uid[0] == "Agent" else {"name": uid[1]}
    lines = [{"type": kind, "id": name} for kind, name in parents]
    return {"uid": {"type": uid[0], "id": uid[1]}, "attrs": attributes, "parents": lines}


Outcome = tuple[str, list[str], list[str]]


def evaluate(world: World, policies: cedarpy.PolicySet, entities: cedarpy.Entities, context: object) -> Outcome:
    request = dict(zip(("principal", "action", "resource"), map(entity, world.asked), strict=True))
    result = cedarpy.is_authorized({**request, "context": json.dumps(context)}, policies, entities)
    return result.decision.value, sorted(result.diagnostics.reasons), sorted(result.diagnostics.errors)


def both(
    world: World, *, groups: bool = True, names: bool = True, members: bool = True, to: bool = True
) -> tuple[Outcome, Outcome]:
    """The whole set's outcome and the slice's; each flag off plants a mistake into the slice."""
    parsed = json.loads(cedarpy.policies_to_json_str("\n".join(world.policies)))["staticPolicies"]
    index, store = PolicyIndex(parsed), EntityStore(map(json.loads, world.entities))
    context = json.loads(world.context)
    whole = evaluate(world, index.slice(tuple(parsed)).policies, store.handle(), context)

    who, verb, what = ((uid, *(store.ancestors(uid) if groups else ())) for uid in world.asked)
    target: Uid = ("Agent", context["to"]["__entity"]["id"] if to else "nobody")
    view = index.slice(index.select(index.key(who, verb, what, target)))
    read = {key: value for key, value in context.items() if view.reads is None or key in view.reads}
    if not members:
        read.pop("text", None)
    roots = [*world.asked, *([target] if "to" in read else []), *(view.names if names else ())]
    return whole, evaluate(world, view.policies, store.handle(roots), read)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_a_slice_decides_as_the_whole_set(world: World) -> None:
    whole, part = both(world)
    assert part == whole


@pytest.mark.parametrize("mistake", ["groups", "names", "members", "to"])
def test_the_property_catches_a_slice_that_forgets(mistake: str) -> None:
    def differs(world: World) -> bool:
        whole, part = both(world, **{mistake: False})
        return whole != part

    search = settings(max_examples=2000, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
    assert find(worlds(), differs, settings=search).policies
