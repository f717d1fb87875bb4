"""What the authority knows: resources and their scopes, agents and what they are registered for.

The registry is data; `deputize.policy` compiles it to Cedar and that decides. The registry itself only
answers what exists, what an agent asks for when nothing is asked, and which scopes a tool needs.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deputize.model.failure import ConfigurationError, InvalidRequest
from deputize.model.resource import LOCAL_TOOLS, TOOL_SCOPE_PREFIX, Right

Binding = Literal["bearer", "dpop", "optional"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceEntry:
    """A resource server, or the tools of the agent's own process (`local`)."""

    alias: str
    url: str
    scopes: frozenset[str]
    binding: Binding = "bearer"
    chain: Literal["full", "outermost"] = "full"
    introspection: tuple[str, ...] = ()
    tools: Mapping[str, frozenset[str]] = field(default_factory=dict)  # tool -> scopes of one operation
    framework_tools: frozenset[str] = frozenset()  # run without a scope, recorded
    agent: str | None = None  # id of the agent whose own audience this is: it may redeem what is onward
    a2a: str | None = None  # the binding of A2A spoken there, where the agent has a card

    @property
    def rights(self) -> frozenset[Right]:
        """Every right that exists here."""
        return frozenset(Right(self.url, scope) for scope in self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentEntry:
    """An agent and what it is registered for. `delegate_to` holds agent ids."""

    id: str
    name: str
    opens: bool = False  # may start a root session
    use: frozenset[Right] = frozenset()
    delegate: frozenset[Right] = frozenset()
    delegate_to: frozenset[str] = frozenset()
    groups: tuple[str, ...] = ()
    session_ttl: int | None = None  # seconds
    attestation: tuple[str, ...] = ()
    line: int | None = None  # of `[agents.<name>]` in its file, for messages
    path: str = ""  # of that file

    @property
    def rights(self) -> frozenset[Right]:
        """What it may hold: to use or to pass on."""
        return self.use | self.delegate


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolEntry:
    """Where a tool lives and what one call of it needs. No scopes: a framework's own tool."""

    tool: str
    resource: ResourceEntry
    scopes: frozenset[str]

    @property
    def rights(self) -> frozenset[Right]:
        """All of them must be permitted."""
        return frozenset(Right(self.resource.url, scope) for scope in self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """Immutable. Keys of `agents` are SPIFFE IDs, of `resources` URLs."""

    trust_domain: str
    agents: Mapping[str, AgentEntry]
    resources: Mapping[str, ResourceEntry]
    path: str = ""  # of the configuration file, for messages
    namespaces: Mapping[str, frozenset[Right]] = field(default_factory=dict)  # included: all its agents may ever hold

    def agent(self, name: str) -> AgentEntry | None:
        """By short name or SPIFFE ID; exact, never by likeness."""
        if name.startswith("spiffe://"):
            return self.agents.get(name)
        return self.agents.get(f"spiffe://{self.trust_domain}/agent/{name}")

    def closest(self, name: str) -> AgentEntry | None:
        """The registered agent whose name is nearest, for a message; never for a decision."""
        by_name = {entry.name: entry for entry in self.agents.values()}
        near = difflib.get_close_matches(name[:128], by_name, n=1, cutoff=0.6)
        return by_name[near[0]] if near else None

    def resource(self, name: str) -> ResourceEntry:
        """By alias or URL. Raises InvalidRequest (`invalid_target`)."""
        entry = self.resources.get(name)
        if entry is None:
            entry = next((item for item in self.resources.values() if item.alias == name), None)
        if entry is None:
            raise InvalidRequest("no such resource is registered", code="invalid_target")
        return entry

    def knows(self, right: Right) -> bool:
        """An unknown pair is refused before policy is asked."""
        entry = self.resources.get(right.resource)
        return entry is not None and right.scope in entry.scopes

    def tool(self, tool: str, resource: str | None = None) -> ToolEntry:
        """Which scopes one call of `tool` needs, and where.

        Unregistered tools are tools of the agent's own process and need `tool:<name>` there; a name that no
        scope can have is refused, and recorded, like any other that nobody may use.
        Raises ConfigurationError where two resources name the tool and none was asked for.
        """
        local = self.resources[LOCAL_TOOLS]
        if resource is None and tool in local.framework_tools:
            return ToolEntry(tool=tool, resource=local, scopes=frozenset())
        pool = [self.resource(resource)] if resource is not None else list(self.resources.values())
        homes = [entry for entry in pool if tool in entry.tools]
        if len(homes) > 1:
            names = " and ".join(sorted(entry.alias for entry in homes))
            raise ConfigurationError(f'tool "{tool}" is registered at {names}; say which: resource=', path=self.path)
        if homes:
            return ToolEntry(tool=tool, resource=homes[0], scopes=homes[0].tools[tool])
        home = pool[0] if resource is not None else local
        return ToolEntry(tool=tool, resource=home, scopes=frozenset({TOOL_SCOPE_PREFIX + tool}))
