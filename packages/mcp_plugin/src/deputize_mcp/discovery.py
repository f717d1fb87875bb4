"""Which resource a URL belongs to: protected resource metadata (RFC 9728), read before any token is sent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from deputize_mcp.failure import ResourceMismatch

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
MAX_DOCUMENT: Final = 65_536  # bytes
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ResourceMetadata:
    """What matters of the document."""

    resource: str
    authorization_servers: tuple[str, ...]


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port, as RFC 6454 §4 compares them. Raises ResourceMismatch for what is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ResourceMismatch("not a URL that a token could be sent to") from None
    return parts.scheme, (parts.hostname or "").lower(), port or _DEFAULT_PORTS.get(parts.scheme)


def metadata_urls(identifier: str) -> tuple[str, ...]:
    """Where the metadata of a resource lie: with its path inserted (RFC 9728 §3.1), then at the root."""
    parts = urlsplit(identifier)
    base = f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}"
    path = parts.path.rstrip("/")
    return (base + path, base) if path else (base,)


def parse_metadata(document: bytes) -> ResourceMetadata:
    """Read the document. Raises ResourceMismatch where it is none."""
    try:
        members = json.loads(document) if len(document) <= MAX_DOCUMENT else None
    except (ValueError, RecursionError):
        members = None
    resource = members.get("resource") if isinstance(members, dict) else None
    if not isinstance(members, dict) or not isinstance(resource, str):
        raise ResourceMismatch("the server's resource metadata name no resource")
    servers = members.get("authorization_servers", [])
    if not isinstance(servers, list) or not all(isinstance(server, str) for server in servers):
        raise ResourceMismatch("the server's resource metadata do not have their form")
    return ResourceMetadata(resource, tuple(servers))


def check_target(endpoint: str, resource: str) -> None:
    """Refuse to send a token for `resource` to `endpoint` unless that lies at or below it, on its origin."""
    if origin(endpoint) != origin(resource):
        raise ResourceMismatch("the URL of the request is not on the origin of the resource")
    path, wanted = urlsplit(endpoint).path.rstrip("/"), urlsplit(resource).path.rstrip("/")
    if path != wanted and not path.startswith(wanted + "/"):
        raise ResourceMismatch("the URL of the request does not lie below the resource")
    if any(segment in {".", ".."} for segment in path.split("/")) or "%" in path.removeprefix(wanted):
        raise ResourceMismatch("the URL of the request is not written plainly")


def check_metadata(found: ResourceMetadata, *, expected: str | None, endpoint: str, issuer: str) -> str:
    """The resource that tokens for `endpoint` are for. Raises ResourceMismatch.

    `expected` (said by the user) has to equal the document's byte for byte; without it the document's own name
    counts where the endpoint lies at or below it. The session's authority has to be among the servers named.
    """
    if expected is not None and found.resource != expected:
        raise ResourceMismatch("the server calls itself another resource than the one that was asked for")
    check_target(endpoint, found.resource)
    if found.authorization_servers and not _names(found.authorization_servers, issuer):
        raise ResourceMismatch("the server does not take tokens of this session's authority")
    return found.resource


def _names(servers: Sequence[str], issuer: str) -> bool:
    """Exact, but for one slash at the end of an issuer without a path, which URL types of others add."""
    return any(server == issuer or (server == issuer + "/" and urlsplit(issuer).path == "") for server in servers)
