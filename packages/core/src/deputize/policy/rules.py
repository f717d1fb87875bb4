"""The registry as Cedar: one readable policy for each thing that the configuration permits."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from deputize.model.identity import everyone
from deputize.model.registry import AgentEntry, Registry
from deputize.model.resource import Right
from deputize.model.rules import ImpersonationGrant, UserRule
from deputize.policy.text import entity, literal


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy as text, and where it comes from. `id` is None until the engine has parsed it."""

    id: str | None
    text: str
    path: str = ""
    line: int | None = None
    namespace: str = ""  # of the included file that named its file


def registry_rules(
    registry: Registry,
    *,
    users: Literal["unrestricted", "listed"],
    asserted: bool = True,
    user_rules: Sequence[UserRule] = (),
    impersonation: Sequence[ImpersonationGrant] = (),
) -> Iterator[Statement]:
    """Every policy that the configuration stands for, in a fixed order."""
    givers: dict[str, list[str]] = {}
    for agent in registry.agents.values():
        for other in agent.delegate_to:
            givers.setdefault(other, []).append(agent.id)
    for agent in sorted(registry.agents.values(), key=lambda entry: entry.id):
        yield from _agent_rules(agent, sorted(givers.get(agent.id, ())), registry)
    yield from _namespace_rules(registry)
    yield from _user_rules(users, user_rules, registry.path, asserted=asserted)
    yield _impersonation_rule(impersonation, registry.path)


def _agent_rules(agent: AgentEntry, givers: Sequence[str], registry: Registry) -> Iterator[Statement]:
    def rule(suffix: str, action: str, rights: Iterable[Right], *when: str) -> Statement:
        name = f"agent.{agent.name}.{suffix}"
        where, test = _among(rights, registry)
        scope = f'principal == {entity(("Agent", agent.id))}, action == Action::"{action}", {where}'
        conditions = " && ".join((*when, *test))
        tail = f"\nwhen {{ {conditions} }};" if conditions else ";"
        return Statement(name, f"{_id(name)}\npermit ({scope}){tail}", agent.path or registry.path, agent.line)

    if agent.use:
        yield rule("use", "use", agent.use)
    opening = _opening(givers, opens=agent.opens)
    if agent.rights and opening:
        yield rule("open", "open", agent.rights, opening)
    if agent.delegate:
        for other in sorted(agent.delegate_to):
            name = registry.agents[other].name
            yield rule(f"delegate.{name}", "delegate", agent.delegate, f"context.to == {entity(('Agent', other))}")


def _namespace_rules(registry: Registry) -> Iterator[Statement]:
    """Whatever a file of policies permits, agents of a namespace stay within what it owns or is shared with it."""
    for namespace, rights in sorted(registry.namespaces.items()):
        name = f"namespace.{namespace}"
        where, test = _among(rights, registry)
        inside = test[0] if test else where
        members = entity(("Group", everyone(namespace)))
        unless = f"\nunless {{ {inside} }}" if rights else ""
        text = f"{_id(name)}\nforbid (principal is Agent in {members}, action, resource){unless};"
        yield Statement(name, text, registry.path)


def _opening(givers: Sequence[str], *, opens: bool) -> str:
    """A root only where the agent opens; a hand-off only from who may hand on to it; a link never."""
    root = "!(context has from)"
    if not givers:
        return root if opens else ""
    names = ", ".join(entity(("Agent", giver)) for giver in givers)
    child = f'context has from && context.mode != "self" && [{names}].contains(context.from)'
    return f"({root} || ({child}))" if opens else child


def _among(rights: Iterable[Right], registry: Registry) -> tuple[str, tuple[str, ...]]:
    """What of `resource` stands in the policy's scope, and what in its condition.

    A whole resource by its name, else scope by scope; a single one in the scope, as one would write it.
    """
    held: dict[str, set[str]] = {}
    for right in rights:
        held.setdefault(right.resource, set()).add(right.scope)
    whole = [entity(("Resource", url)) for url in sorted(held) if registry.resources[url].scopes == held[url]]
    single = [
        entity(("Scope", Right(url, scope).entity))
        for url in sorted(held)
        if registry.resources[url].scopes != held[url]
        for scope in sorted(held[url])
    ]
    if len(whole) + len(single) == 1:
        return (f"resource in {whole[0]}" if whole else f"resource == {single[0]}"), ()
    tests = [f"resource in [{', '.join(uids)}]" for uids in (whole, single) if uids]
    return "resource", (tests[0] if len(tests) == 1 else f"({' || '.join(tests)})",)


def _user_rules(users: str, rules: Sequence[UserRule], path: str, *, asserted: bool) -> Iterator[Statement]:
    """Who may be acted for. Where a host's word does not do, a policy that names the workload may let it."""
    scope = 'principal is User, action == Action::"grant", resource'
    if users == "unrestricted":
        when = "" if asserted else '\nwhen { context.evidence != "asserted" }'
        yield Statement("users.unrestricted", f"{_id('users.unrestricted')}\npermit ({scope}){when};", path)
        return
    for rule in rules:
        name = f"users.{rule.alias}"
        when = f'principal.issuer == {literal(rule.issuer)} && context.evidence == "token"'
        yield Statement(name, f"{_id(name)}\npermit ({scope})\nwhen {{ {when} }};", path, rule.line)


def _impersonation_rule(grants: Sequence[ImpersonationGrant], path: str) -> Statement:
    """Whatever a policy permits, impersonation stays within the stored grants; without any it is off.

    One `unless` for each grant: a chain of `||` would be deeper than the engine reads.
    """
    name = "impersonation.without-grant"
    unless = "".join(f"\nunless {{ {_within(grant)} }}" for grant in grants)
    return Statement(name, f'{_id(name)}\nforbid (principal, action == Action::"impersonate", resource){unless};', path)


def _within(grant: ImpersonationGrant) -> str:
    scopes = ", ".join(entity(("Scope", right.entity)) for right in sorted(grant.rights))
    expires = datetime.fromtimestamp(grant.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"context.grant == {literal(grant.id)} && principal == {entity(('Agent', grant.agent))}"
        f" && context.user == {entity(('User', grant.user))} && [{scopes}].contains(resource)"
        f' && context.time < datetime("{expires}")'
    )


def _id(name: str) -> str:
    return f"@id({literal(name)})"
