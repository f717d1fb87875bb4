"""What an authenticated client may know: of the registry, and of tokens that others hold."""

from dataclasses import replace

from deputize.attestation.deciding import hosts
from deputize.authority.parts import Parts
from deputize.model.identity import short_name
from deputize.model.introspection import INACTIVE, Introspection
from deputize.model.registry import AgentEntry, Registry
from deputize.model.request import Client
from deputize.model.resource import LOCAL_TOOLS


def hosted(parts: Parts, client: Client) -> tuple[str, ...]:
    """The agents (ids) that the client's workload hosts by the rules of now."""
    rules = parts.rules.configuration.attestation_rules
    named = {agent for rule in rules if rule.workload == client.workload for agent in rule.agents}
    return tuple(sorted(agent for agent in named if may_host(parts, client, agent)))


def may_host(parts: Parts, client: Client, agent: str | None) -> bool:
    """Whether the client's workload hosts the agent (id) by the rules of now."""
    rules, registry = parts.rules.configuration.attestation_rules, parts.rules.registry
    return agent is not None and hosts(
        rules, registry, workload=client.workload, method=client.attestation, agent=agent
    )


def registry_for(registry: Registry, agents: tuple[str, ...]) -> Registry:
    """The registry cut to `agents` (ids), those that they may hand on to, and the resources that these reach."""
    known: dict[str, AgentEntry] = {}
    new = [entry for agent in agents if (entry := registry.agent(agent)) is not None]
    while new:
        entry = new.pop()
        if entry.id not in known:
            known[entry.id] = entry
            new += [near for name in entry.delegate_to if (near := registry.agent(name)) is not None]
    reached = {right.resource for entry in known.values() for right in entry.rights} | {LOCAL_TOOLS}
    resources = {url: entry for url, entry in registry.resources.items() if url in reached}
    return Registry(
        trust_domain=registry.trust_domain,
        agents=known,
        resources={url: replace(entry, introspection=()) for url, entry in resources.items()},
    )


def is_own(parts: Parts, client: Client, told: Introspection) -> bool:
    """Whether the token is the client's, or that of another agent of its workload."""
    return told.client_id == client.agent or may_host(parts, client, told.client_id)


def answer_for(parts: Parts, client: Client, told: Introspection) -> Introspection:
    """What this client is told of a token: all, where it is the token's resource or its holder; else that it is none.

    No oracle: unknown, expired, revoked and somebody else's look alike (RFC 7662 §4).
    """
    if not told.active:
        return INACTIVE
    if is_own(parts, client, told):
        return told
    mine = told.token_type == "access_token" and is_resource(parts, client, told.aud or "")  # noqa: S105  # a kind
    return told if mine else INACTIVE


def is_resource(parts: Parts, client: Client, resource: str) -> bool:
    """Whether the client is one that the configuration lets ask for this resource (URL): `introspection`."""
    entry = parts.rules.registry.resources.get(resource)
    names = {client.agent, client.workload, short_name(client.agent), client.workload.partition("/workload/")[2]}
    return entry is not None and not names.isdisjoint(entry.introspection)
