"""The Cedar project's own corpus: the engine we stand on, the index we cut it with, and the entities we hand it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cedarpy

from deputize.policy.entities import EntityStore, references, uid_of
from deputize.policy.index import PolicyIndex
from deputize.policy.text import Uid
from deputize.testing import vectors

KEYS = ("principal", "action", "resource")
Case = tuple[Mapping[str, Any], PolicyIndex, EntityStore, tuple[str, ...]]


def cases(root: Path) -> Iterator[Case]:
    for file in sorted((root / "corpus-tests").glob("*.json")):
        if file.name.endswith("entities.json"):
            continue
        case = json.loads(file.read_text("utf-8"))
        parsed = json.loads(cedarpy.policies_to_json_str((root / case["policies"]).read_text("utf-8")))
        assert not parsed["templates"]
        policies = parsed["staticPolicies"]
        store = EntityStore(json.loads((root / case["entities"]).read_text("utf-8")))
        yield case, PolicyIndex(policies), store, tuple(policies)


def request(asked: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    return {key: asked[key] for key in ("principal", "action", "resource")} | {"context": json.dumps(context)}


def outcome(result: cedarpy.AuthzResult) -> tuple[str, list[str], list[str]]:
    return result.decision.value.lower(), sorted(result.diagnostics.reasons), sorted(result.diagnostics.errors)


def test_every_request_of_the_corpus_is_decided_as_published_and_alike_by_its_slice() -> None:
    seen = left_out = 0
    for case, index, store, everything in cases(vectors("cedar")):
        whole, entities = index.slice(everything), store.handle()
        for asked in case["requests"]:
            full = outcome(cedarpy.is_authorized(request(asked, asked["context"]), whole.policies, entities))
            assert full[:2] == (asked["decision"], sorted(asked["reason"])), case["policies"]

            who, verb, what = ((uid, *store.ancestors(uid)) for uid in map(uid_of, (asked[key] for key in KEYS)))
            view = index.slice(index.select(index.key(who, verb, what, onward(asked["context"]))))
            read = {key: value for key, value in asked["context"].items() if view.reads is None or key in view.reads}
            roots = [who[0], verb[0], what[0], *references(read), *view.names]
            part = outcome(cedarpy.is_authorized(request(asked, read), view.policies, store.handle(roots)))
            assert part == full, case["policies"]
            seen += 1
            left_out += len(everything) - len(view.ids)
    assert seen == 3200
    assert left_out > 0


def onward(context: Mapping[str, Any]) -> Uid | None:
    to = context.get("to")
    return uid_of(to) if isinstance(to, dict) and "__entity" in to else None
