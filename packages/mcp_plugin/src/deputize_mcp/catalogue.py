"""Which scopes an operation needs. What is not listed is refused."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from deputize.errors import ConfigurationError
from deputize_mcp.body import Kind, Operation

Unlisted = Literal["deny", "base"]
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")  # RFC 6749 §3.3
_EXPRESSION: Final = re.compile(r"\{(\+?)([A-Za-z0-9_.]+)(\*?)\}")

# Requests that name no object. Notifications count among them; any other method is unlisted.
_PLAIN: Final = frozenset({
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "logging/setLevel",
    "subscriptions/listen",
})  # fmt: skip
_NOTIFICATIONS: Final = "notifications/"


class Unavailable(Exception):
    """The operation is not listed: no scope would make it available."""


@dataclass(frozen=True, slots=True)
class _Template:
    pattern: re.Pattern[str]
    scopes: frozenset[str]


class Catalogue:
    """The scopes of every operation of one server. Immutable once built.

    `tools`, `prompts` and `resources` map a name (a URI, or a URI template with `{name}`, `{+name}`, `{name*}`)
    to the scopes of one use, beside `base_scopes`, which every message needs. `unlisted`: "deny", or "base" to
    let tools, prompts and methods that are not listed through with the base scopes; a resource that is not
    listed follows that only while no resource is listed at all, since URIs have many spellings.
    Raises ConfigurationError for what is not a scope or a template.
    """

    def __init__(
        self,
        *,
        tools: Mapping[str, Sequence[str]] | None = None,
        prompts: Mapping[str, Sequence[str]] | None = None,
        resources: Mapping[str, Sequence[str]] | None = None,
        base_scopes: Sequence[str] = (),
        unlisted: str = "deny",
        declared: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        if unlisted not in {"deny", "base"}:
            raise ConfigurationError('unlisted is "deny" or "base"', key="unlisted")
        self.base = _scopes(base_scopes, "base_scopes")
        listed = _table(tools, "tools")
        for name, scopes in (declared or {}).items():
            if listed.setdefault(name, scopes) != scopes:
                raise ConfigurationError(
                    f'tool "{name[:64]}" needs other scopes by tools= than by @requires: say it once', key="tools"
                )
        self._listed: dict[Kind, dict[str, frozenset[str]]] = {
            "tool": listed,
            "prompt": _table(prompts, "prompts"),
            "resource": _table(resources, "resources"),
        }
        self._templates = [
            _Template(_template(uri), scopes) for uri, scopes in self._listed["resource"].items() if "{" in uri
        ]
        self._open = unlisted == "base"

    @property
    def tools(self) -> Mapping[str, frozenset[str]]:
        """Every listed tool with its own scopes."""
        return self._listed["tool"]

    @property
    def all_scopes(self) -> tuple[str, ...]:
        """Every scope that some operation needs, sorted: RFC 9728 `scopes_supported`."""
        named = (scopes for table in self._listed.values() for scopes in table.values())
        return tuple(sorted(self.base.union(*named)))

    def scopes_for(self, operation: Operation) -> frozenset[str]:
        """All scopes of the operation, the base scopes among them. Raises Unavailable."""
        kind = operation.kind
        if kind is None:
            return self._plain(operation.method)
        return self.base.union(*(self._named(kind, name) for name in operation.names))

    def _plain(self, method: str | None) -> frozenset[str]:
        if method is None or method in _PLAIN or method.startswith(_NOTIFICATIONS) or self._open:
            return self.base
        raise Unavailable

    def _named(self, kind: Kind, name: str) -> frozenset[str]:
        table = self._listed[kind]
        found = table.get(name)
        if found is not None:
            return found
        if kind == "resource":
            matching = [entry.scopes for entry in self._templates if entry.pattern.fullmatch(name)]
            if matching:
                return frozenset().union(*matching)
        if self._open and not (kind == "resource" and table):
            return self.base
        raise Unavailable


def _table(given: Mapping[str, Sequence[str]] | None, key: str) -> dict[str, frozenset[str]]:
    return {name: _scopes(scopes, f"{key}.{name[:64]}") for name, scopes in (given or {}).items()}


def _scopes(given: Sequence[str], key: str) -> frozenset[str]:
    if isinstance(given, str):
        raise ConfigurationError("scopes are a list, not one string", key=key)
    if not all(_SCOPE.match(str(scope)) for scope in given):
        raise ConfigurationError("a scope is 1-128 printable ASCII characters without space or quote", key=key)
    return frozenset(str(scope) for scope in given)


def _template(uri: str) -> re.Pattern[str]:
    """The URIs that a template stands for: RFC 6570 simple and reserved expansion, no more."""
    text, last = "", 0
    for found in _EXPRESSION.finditer(uri):
        text += re.escape(uri[last : found.start()])
        text += ".+" if found[1] or found[3] else "[^/?#]+"
        last = found.end()
    rest = uri[last:]
    if "{" in rest or "}" in rest or "{" in _EXPRESSION.sub("", uri):
        raise ConfigurationError("a resource template may use {name}, {+name} and {name*}", key="resources")
    return re.compile(text + re.escape(rest), re.DOTALL)
