"""The engine: a question in, a verdict out, and never an exception.

Allowed only if Cedar allows *and* nothing erred: Cedar skips a forbid whose condition errs, so an error is a
deny. What is unknown or not of the schema's shape is refused before any policy is asked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, Literal

import cedarpy
import orjson

from deputize.model.decision import DEFAULT_DENY, Action, ContextValue, Question, Verdict
from deputize.model.identity import is_user
from deputize.model.registry import Registry
from deputize.model.resource import Right
from deputize.model.rules import ImpersonationGrant, PolicyFile, UserRule
from deputize.policy import schema
from deputize.policy.entities import NO_WORKLOADS, EntityStore, registry_entities, user_entity
from deputize.policy.index import Key, Line, PolicyIndex, Slice
from deputize.policy.namespaces import check_namespace
from deputize.policy.rules import Statement, registry_rules
from deputize.policy.statements import Est, check_schema, check_unique, parse, split
from deputize.policy.text import Uid

MAX_NEAREST: Final = 5
_MAX_ERROR: Final = 200  # characters
_SLICES: Final = 4096
_HANDLES: Final = 4096
_ANSWERS: Final = 4096
Roots = tuple[frozenset[Uid], tuple[Uid, ...], str, tuple[str, ...]]  # of policies, of the question; user, groups
NOTHING: Final[Mapping[str, object]] = {}
_ACTIONS: Final[Mapping[Action, Line]] = {action: (("Action", action),) for action in schema.MEMBERS}


def compile_policy(
    registry: Registry,
    *,
    users: Literal["unrestricted", "listed"],
    asserted: bool = True,
    user_rules: Sequence[UserRule] = (),
    files: Sequence[PolicyFile] = (),
    impersonation: Sequence[ImpersonationGrant] = (),
    workloads: Mapping[str, frozenset[str]] = NO_WORKLOADS,
    beside: Mapping[str, object] = NOTHING,
) -> "CedarEngine":
    """Turn a registry and files of Cedar into an engine.

    Args:
        registry: What exists, and what agents are registered for.
        users: Whether any user may use any agent, or only those whom `user_rules` and policies let in.
        asserted: Whether a host's word for its user will do where users are unrestricted.
        user_rules: Listed issuers; each becomes the policy `users.<alias>`.
        files: Policies that add to the registry's or forbid over them.
        impersonation: Stored grants; beyond them impersonation is forbidden whatever a policy says.
        workloads: Agent id -> workloads that may host it (`principal.workload`).
        beside: Plain data that decides and is not asked of policies (limits, rules for evidence): digested with them.

    Raises ConfigurationError with file, line and reason.
    """
    rules = registry_rules(registry, users=users, asserted=asserted, user_rules=user_rules, impersonation=impersonation)
    parsed = parse(list(rules))
    for file in files:
        parsed += parse(split(file))
    for statement, est in parsed:
        check_namespace(statement, est, registry.trust_domain)
    statements = [statement for statement, _ in parsed]
    check_unique(statements)
    check_schema(statements)
    return CedarEngine(registry, parsed, {rule.alias: rule for rule in user_rules}, workloads, beside)


class CedarEngine:
    """Decides by Cedar. Immutable, safe to share between threads; satisfies `PolicyEngine`."""

    def __init__(
        self,
        registry: Registry,
        policies: Sequence[tuple[Statement, Est]],
        issuers: Mapping[str, UserRule],
        workloads: Mapping[str, frozenset[str]] = NO_WORKLOADS,
        beside: Mapping[str, object] = NOTHING,
    ) -> None:
        self._statements = {str(statement.id): statement for statement, _ in policies}
        ests = {str(statement.id): est for statement, est in policies}
        self._permits = frozenset(name for name, est in ests.items() if est["effect"] == "permit")
        self._index = PolicyIndex(ests)
        self._issuers = issuers
        self._entities = EntityStore(registry_entities(registry, workloads))
        self._agents = {name: self._line(("Agent", name)) for name in registry.agents}
        rights = (right for resource in registry.resources.values() for right in resource.rights)
        self._rights = {right: self._line(("Scope", right.entity)) for right in rights}
        self._digest = _digest(registry, ests, self._entities, beside)
        self._slice = lru_cache(_SLICES)(self._make_slice)
        self._handle = lru_cache(_HANDLES)(self._make_handle)
        self._view = lru_cache(_SLICES)(self._make_view)
        self._answer = lru_cache(_ANSWERS)(self._evaluate)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that decides; the same digest always decides alike."""
        return self._digest

    @property
    def policies(self) -> tuple[str, ...]:
        """Ids of all policies, the registry's first."""
        return tuple(self._statements)

    def policy_text(self, policy_id: str) -> str | None:
        """The Cedar text of a policy, or None for an id that is none (`default-deny`)."""
        statement = self._statements.get(policy_id)
        return statement.text if statement else None

    def location(self, policy_id: str) -> tuple[str, int] | None:
        """File and line where a policy was written, or None where it was written nowhere."""
        statement = self._statements.get(policy_id)
        if statement is None or not statement.path or statement.line is None:
            return None
        return statement.path, statement.line

    def decide(self, question: Question) -> Verdict:
        """Never raises: what cannot be decided is a deny with `errors`."""
        try:
            return self._decide(question)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # a panic of the engine is a BaseException; it must deny
            return _refusal(f"undecidable: {type(error).__name__}")

    def _decide(self, question: Question) -> Verdict:
        wrong = self._problem(question)
        if wrong is not None:
            return _refusal(wrong)
        to = question.context.get("to")
        key, view = self._view(question.action, question.principal, question.groups, question.right, to)
        reads = view.reads
        read = tuple(item for item in question.context.items() if reads is None or item[0] in reads)
        verdict = self._answer(
            key, question.action, question.principal, question.right, read, self._roots(question, view)
        )
        if verdict.allowed or verdict.policies != (DEFAULT_DENY,):
            return verdict
        return replace(verdict, nearest=self._nearest(question))

    def _evaluate(
        self,
        key: Key,
        action: Action,
        principal: str,
        right: Right,
        read: tuple[tuple[str, ContextValue], ...],
        roots: Roots,
    ) -> Verdict:
        """Ask the engine. Its arguments are all that the engine is given, so the answer to them is kept."""
        view = self._slice(key)
        request = _request(Question(action=action, principal=principal, right=right, context=dict(read)), view.reads)
        result = cedarpy.is_authorized_batch([request], view.policies, self._handle(*roots))[0]
        reasons = tuple(sorted(result.diagnostics.reasons))
        errors = tuple(sorted(text[:_MAX_ERROR] for text in result.diagnostics.errors))
        if result.decision is cedarpy.Decision.Allow and not errors:
            return Verdict(allowed=True, policies=reasons)
        if result.decision is cedarpy.Decision.NoDecision:
            return Verdict(allowed=False, policies=(DEFAULT_DENY,), errors=errors or ("the engine gave no decision",))
        if result.decision is cedarpy.Decision.Allow:
            return Verdict(allowed=False, policies=_erring(errors, view) or (DEFAULT_DENY,), errors=errors)
        return Verdict(allowed=False, policies=reasons or (DEFAULT_DENY,), errors=errors)

    def forget(self) -> None:
        """Drop what may be computed again: the answers to questions that were asked before."""
        self._answer.cache_clear()

    def _problem(self, question: Question) -> str | None:
        """What makes the question unanswerable, or None. Unknown things are refused before policy."""
        if question.right not in self._rights:
            return "unknown right"
        if question.action == "grant":
            if not is_user(question.principal) or "|" not in question.principal:
                return "the principal of grant is a user"
        elif question.principal not in self._agents:
            return "unknown agent"
        wrong = schema.problem(question.action, question.context)
        if wrong is not None:
            return wrong
        for member in ("from", "to", "agent"):
            if question.context.get(member, question.principal) not in self._agents and member in question.context:
                return f"unknown agent in context.{member}"
        return None

    def _make_view(
        self, action: Action, principal: str, groups: tuple[str, ...], right: Right, to: ContextValue | None
    ) -> tuple[Key, Slice]:
        """What matters to questions like this, whatever else their context says."""
        onward = None if to is None else ("Agent", str(to))
        line = self._principal(action, principal, groups)
        key = self._index.key(line, _ACTIONS[action], self._rights[right], onward)
        return key, self._slice(key)

    def _principal(self, action: Action, principal: str, groups: tuple[str, ...]) -> Line:
        if action != "grant":
            return self._agents[principal]
        return (("User", principal), *(("Group", group) for group in dict.fromkeys(groups)))

    def _line(self, uid: Uid) -> Line:
        return (uid, *self._entities.ancestors(uid))

    def _make_slice(self, key: Key) -> Slice:
        return self._index.slice(self._index.select(key))

    def _roots(self, question: Question, view: Slice) -> Roots:
        """What the slice can look at: its own names, principal, resource, and entities in the members it reads."""
        members = schema.MEMBERS[question.action]
        principal = ("User" if question.action == "grant" else "Agent", question.principal)
        roots = [principal, self._rights[question.right][0]]
        for name, value in question.context.items():
            kind = schema.ENTITY_KINDS.get(members[name])
            if kind is not None and (view.reads is None or name in view.reads):
                roots.append((kind, str(value)))
        user = str(question.principal if question.action == "grant" else question.context.get("user", ""))
        seen = ("User", user) in roots or ("User", user) in view.names
        return view.names, tuple(roots), user if seen else "", question.groups if seen else ()

    def _make_handle(
        self, names: frozenset[Uid], roots: tuple[Uid, ...], user: str, groups: tuple[str, ...]
    ) -> cedarpy.Entities:
        extra = [user_entity(user, groups, self._issuers)] if user else []
        return self._entities.handle([*roots, *sorted(names)], extra)

    def _nearest(self, question: Question) -> tuple[str, ...]:
        line = self._principal(question.action, question.principal, question.groups)
        near = self._index.near(line, _ACTIONS[question.action])
        return tuple(name for name in near if name in self._permits)[:MAX_NEAREST]


