"""Policies of an included file speak of agents of its own namespace, and of nobody else.

Held on the engine's own JSON form of a policy, where the scope cannot be dressed up: whatever a condition says,
a policy applies to no principal that its scope does not name.
"""

from collections.abc import Mapping
from typing import Final

from deputize.model.failure import ConfigurationError
from deputize.policy.entities import uid_of
from deputize.policy.rules import Statement
from deputize.policy.statements import Est
from deputize.policy.text import Uid

_OF_AGENTS: Final = frozenset({"open", "delegate", "use", "impersonate"})
_GRANT: Final = "grant"


def check_namespace(statement: Statement, est: Est, trust_domain: str) -> None:
    """Raise ConfigurationError, with file and line, for a policy that could reach beyond its namespace."""
    namespace = statement.namespace
    if not namespace:
        return
    principal = est.get("principal")
    reason = _reach(principal if isinstance(principal, Mapping) else {}, est, namespace, trust_domain)
    if reason is not None:
        raise ConfigurationError(reason, path=statement.path, line=statement.line, key=statement.id)


def _reach(principal: Mapping[str, object], est: Est, namespace: str, trust_domain: str) -> str | None:
    """What lets the policy reach beyond its namespace, or None."""
    own = f'principal == Agent::"spiffe://{trust_domain}/agent/{namespace}/..."'
    group = f'principal is Agent in Group::"{namespace}/..."'
    op = principal.get("op")
    if op == "==":
        kind, name = uid_of(principal.get("entity"))
        if kind == "Agent" and name.startswith(f"spiffe://{trust_domain}/agent/{namespace}/"):
            return None
    elif op == "is" and principal.get("entity_type") == "Agent":
        inner = principal.get("in")
        if isinstance(inner, Mapping) and _is_group(uid_of(inner.get("entity")), namespace):
            return None
    elif op == "in" and _is_group(uid_of(principal.get("entity")), namespace):
        # A group of a user's token may go by any name, so that only what no user is asked for is safe.
        if _actions(est) <= _OF_AGENTS:
            return None
        return f'"{_GRANT}" is about users, who are not of a namespace: write {group}, or name the actions'
    return f'a policy of namespace "{namespace}" names an agent or group of it: {own}, or {group}'


def _is_group(uid: Uid, namespace: str) -> bool:
    return uid[0] == "Group" and uid[1].startswith(f"{namespace}/")


def _actions(est: Est) -> frozenset[str]:
    """The actions that the scope names; all of them where it names none."""
    action = est.get("action")
    if isinstance(action, Mapping):
        entities = action.get("entities")
        named = entities if isinstance(entities, list) else [action.get("entity")]
        if action.get("op") in {"==", "in"}:
            return frozenset(uid_of(item)[1] for item in named)
    return _OF_AGENTS | {_GRANT}
