"""The registry as a client may know it: the agents that it hosts or hands on to, and the resources they reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deputize.model.failure import InvalidRequest
from deputize.model.registry import AgentEntry, Binding, Registry, ResourceEntry
from deputize.model.resource import Right
from deputize.wire import authorization_details
from deputize.wire.answer import bad_response, number, objects, text, texts
from deputize.wire.json_strict import dumps, loads

_DAMAGE: Final = (KeyError, ValueError, TypeError, AttributeError)
_BINDINGS: Final[Mapping[str, Binding]] = {"bearer": "bearer", "dpop": "dpop", "optional": "optional"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAnswer:
    """`hosted`: the agents (ids) that the asking workload gets identities for. `token_life` in seconds."""

    registry: Registry
    hosted: tuple[str, ...]
    token_life: int

    def to_json(self) -> bytes:
        """The body of a 200 answer."""
        registry = self.registry
        return dumps(
            {
                "trust_domain": registry.trust_domain,
                "hosted": list(self.hosted),
                "session_token_ttl": self.token_life,
                "agents": [_agent(entry) for entry in registry.agents.values()],
                "resources": [_resource(entry) for entry in registry.resources.values()],
            }
        )

    @classmethod
    def from_json(cls, raw: bytes) -> "RegistryAnswer":
        """Raises InvalidRequest (`invalid_response`) for what is no such answer."""
        members = loads(raw, refuse=bad_response)
        try:
            agents = [_agent_from(told) for told in objects(members["agents"])]
            resources = [_resource_from(told) for told in objects(members["resources"])]
            return cls(
                registry=Registry(
                    trust_domain=text(members["trust_domain"]),
                    agents={entry.id: entry for entry in agents},
                    resources={entry.url: entry for entry in resources},
                ),
                hosted=texts(members["hosted"]),
                token_life=number(members["session_token_ttl"]),
            )
        except (InvalidRequest, *_DAMAGE):
            raise bad_response("the answer tells of the registry in another form") from None


def _agent(entry: AgentEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "name": entry.name,
        "open": entry.opens,
        "use": authorization_details.build(entry.use),
        "delegate": authorization_details.build(entry.delegate),
        "delegate_to": sorted(entry.delegate_to),
    }


def _agent_from(told: Mapping[str, object]) -> AgentEntry:
    return AgentEntry(
        id=text(told["id"]),
        name=text(told["name"]),
        opens=told["open"] is True,
        use=_rights(told["use"]),
        delegate=_rights(told["delegate"]),
        delegate_to=frozenset(texts(told["delegate_to"])),
    )


def _resource(entry: ResourceEntry) -> dict[str, object]:
    return {
        "alias": entry.alias,
        "url": entry.url,
        "scopes": sorted(entry.scopes),
        "binding": entry.binding,
        "tools": {tool: sorted(scopes) for tool, scopes in sorted(entry.tools.items())},
        "framework_tools": sorted(entry.framework_tools),
        **({} if entry.agent is None else {"agent": entry.agent}),
    }


def _resource_from(told: Mapping[str, object]) -> ResourceEntry:
    tools = told["tools"]
    if not isinstance(tools, dict):
        raise TypeError("tools")
    return ResourceEntry(
        alias=text(told["alias"]),
        url=text(told["url"]),
        scopes=frozenset(texts(told["scopes"])),
        binding=_BINDINGS[text(told["binding"])],
        tools={text(tool): frozenset(texts(scopes)) for tool, scopes in tools.items()},
        framework_tools=frozenset(texts(told["framework_tools"])),
        agent=text(told["agent"]) if "agent" in told else None,
    )


def _rights(value: object) -> frozenset[Right]:
    return authorization_details.read(value) if value != [] else frozenset()
