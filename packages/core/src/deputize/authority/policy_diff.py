"""What one policy set decides otherwise than another, for people who are to approve it."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from deputize.authority.rules import Rules, rules_of
from deputize.config import Bundle, from_bundle
from deputize.policy import CedarEngine

MAX_LINES: Final = 10_000  # of the unified diff
_BESIDE: Final = ("line", "path")  # where something is written decides nothing
Facts = dict[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`summary`: `+ agent x`, `- policy y`, `~ limits: depth_max 4 -> 8`. `text`: a unified diff of the files."""

    summary: tuple[str, ...]
    text: tuple[str, ...]


def diff(old: Bundle, new: Bundle) -> Difference:
    """Compare two sets. Raises ConfigurationError where one does not compile."""
    before, after = _facts(rules_of(from_bundle(old))), _facts(rules_of(from_bundle(new)))
    return Difference(summary=tuple(_summary(before, after)), text=tuple(_text(old, new))[:MAX_LINES])


def _facts(rules: Rules) -> Facts:
    """Everything that decides, by a name that people know it by."""
    configuration, registry = rules.configuration, rules.registry
    facts: Facts = {
        "authority": {"trust_domain": configuration.trust_domain, "users": configuration.users},
        "audit": {"task_text": configuration.task_text, "retention": configuration.retention},
        "limits": asdict(configuration.limits),
    }
    facts |= {f"agent {entry.name}": asdict(entry) for entry in registry.agents.values()}
    facts |= {f"resource {entry.alias}": asdict(entry) for entry in registry.resources.values()}
    facts |= {f"namespace {name}": {"reach": rights} for name, rights in registry.namespaces.items()}
    facts |= {f"users {rule.alias}": asdict(rule) for rule in configuration.user_rules}
    facts |= {f"operators {rule.issuer}": asdict(rule) for rule in configuration.operators}
    facts |= {f"impersonation {grant.id}": asdict(grant) for grant in configuration.impersonation}
    for index, rule in enumerate(configuration.attestation_rules):
        facts[f"attestation {index + 1} ({rule.method}, {rule.workload})"] = asdict(rule)
    if isinstance(rules.policy, CedarEngine):
        facts |= _written(rules.policy, {file.path for file in configuration.policy_files})
    return {name: {key: item for key, item in fact.items() if key not in _BESIDE} for name, fact in facts.items()}


def _written(engine: CedarEngine, paths: Collection[str]) -> Facts:
    """The policies of files; those of the registry are told by what they were compiled from."""
    places = {name: engine.location(name) for name in engine.policies}
    return {
        f"policy {name}": {"text": engine.policy_text(name)}
        for name, place in places.items()
        if place is not None and place[0] in paths
    }


def _summary(before: Facts, after: Facts) -> Iterator[str]:
    yield from (f"- {name}" for name in before if name not in after)
    yield from (f"+ {name}" for name in after if name not in before)
    for name, fact in after.items():
        old = before.get(name, fact)
        changed = [key for key in fact if fact[key] != old.get(key)]
        if changed:
            yield f"~ {name}: " + ", ".join(_change(key, old.get(key), fact[key]) for key in changed)


def _change(key: str, old: object, new: object) -> str:
    short = isinstance(old, str | int) and isinstance(new, str | int) and key != "text"
    return f"{key} {old} -> {new}" if short else key


def _text(old: Bundle, new: Bundle) -> Iterator[str]:
    for name in sorted({*old.files, *new.files}):
        before, after = old.files.get(name, ""), new.files.get(name, "")
        yield from difflib.unified_diff(
            before.splitlines(), after.splitlines(), f"old/{name}", f"new/{name}", lineterm="", n=2
        )
    for name in sorted({*old.environment, *new.environment}):
        pair = old.environment.get(name), new.environment.get(name)
        if pair[0] != pair[1]:
            yield f"{name}: {pair[0] or 'unset'} -> {pair[1] or 'unset'}"
