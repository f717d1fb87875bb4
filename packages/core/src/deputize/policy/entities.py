"""The entities that policies look at: as documents, and only as many as one question can reach."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import cedarpy
import orjson

from deputize.model.identity import LOCAL_ALIAS
from deputize.model.registry import Registry
from deputize.model.rules import UserRule
from deputize.policy.text import Uid

Document = Mapping[str, object]  # one entity in Cedar's JSON form

NO_WORKLOADS: Final[Mapping[str, frozenset[str]]] = {}


class EntityStore:
    """Entities by uid, with what each one leads to. Immutable once built."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents: dict[Uid, bytes] = {}
        self._parents: dict[Uid, tuple[Uid, ...]] = {}
        self._reached: dict[Uid, tuple[Uid, ...]] = {}
        for document in documents:
            uid = uid_of(document["uid"])
            parents = document.get("parents")
            self._documents[uid] = orjson.dumps(document)
            self._parents[uid] = tuple(map(uid_of, parents)) if isinstance(parents, list) else ()
            named = references([document.get("attrs"), document.get("tags")])
            self._reached[uid] = (*self._parents[uid], *named)

    def ancestors(self, uid: Uid) -> tuple[Uid, ...]:
        """Everything that `uid` is in, itself not included, in a fixed order."""
        return _closure(self._parents.get(uid, ()), self._parents)

    def reachable(self, roots: Iterable[Uid]) -> list[bytes]:
        """The documents of `roots` and of all that a policy can reach from them by parents and attributes."""
        return [self._documents[uid] for uid in _closure(roots, self._reached) if uid in self._documents]

    def handle(self, roots: Iterable[Uid] | None = None, extra: Iterable[Document] = ()) -> cedarpy.Entities:
        """A parsed set for the engine: what `roots` reach (None: everything) and `extra`."""
        own = list(self._documents.values()) if roots is None else self.reachable(roots)
        return cedarpy.Entities.from_json_str(b"[%b]".__mod__(b",".join([*own, *map(orjson.dumps, extra)])).decode())

    def __contains__(self, uid: Uid) -> bool:
        return uid in self._documents

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._documents.values())


def registry_entities(registry: Registry, workloads: Mapping[str, frozenset[str]] = NO_WORKLOADS) -> Iterator[Document]:
    """Agents (in their groups), resources, scopes (in their resource). Users come with each question."""
    for agent in sorted(registry.agents.values(), key=lambda entry: entry.id):
        hosts = [{"__entity": {"type": "Workload", "id": name}} for name in sorted(workloads.get(agent.id, ()))]
        yield _document(("Agent", agent.id), {"workload": hosts, "external": False}, _groups(agent.groups))
    for resource in sorted(registry.resources.values(), key=lambda entry: entry.url):
        uid = ("Resource", resource.url)
        local = resource.alias == LOCAL_ALIAS
        yield _document(uid, {"binding": resource.binding, "local": local})
        for right in sorted(resource.rights):
            yield _document(("Scope", right.entity), {"name": right.scope}, [uid])


def user_entity(user: str, groups: tuple[str, ...], rules: Mapping[str, UserRule]) -> Document:
    """A user in its groups. `issuer` is the issuer's URL, or the alias where no rule names one (`local`)."""
    alias = user.partition("|")[0]
    rule = rules.get(alias)
    return _document(("User", user), {"issuer": rule.issuer if rule else alias}, _groups(groups))


def references(value: object) -> set[Uid]:
    """Every entity that a JSON value of Cedar's names, by `__entity` or as a bare uid in a policy's scope."""
    found: set[Uid] = set()
    queue = [value]
    while queue:
        item = queue.pop()
        if isinstance(item, dict):
            for key in ("__entity", "entity"):
                if key in item:
                    found.add(uid_of(item[key]))
            queue.extend(item.values())
        elif isinstance(item, list):
            queue.extend(item)
    return found


def uid_of(value: object) -> Uid:
    """The uid in `{"type": ..., "id": ...}`, also inside `__entity`."""
    if isinstance(value, dict):
        inner = value.get("__entity", value)
        if isinstance(inner, dict):
            return str(inner.get("type")), str(inner.get("id"))
    return "", ""


def _document(uid: Uid, attributes: Mapping[str, object], parents: Iterable[Uid] = ()) -> Document:
    lines = [{"type": kind, "id": name} for kind, name in parents]
    return {"uid": {"type": uid[0], "id": uid[1]}, "attrs": attributes, "parents": lines}


def _groups(names: Iterable[str]) -> list[Uid]:
    return [("Group", name) for name in dict.fromkeys(names)]


def _closure(roots: Iterable[Uid], edges: Mapping[Uid, tuple[Uid, ...]]) -> tuple[Uid, ...]:
    seen = dict.fromkeys(roots)
    queue = list(seen)
    while queue:
        for uid in edges.get(queue.pop(), ()):
            if uid not in seen:
                seen[uid] = None
                queue.append(uid)
    return tuple(seen)
