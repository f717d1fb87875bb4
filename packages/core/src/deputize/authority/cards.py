"""Documents that tell of registered agents: A2A cards, signed by this authority, and client metadata documents."""

from typing import Final

from deputize.authority.parts import Parts
from deputize.model.agent_card import AgentInterface, AgentMetadata, AgentSkill
from deputize.model.failure import NotFound
from deputize.model.registry import AgentEntry, ResourceEntry
from deputize.model.revocation import Kind
from deputize.wire import agent_card, client_metadata

CARD_LIFE: Final = 3600  # seconds that a card's signature holds
_KEEP: Final = 60  # seconds that one is served before the next is signed


class Cards:
    """Signs cards, each at most once a minute: whoever asks is not known."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, int, bytes]] = {}

    def card(self, parts: Parts, name: str) -> bytes:
        """The signed card of an agent, by short name. Raises NotFound where the operator publishes none."""
        entry, home = _published(parts, name)
        now = int(parts.now())
        key = parts.keys.signer(now)
        version = parts.rules.policy.digest + key.kid
        kept = self._kept.get(entry.id)
        if kept is not None and kept[0] == version and 0 <= now - kept[1] < _KEEP:
            return kept[2]
        members = agent_card.build(
            _told(parts, entry, home), bound=home.binding != "bearer", scopes=tuple(sorted(home.scopes))
        )
        signed = agent_card.sign(members, key, issuer=parts.issuer, now=now, expires=now + CARD_LIFE)
        self._kept[entry.id] = (version, now, signed)
        return signed


def client_document(parts: Parts, name: str) -> bytes:
    """The client metadata document of an agent, by short name. Raises NotFound."""
    entry = _registered(parts, name)
    return client_metadata.build(client_metadata.url_of(parts.issuer, entry.name), name=entry.name, agent=entry.id)


def _registered(parts: Parts, name: str) -> AgentEntry:
    """A registered agent that is not suspended; others look as if they were not there."""
    entry = None if name.startswith("spiffe:") else parts.rules.registry.agent(name)
    if entry is None:
        raise NotFound("no such agent")
    agent = entry.id
    cut = parts.store.read(lambda tx: tx.revoked(Kind.AGENT, agent))
    if cut is not None and cut.before is None:
        raise NotFound("no such agent")
    return entry


def _published(parts: Parts, name: str) -> tuple[AgentEntry, ResourceEntry]:
    entry = _registered(parts, name)
    for home in parts.rules.registry.resources.values():
        if home.agent == entry.id and home.a2a is not None:
            return entry, home
    raise NotFound("no such agent")


def _told(parts: Parts, entry: AgentEntry, home: ResourceEntry) -> AgentMetadata:
    skills = [
        AgentSkill(id=tool, name=tool, description=f"needs {' '.join(sorted(scopes))}", tags=tuple(sorted(scopes)))
        for tool, scopes in sorted(home.tools.items())
    ] or [
        AgentSkill(id=scope, name=scope, description=f"needs {scope}", tags=(scope,)) for scope in sorted(home.scopes)
    ]
    domain = parts.trust_domain
    return AgentMetadata(
        name=entry.name,
        description=f"Agent {entry.name} of {domain}",
        version=parts.rules.policy.digest[:16],
        issuer=parts.issuer,
        interfaces=(AgentInterface(url=home.url, binding=home.a2a or "", version=agent_card.PROTOCOL),),
        skills=tuple(skills),
        agent=entry.id,
        audience=home.url,
    )
