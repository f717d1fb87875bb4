"""Scopes as people write them, turned into rights."""

from collections.abc import Sequence

from deputize.model.failure import InvalidRequest
from deputize.model.registry import Registry
from deputize.model.resource import Right, check_scope, tool_right


def rights_from(
    registry: Registry, scopes: Sequence[str] | None, resources: Sequence[str] | None
) -> frozenset[Right] | None:
    """The rights that `scopes` and `resources` (aliases or URLs) name; None where both were left out.

    Scopes alone: each belongs to one registered resource, or is a tool of the agent's own process. Resources
    alone: all of their scopes. Both: each scope exists at one of the resources at least. Raises InvalidRequest.
    """
    if scopes is None and resources is None:
        return None
    if isinstance(scopes, str) or isinstance(resources, str):
        raise InvalidRequest("scopes and resources are lists of strings, not one string")
    entries = list(registry.resources.values()) if resources is None else [registry.resource(r) for r in resources]
    if scopes is None:
        return frozenset(right for entry in entries for right in entry.rights)
    found: set[Right] = set()
    for scope in scopes:
        check_scope(scope)
        homes = [entry for entry in entries if scope in entry.scopes]
        local = tool_right(scope)
        if not homes and any(entry.url == local.resource and local.scope in entry.scopes for entry in entries):
            found.add(local)
            continue
        if len(homes) > 1 and resources is None:
            names = " and ".join(sorted(entry.alias for entry in homes))
            raise InvalidRequest(f"the scope exists at {names}; say which: resources=[...]", code="invalid_scope")
        if not homes:
            raise InvalidRequest("no such scope is registered there", code="invalid_scope")
        found.update(Right(entry.url, scope) for entry in homes)
    return frozenset(found)
