"""Rules over the claims of evidence: what a workload's token, or the kernel, has to say for a rule to hold.

A rule names claims by their path, one element for each level: `("kubernetes.io", "namespace")` is the member
`namespace` of the claim `kubernetes.io`. In the configuration it is TOML's own key, with a name that holds dots in
quotes: `"kubernetes.io".namespace = "churn"`. So a path has one reading, whatever dots a token's claims hold.

A value is compared as text, exactly. A final `*` stands for any rest, and only behind `/` or `:`: `repo:acme/*` does
not match `repo:acme-evil/x`. A claim that is missing, or is no text, matches nothing.
"""

from collections.abc import Mapping
from typing import Final

from deputize.model.failure import InvalidRequest

ClaimPath = tuple[str, ...]
Match = Mapping[ClaimPath, str]

WILDCARD: Final = "*"
_BEFORE_WILDCARD: Final = ("/", ":")
MAX_DEPTH: Final = 8  # levels of a path
MAX_VALUE: Final = 512  # characters


def check_value(value: str) -> str:
    """Return `value` if a claim can be compared with it. Raises InvalidRequest."""
    if not value or len(value) > MAX_VALUE or not value.isprintable():
        raise InvalidRequest("a value is 1-512 printable characters")
    prefix = value.removesuffix(WILDCARD)
    if WILDCARD in prefix:
        raise InvalidRequest("a * stands at the end and nowhere else")
    if prefix != value and not prefix.endswith(_BEFORE_WILDCARD):
        raise InvalidRequest("a final * stands behind / or :, or what only begins alike would match too")
    return value


def flatten(table: Mapping[str, object], *, above: ClaimPath = ()) -> dict[ClaimPath, str]:
    """The paths and values of a table of tables. Raises InvalidRequest for other values, and where it is too deep."""
    found: dict[ClaimPath, str] = {}
    for name, value in table.items():
        path = (*above, name)
        if not name or len(path) > MAX_DEPTH:
            raise InvalidRequest("a claim's path is 1-8 names")
        if isinstance(value, str):
            found[path] = value
        elif isinstance(value, Mapping) and value:
            found |= flatten(value, above=path)
        else:
            raise InvalidRequest("a claim is compared with text, a table of claims is not empty")
    return found


def holds(match: Match, claims: Mapping[str, object]) -> bool:
    """Whether every claim that the rule names is there and is as it says. No rule without claims holds."""
    return bool(match) and all(_same(pattern, _claim(claims, path)) for path, pattern in match.items())


def overlap(one: Match, other: Match) -> bool:
    """Whether a token could match both: nothing that both name tells them apart."""
    return all(_compatible(pattern, other[path]) for path, pattern in one.items() if path in other)


def _claim(claims: Mapping[str, object], path: ClaimPath) -> object:
    found: object = claims
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return found


def _same(pattern: str, value: object) -> bool:
    if not isinstance(value, str):
        return False
    prefix = pattern.removesuffix(WILDCARD)
    return value == pattern if prefix == pattern else value.startswith(prefix)


def _compatible(one: str, other: str) -> bool:
    prefix, other_prefix = one.removesuffix(WILDCARD), other.removesuffix(WILDCARD)
    if prefix == one:
        return _same(other, one)
    if other_prefix == other:
        return _same(one, other)
    return prefix.startswith(other_prefix) or other_prefix.startswith(prefix)
