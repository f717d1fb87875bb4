"""The schema that policies are validated against, and the members of each action's context.

SEMANTICS, "Policy model". Policies are checked against it when they are loaded; requests are evaluated
without it, so `problem` holds each question to the same shape.
"""

from collections.abc import Mapping
from typing import Final, Literal

from deputize.model.decision import Action, ContextValue

Kind = Literal["text", "flag", "long", "agent", "user", "time"]

_CEDAR: Final[Mapping[Kind, str]] = {
    "text": "String",
    "flag": "Bool",
    "long": "Long",
    "agent": "Agent",
    "user": "User",
    "time": "datetime",
}
_COMMON: Final[Mapping[str, Kind]] = {
    "mode": "text",
    "user?": "user",
    "evidence": "text",
    "acr?": "text",
    "attestation": "text",
    "depth": "long",
    "ttl": "long",
    "task_type?": "text",
    "time": "time",
}
_CONTEXT: Final[Mapping[Action, Mapping[str, Kind]]] = {
    "grant": {"agent": "agent", "evidence": "text", "acr?": "text", "time": "time"},
    "open": {**_COMMON, "from?": "agent"},
    "delegate": {**_COMMON, "to": "agent"},
    "use": {**_COMMON, "tool?": "text", "bound": "flag"},
    "impersonate": {
        "user": "user",
        "reason": "text",
        "grant": "text",
        "attestation": "text",
        "ttl": "long",
        "time": "time",
    },
}
_ENTITIES: Final = """\
entity Group; entity Workload;
entity Agent in [Group] { workload: Set<Workload>, external: Bool };
entity User in [Group] { issuer: String };
entity Resource { binding: String, local: Bool };
entity Scope in [Resource] { name: String };
"""

MEMBERS: Final[Mapping[Action, Mapping[str, Kind]]] = {
    action: {name.rstrip("?"): kind for name, kind in members.items()} for action, members in _CONTEXT.items()
}
REQUIRED: Final[Mapping[Action, frozenset[str]]] = {
    action: frozenset(name for name in members if not name.endswith("?")) for action, members in _CONTEXT.items()
}
ENTITY_KINDS: Final[Mapping[Kind, str]] = {"agent": "Agent", "user": "User"}
_TYPES: Final[Mapping[Kind, type]] = {
    "text": str,
    "flag": bool,
    "long": int,
    "agent": str,
    "user": str,
    "time": int,
}
_LONG: Final = range(-(2**63), 2**63)
_TIME: Final = range(253_402_300_800)  # seconds: to the end of year 9999


def _action(action: Action) -> str:
    principal = "User" if action == "grant" else "Agent"
    record = ", ".join(f"{name}: {_CEDAR[kind]}" for name, kind in _CONTEXT[action].items())
    return f'action "{action}" appliesTo {{ principal: [{principal}], resource: [Scope], context: {{ {record} }} }};\n'


SCHEMA: Final = _ENTITIES + "".join(map(_action, _CONTEXT))


def problem(action: Action, context: Mapping[str, ContextValue]) -> str | None:
    """What keeps `context` from being exactly the schema's, or None."""
    members = MEMBERS[action]
    if not context.keys() >= REQUIRED[action]:
        return "context lacks " + ", ".join(sorted(REQUIRED[action] - context.keys()))
    for name, value in context.items():
        kind = members.get(name)
        if kind is None:
            return "context has a member that the schema has not"
        if type(value) is not _TYPES[kind]:
            return f"context.{name} is of another type"
        if type(value) is int and value not in (_TIME if kind == "time" else _LONG):
            return f"context.{name} is out of range"
    return None
