"""What an agent says of itself to those who would call it, once that was verified."""

from dataclasses import dataclass
from typing import Final

EXTENSION: Final = "urn:deputize:agent"  # in a card: which agent of which authority this is, and its audience


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInterface:
    """An endpoint, and what is spoken there."""

    url: str
    binding: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSkill:
    """Something that the agent can do. For people and models to read; it permits nothing."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMetadata:
    """An agent as its card tells of it. `issuer` is who signed the card.

    `interfaces`: the first is preferred. `agent` (an id) and `audience` (what an invitation for it is issued for) are
    told by authorities like ours alone. `expires`: of the signature, seconds since the epoch, where it says so.
    """

    name: str
    description: str
    version: str
    issuer: str
    interfaces: tuple[AgentInterface, ...]
    skills: tuple[AgentSkill, ...]
    agent: str | None = None
    audience: str | None = None
    expires: int | None = None

    @property
    def url(self) -> str:
        """Where it is called: the preferred interface."""
        return self.interfaces[0].url
