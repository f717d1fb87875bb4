"""Which policies can matter to a question: the slice that is evaluated instead of the whole set.

A policy is left out only if its scope pins principal, action or resource to an entity that is neither the
asked one nor an ancestor of it, or if its condition begins with `context.to == <another agent>`. Such a policy
can neither apply nor err, so decision, reasons and errors are those of the whole set (a property test holds
them equal). Cost then follows the slice, not the set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Final

import cedarpy
import orjson

from deputize.policy.entities import references, uid_of
from deputize.policy.statements import Est, est_document
from deputize.policy.text import Uid

Pin = Uid | None  # None: any
Line = tuple[Uid, ...]  # an entity and its ancestors
Cell = tuple[Pin, Pin, Pin]  # principal, action, resource
Key = tuple[Line, Line, Line, Line | None]  # the same, and context.to where there is one


@dataclass(frozen=True, slots=True)
class Slice:
    """Some policies, ready to evaluate, and what they look at."""

    ids: tuple[str, ...]
    policies: cedarpy.PolicySet
    reads: frozenset[str] | None  # members of the context; None: it is used as a whole
    names: frozenset[Uid]  # entities written in the policies


class PolicyIndex:
    """Policies by their pins."""

    def __init__(self, policies: Mapping[str, Est]) -> None:
        self._text = {name: orjson.dumps(est) for name, est in policies.items()}
        self._reads = {name: context_reads(est) for name, est in policies.items()}
        self._names = {name: references(est) for name, est in policies.items()}
        self._order = {name: position for position, name in enumerate(policies)}
        self._to = {name: _leading_to(est) for name, est in policies.items()}
        self._cells: dict[Cell, list[str]] = {}
        self._near: dict[tuple[Pin, Pin], list[str]] = {}
        self._pins: tuple[set[Pin], ...] = (set(), set(), set(), set(self._to.values()))
        for name, est in policies.items():
            for cell in cells(est):
                self._cells.setdefault(cell, []).append(name)
                self._near.setdefault(cell[:2], []).append(name)
                for axis, pin in enumerate(cell):
                    self._pins[axis].add(pin)

        self._groups = sorted(pin for pin in self._pins[0] if pin is not None and pin[0] == "Group")

    def key(self, principal: Line, action: Line, resource: Line, to: Uid | None) -> Key:
        """The question's lines less what no policy is pinned to: questions with equal keys share a slice.

        `to`: the entity in `context.to`, None where there is none.
        """
        lines = ((principal, 0), (action, 1), (resource, 2))
        kept = [tuple(uid for uid in line if uid in self._pins[axis]) for line, axis in lines]
        onward = None if to is None else ((to,) if to in self._pins[3] else ())
        return kept[0], kept[1], kept[2], onward

    def select(self, key: Key) -> tuple[str, ...]:
        """Ids of the policies that can matter to the questions of this key, in their order."""
        principal, action, resource, to = key
        found = {
            name
            for cell in product((*principal, None), (*action, None), (*resource, None))
            for name in self._cells.get(cell, ())
            if to is None or self._to[name] is None or self._to[name] in to
        }
        return tuple(sorted(found, key=self._order.__getitem__))

    def near(self, principal: Line, action: Line) -> tuple[str, ...]:
        """Ids for this action whatever the resource: pinned to this principal, to none, to a group it is not in."""
        names: dict[str, None] = {}
        for pin in dict.fromkeys((*principal, None, *self._groups)):
            for verb in (*action, None):
                names.update(dict.fromkeys(self._near.get((pin, verb), ())))
        return tuple(names)

    def slice(self, ids: tuple[str, ...]) -> Slice:
        """Build the set of these policies, under their own ids."""
        reads: set[str] | None = set()
        for name in ids:
            wanted = self._reads[name]
            reads = None if reads is None or wanted is None else reads | wanted
        return Slice(
            ids=ids,
            policies=cedarpy.PolicySet.from_json_str(est_document({name: self._text[name] for name in ids})),
            reads=None if reads is None else frozenset(reads),
            names=frozenset().union(*(self._names[name] for name in ids)),
        )


def cells(est: Est) -> Iterator[Cell]:
    """Where a policy stands in the index; several cells where its scope names several actions."""
    for action in _action_pins(est["action"]):
        yield _pin(est["principal"]), action, _pin(est["resource"])


def _pin(scope: object) -> Pin:
    """`== E`, `in E` and `is T in E` pin to E; `is T` and nothing pin to nothing."""
    if not isinstance(scope, Mapping):
        return None
    inner = scope.get("in", scope)
    entity = inner.get("entity") if isinstance(inner, Mapping) else None
    return uid_of(entity) if entity is not None else None


def _action_pins(scope: object) -> list[Pin]:
    several = scope.get("entities") if isinstance(scope, Mapping) else None
    return [uid_of(item) for item in several] if isinstance(several, list) else [_pin(scope)]


def _leading_to(est: Est) -> Pin:
    """X where the first thing evaluated is `context.to == X`: with another `to` that is false and ends it."""
    conditions = est.get("conditions")
    first = conditions[0] if isinstance(conditions, list) and conditions else {}
    node = first.get("body") if first.get("kind") == "when" else None
    while isinstance(node, Mapping) and "&&" in node:
        node = node["&&"]["left"]
    if not isinstance(node, Mapping) or "==" not in node:
        return None
    sides = (node["=="]["left"], node["=="]["right"])
    for side, other in (sides, sides[::-1]):
        value = other.get("Value")
        if side == _CONTEXT_TO and isinstance(value, Mapping) and "__entity" in value:
            return uid_of(value)
    return None


_CONTEXT: Final = {"Var": "context"}
_CONTEXT_TO: Final = {".": {"left": _CONTEXT, "attr": "to"}}


def context_reads(est: Est) -> frozenset[str] | None:
    """Names of the context's members that a policy looks at; None where it uses the context as a whole."""
    reads: set[str] = set()
    queue = [est.get("conditions")]
    while queue:
        node = queue.pop()
        if isinstance(node, list):
            queue.extend(node)
        elif isinstance(node, dict):
            if node == _CONTEXT:
                return None
            for key, value in node.items():
                plain = key in {".", "has"} and isinstance(value, dict) and value.get("left") == _CONTEXT
                if plain and isinstance(value.get("attr"), str):
                    reads.add(value["attr"])
                else:
                    queue.append(value)
    return frozenset(reads)
