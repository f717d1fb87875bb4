"""`Authority(agents=..., resources=..., delegations=...)`: the shorthand of `deputize.toml`, for prototypes."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from deputize.config.blame import Blame
from deputize.config.build import LOCAL
from deputize.config.configuration import Configuration
from deputize.config.lines import KeyPath
from deputize.config.load import from_data
from deputize.model.failure import ConfigurationError
from deputize.model.identity import confusable_key
from deputize.model.resource import TOOL_SCOPE_PREFIX

Lists = Mapping[str, Sequence[str]]
Scoped = dict[str, set[str]]  # alias -> scopes, or tool names for `local`

_NO_LABEL = re.compile(r"(?:www|api|localhost|[0-9.]+)\Z")


def from_mappings(
    *,
    agents: Lists | None = None,
    resources: Lists | None = None,
    delegations: Lists | None = None,
    store: str = ":memory:",
) -> Configuration:
    """A configuration from three mappings. Raises ConfigurationError.

    Args:
        agents: Name -> what it may use: scopes of a declared resource, else names of tools of the process.
            A scope that two resources have is written `<url>#<scope>`.
        resources: URL -> its scopes.
        delegations: Name -> the agents that it may hand on to. It may pass on, not use, whatever those below
            it may hold.
        store: `:memory:`, a path, or a URL as in `[store]`.

    Every agent may open a root session, and every user may use every agent.
    """
    blame = Blame()
    names, targets = _lists(agents, "agents"), _lists(delegations, "delegations")
    homes = _aliases(_lists(resources, "resources"))
    for delegator, below in targets.items():
        for name in (delegator, *below):
            if name not in names:
                raise blame.error(("delegations", delegator), f'"{name[:64]}" is not among agents')
    index = _Homes(homes)
    use = {name: _scoped(name, scopes, index, blame) for name, scopes in names.items()}
    held = _below(use, targets)
    document = {
        "authority": {"users": "unrestricted"},
        "store": {"url": _store_url(store)},
        "resources": {alias: {"url": url, "scopes": list(scopes)} for alias, (url, scopes) in homes.items()},
        "agents": {
            name: {
                "open": True,
                "use": _plain(use[name]),
                "delegate": _plain(held[name]),
                "delegate_to": list(targets.get(name, ())),
            }
            for name in names
        },
        "policy": {"files": []},
    }
    return from_data(document, blame)


def _lists(value: object, key: str) -> dict[str, tuple[str, ...]]:
    """Checked, since a text in place of a list would be read letter by letter."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{key}: is a mapping of names to lists", key=key)
    lists: dict[str, tuple[str, ...]] = {}
    for name, given in value.items():
        items = sorted(given, key=str) if isinstance(given, set | frozenset) else given
        plain = isinstance(items, Sequence) and not isinstance(items, str | bytes)
        if not isinstance(name, str) or not plain or not all(isinstance(item, str) for item in items):
            raise ConfigurationError(f"{key}: each name stands for a list of texts", key=key)
        lists[name] = tuple(items)
    return lists


def _aliases(resources: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, tuple[str, ...]]]:
    homes: dict[str, tuple[str, tuple[str, ...]]] = {}
    taken = {confusable_key(LOCAL)}
    for url, scopes in resources.items():
        stem = _stem(url)
        alias, count = stem, 1
        while confusable_key(alias) in taken:
            count += 1
            alias = f"{stem}-{count}"
        taken.add(confusable_key(alias))
        homes[alias] = (url, scopes)
    return homes


def _stem(url: str) -> str:
    """A short name out of a URL: `https://crm.example/mcp` is `crm`. Only for people; the URL decides."""
    try:
        parts = urlsplit(url)
        labels = (parts.hostname or "").split(".")
    except ValueError:
        return "resource"
    path = [part for part in re.split(r"[/:]", parts.path) if part]
    named = [label for label in labels if label and not _NO_LABEL.match(label)]
    stem = (named or path[-1:] or ["resource"])[0]
    return re.sub(r"[^A-Za-z0-9-]", "-", stem).strip("-")[:48] or "resource"


class _Homes:
    """Where each scope is declared, and which resource goes by which name."""

    def __init__(self, homes: Mapping[str, tuple[str, Sequence[str]]]) -> None:
        self.scopes: dict[str, list[str]] = {}
        self.names: dict[str, str] = {}
        self.urls: dict[str, str] = {}
        for alias, (url, scopes) in homes.items():
            self.names.update({alias: alias, url: alias})
            self.urls[alias] = url
            for scope in dict.fromkeys(scopes):
                self.scopes.setdefault(scope, []).append(alias)

    def family(self, scope: str) -> list[str]:
        """Declared scopes with the same first part: `crm:raed` has `crm:read`."""
        prefix, colon, _ = scope.partition(":")
        return sorted(known for known in self.scopes if colon and known.startswith(f"{prefix}:"))


def _scoped(name: str, scopes: Sequence[str], homes: _Homes, blame: Blame) -> Scoped:
    found: Scoped = {}
    for index, scope in enumerate(scopes):
        alias, right = _home(scope, homes, ("agents", name, index), blame)
        found.setdefault(alias, set()).add(right)
    return found


def _home(scope: str, homes: _Homes, at: KeyPath, blame: Blame) -> tuple[str, str]:
    """Which resource has this scope: exactly one that declares it, the one written before `#`, else `local`."""
    declared = homes.scopes.get(scope, [])
    if len(declared) > 1:
        urls = " and ".join(sorted(homes.urls[alias] for alias in declared))
        raise blame.error(at, f"is a scope of {urls}; write <url>#<scope>")
    if declared:
        return declared[0], scope
    where, hash_sign, rest = scope.partition("#")
    alias = homes.names.get(where) if hash_sign else None
    if alias is not None:
        if alias not in homes.scopes.get(rest, []):
            raise blame.error(at, f"is no scope of {homes.urls[alias]}")
        return alias, rest
    family = [] if scope.startswith(TOOL_SCOPE_PREFIX) else homes.family(scope)
    if family:  # a slip of the pen beside a declared scope, not the name of a tool
        raise blame.error(at, "no resource has this scope; declared: " + ", ".join(family[:5]))
    return LOCAL, scope.removeprefix(TOOL_SCOPE_PREFIX)


def _below(use: Mapping[str, Scoped], targets: Mapping[str, Sequence[str]]) -> dict[str, Scoped]:
    """For each agent, all that the agents reachable from it may use."""
    held: dict[str, Scoped] = {}
    for name in use:
        seen: set[str] = set()
        queue = list(targets.get(name, ()))
        gathered: Scoped = {}
        while queue:
            other = queue.pop()
            if other in seen:
                continue
            seen.add(other)
            queue.extend(targets.get(other, ()))
            for alias, scopes in use[other].items():
                gathered.setdefault(alias, set()).update(scopes)
        held[name] = gathered
    return held


def _plain(scoped: Scoped) -> dict[str, list[str]]:
    return {alias: sorted(scopes) for alias, scopes in sorted(scoped.items())}


def _store_url(store: str) -> str:
    return store if store.startswith(("sqlite:", "postgresql:", "postgres:")) else f"sqlite:{store}"