def _request(question: Question, reads: frozenset[str] | None) -> dict[str, object]:
    """The request as the engine takes it, with the members of the context that the slice reads.

    The context goes as JSON text and uids as dicts: ids in any spelling pass, and it is the fastest form.
    """
    members = schema.MEMBERS[question.action]
    context = {
        name: _value(value, members[name]) for name, value in question.context.items() if reads is None or name in reads
    }
    return {
        "principal": {"type": "User" if question.action == "grant" else "Agent", "id": question.principal},
        "action": {"type": "Action", "id": question.action},
        "resource": {"type": "Scope", "id": question.right.entity},
        "context": orjson.dumps(context).decode(),
    }


def _value(value: ContextValue, kind: schema.Kind) -> object:
    entity = schema.ENTITY_KINDS.get(kind)
    if entity is not None:
        return {"__entity": {"type": entity, "id": value}}
    if kind == "time":
        moment = datetime.fromtimestamp(int(value), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"__extn": {"fn": "datetime", "arg": moment}}
    return value


def _refusal(reason: str) -> Verdict:
    return Verdict(allowed=False, policies=(DEFAULT_DENY,), errors=(reason,))


def _erring(errors: tuple[str, ...], view: Slice) -> tuple[str, ...]:
    """The policies whose condition erred: they are why an allow was not taken."""
    return tuple(sorted(name for name in view.ids if any(f"`{name}`" in error for error in errors)))


def _digest(registry: Registry, ests: Mapping[str, Est], entities: EntityStore, beside: Mapping[str, object]) -> str:
    """Over all that decides: schema, policies, entities, what the registry answers beside policy, and `beside`."""
    facts = {
        "beside": beside,
        "domain": registry.trust_domain,
        "schema": schema.SCHEMA,
        "policies": ests,
        "entities": sorted(document.decode() for document in entities),
        "resources": {
            resource.url: {
                "alias": resource.alias,
                "binding": resource.binding,
                "chain": resource.chain,
                "introspection": sorted(resource.introspection),
                "tools": {tool: sorted(scopes) for tool, scopes in resource.tools.items()},
                "framework": sorted(resource.framework_tools),
                **({} if resource.agent is None else {"agent": resource.agent, "a2a": resource.a2a}),
            }
            for resource in registry.resources.values()
        },
        "agents": {
            agent.id: {"ttl": agent.session_ttl, "attestation": sorted(agent.attestation)}
            for agent in registry.agents.values()
        },
    }
    return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()
