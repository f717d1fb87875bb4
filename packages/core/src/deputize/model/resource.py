"""Rights: pairs of a resource and a scope, never a bare scope.

Resource indicators: RFC 8707 §2. Scope tokens: RFC 6749 §3.3.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from deputize.model.failure import InvalidRequest

LOCAL_TOOLS: Final = "urn:deputize:tools"
TOOL_SCOPE_PREFIX: Final = "tool:"
MAX_RESOURCE: Final = 512  # characters
MAX_SCOPE: Final = 128  # characters

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}\Z")
_URN = re.compile(r"urn:[a-z0-9][a-z0-9-]{1,31}:[A-Za-z0-9._:/-]{1,200}\Z")
_PRINTABLE = re.compile(r"[\x21\x23-\x7e]{1,512}\Z")
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One thing that may be done: a scope at a resource. The unit of every ceiling."""

    resource: str
    scope: str

    @property
    def entity(self) -> str:
        """The id of its Cedar `Scope` entity: `<resource>#<scope>`; a resource has no fragment, so it is injective."""
        return f"{self.resource}#{self.scope}"

    def __str__(self) -> str:
        return f"{self.scope} at {self.resource}"


def check_scope(scope: str) -> str:
    """Return `scope` if it is one scope token. Raises InvalidRequest (`invalid_scope`)."""
    if not _SCOPE.match(scope):
        raise InvalidRequest(
            "a scope is 1-128 printable ASCII characters without space, quote or backslash",
            code="invalid_scope",
        )
    return scope


def parse_scope(text: str) -> tuple[str, ...]:
    """Split a `scope` parameter. An empty or repeated one is refused: it never means all."""
    scopes = tuple(text.split(" "))
    for scope in scopes:
        check_scope(scope)
    if len(set(scopes)) != len(scopes):
        raise InvalidRequest("a scope is named twice", code="invalid_scope")
    return scopes


def check_resource(resource: str) -> str:
    """Return `resource` if it is an acceptable resource indicator in its one canonical spelling.

    Absolute https URL (http on loopback only) or URN; no fragment, query, userinfo, default port, dot
    segments or upper-case host, so that `aud` can be compared byte for byte. Raises InvalidRequest
    (`invalid_target`).
    """
    if _URN.match(resource):
        return resource
    if not _PRINTABLE.match(resource):
        raise _bad_target("a resource is at most 512 printable ASCII characters")
    try:
        parts = urlsplit(resource)
        port = parts.port
    except ValueError:
        raise _bad_target("not a URL") from None
    _check_url(resource, parts, port)
    return resource


def _check_url(resource: str, parts: SplitResult, port: int | None) -> None:
    host = parts.hostname or ""
    problems = (
        (parts.scheme not in _DEFAULT_PORT, "a resource is an https URL or a URN"),
        (not host, "a resource names a host"),
        (parts.scheme == "http" and host not in LOOPBACK, "http is for loopback only"),
        ("#" in resource or "?" in resource, "a resource has no query and no fragment (RFC 8707 §2)"),
        ("@" in parts.netloc, "a resource carries no user information"),
        (
            not resource.startswith(f"{parts.scheme}://{parts.netloc.lower()}"),
            "scheme and host are lower case",
        ),
        (port is not None and port == _DEFAULT_PORT.get(parts.scheme), "the default port is left out"),
        (any(part in {".", ".."} for part in parts.path.split("/")), "a path has no dot segments"),
        ("\\" in resource or "%" in parts.netloc, "a resource is written plainly"),
    )
    for wrong, reason in problems:
        if wrong:
            raise _bad_target(reason)


def _bad_target(reason: str) -> InvalidRequest:
    return InvalidRequest(f"resource refused: {reason}", code="invalid_target")


def tool_right(tool: str) -> Right:
    """The right that a tool of the agent's own process needs when nothing else is registered."""
    return Right(LOCAL_TOOLS, check_scope(TOOL_SCOPE_PREFIX + tool))


def rights_of(resource: str, scopes: Iterable[str]) -> frozenset[Right]:
    """The Cartesian product for one resource (RFC 8693 §2.1.1 never applies to two)."""
    return frozenset(Right(resource, scope) for scope in scopes)
