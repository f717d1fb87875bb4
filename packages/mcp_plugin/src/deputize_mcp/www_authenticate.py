"""`WWW-Authenticate`: written by the guard, read by the client (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1)."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_HEADER: Final = 8192  # characters that are looked at
MAX_SCOPES: Final = 32  # of one challenge; no operation of ours needs more

_TOKEN: Final = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105  # RFC 9110 `token`, a grammar
_PART: Final = re.compile(
    rf'[\s,]*(?:(?P<name>{_TOKEN})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))|(?P<scheme>{_TOKEN}))'
)
_ESCAPED: Final = re.compile(r"\\(.)")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a response. `scheme` and the names of `parameters` are in lower case."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def error(self) -> str | None:
        """RFC 6750 §3.1."""
        return self.parameters.get("error")

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it names; none where they are not scopes, or too many to be one operation's."""
        named = self.parameters.get("scope", "").split()
        if len(named) > MAX_SCOPES or not all(_SCOPE.match(scope) for scope in named):
            return frozenset()
        return frozenset(named)


def read_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge in the values of a response's `WWW-Authenticate` headers; what is malformed is skipped."""
    return [challenge for value in headers for challenge in _challenges(value[:MAX_HEADER])]


def _challenges(value: str) -> Iterator[Challenge]:
    scheme: str | None = None
    parameters: dict[str, str] = {}
    for part in _PART.finditer(value):
        if part["scheme"] is not None:
            if scheme is not None:
                yield Challenge(scheme, parameters)
            scheme, parameters = part["scheme"].lower(), {}
        elif scheme is not None:
            quoted = part["quoted"]
            text = part["plain"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
            parameters.setdefault(part["name"].lower(), text)
    if scheme is not None:
        yield Challenge(scheme, parameters)


def write_challenge(scheme: str, **parameters: str | None) -> str:
    """One challenge. Values are ours: URLs, scopes and codes, which hold neither quote nor backslash."""
    given = [f'{name}="{value}"' for name, value in parameters.items() if value is not None]
    return f"{scheme} {', '.join(given)}" if given else scheme
