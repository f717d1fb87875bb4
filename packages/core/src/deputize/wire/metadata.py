"""The authority's metadata: where its endpoints are and what it supports (RFC 8414 §2-3; RFC 9449 §5.1).

Whoever fetches it compares `issuer` with the one that was asked for and uses nothing of another's (§3.3).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from deputize.model.failure import InvalidRequest
from deputize.wire.json_strict import dumps, loads

WELL_KNOWN: Final = "/.well-known/oauth-authorization-server"
MAX_METADATA: Final = 64 * 1024  # bytes
PRIVATE_KEY_JWT: Final = "private_key_jwt"
SIGNING_ALGORITHMS: Final = ("ES256", "EdDSA", "RS256")  # never `none` (§2)
GRANT_TYPES: Final = (
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "client_credentials",
)
FEED: Final = "deputize_revocation_feed"  # our one member that no registry knows

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ENDPOINTS: Final = ("token_endpoint", "jwks_uri", "introspection_endpoint", "revocation_endpoint", FEED)
_NONE: Final = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What an authorization server says of itself. URLs are absolute; what is not there is None or empty."""

    issuer: str
    token_endpoint: str | None = None
    jwks_uri: str | None = None
    introspection_endpoint: str | None = None
    revocation_endpoint: str | None = None
    revocation_feed: str | None = None
    grant_types: tuple[str, ...] = ()
    client_authentication: tuple[str, ...] = ()
    client_algorithms: tuple[str, ...] = ()
    dpop_algorithms: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


def well_known_url(issuer: str) -> str:
    """Where the metadata of `issuer` lies: the well-known part goes before the path (RFC 8414 §3.1).

    Raises InvalidRequest (`invalid_issuer`).
    """
    parts = urlsplit(check_url(issuer))
    return urlunsplit((parts.scheme, parts.netloc, WELL_KNOWN + parts.path.rstrip("/"), "", ""))


def endpoint(issuer: str, name: str) -> str:
    """An endpoint below the issuer. Raises InvalidRequest (`invalid_issuer`)."""
    return f"{check_url(issuer).rstrip('/')}/{name}"


def check_url(url: str) -> str:
    """`url` if it is https, or http on the loopback, without query, fragment and user (RFC 8414 §2).

    Raises InvalidRequest (`invalid_issuer`).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _refused("it is no URL") from None
    if not url.isprintable() or not url.isascii() or " " in url or "\\" in url:
        raise _refused("it is not plain ASCII")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise _refused("it is https, or http on the loopback")
    if not parts.hostname or "@" in parts.netloc or "?" in url or "#" in url:
        raise _refused("it has a host, and no user, query or fragment")
    return url


def same_origin(url: str, issuer: str) -> bool:
    """Whether both are of one scheme, host and port, byte for byte."""
    here, there = urlsplit(url), urlsplit(issuer)
    return (here.scheme, here.netloc) == (there.scheme, there.netloc)


def metadata_of(issuer: str, *, scopes: Collection[str] = ()) -> dict[str, object]:
    """The metadata of our own authority at `issuer`, ready to be written as JSON.

    `authorization_response_iss_parameter_supported` and what else belongs to an authorization endpoint is absent:
    there is none, so `response_types_supported` is empty.
    """
    members: dict[str, object] = {
        "issuer": issuer,
        "token_endpoint": endpoint(issuer, "token"),
        "jwks_uri": endpoint(issuer, "jwks"),
        "introspection_endpoint": endpoint(issuer, "introspect"),
        "revocation_endpoint": endpoint(issuer, "revoke"),
        FEED: endpoint(issuer, "revocations"),
        "response_types_supported": [],
        "grant_types_supported": list(GRANT_TYPES),
        "dpop_signing_alg_values_supported": list(SIGNING_ALGORITHMS),
        "authorization_details_types_supported": ["urn:deputize:rights"],
    }
    for name in ("token", "introspection", "revocation"):
        members[f"{name}_endpoint_auth_methods_supported"] = [PRIVATE_KEY_JWT]
        members[f"{name}_endpoint_auth_signing_alg_values_supported"] = list(SIGNING_ALGORITHMS)
    if scopes:
        members["scopes_supported"] = sorted(scopes)
    return members


def build(issuer: str, *, scopes: Collection[str] = ()) -> bytes:
    """`metadata_of` as the body of a 200 answer, `application/json`."""
    return dumps(metadata_of(issuer, scopes=scopes))


def parse(raw: bytes, *, issuer: str) -> Metadata:
    """The metadata of `issuer`, and of nobody else (RFC 8414 §3.3). Members that are not known are passed over.

    Raises InvalidRequest: `metadata_malformed`, `wrong_issuer`.
    """
    if len(raw) > MAX_METADATA:
        raise _malformed("it is larger than 64 KiB")
    members = loads(raw, refuse=_malformed)
    if members.get("issuer") != issuer:
        raise InvalidRequest("the metadata is of another issuer than the one asked for", code="wrong_issuer")
    urls = {name: _url(members, name) for name in _ENDPOINTS}
    client = _names(members, "token_endpoint_auth_signing_alg_values_supported")
    dpop = _names(members, "dpop_signing_alg_values_supported")
    if _NONE in client or _NONE in dpop:
        raise _malformed("it announces `none` as a signature (RFC 8414 §2)")
    return Metadata(
        issuer=issuer,
        token_endpoint=urls["token_endpoint"],
        jwks_uri=urls["jwks_uri"],
        introspection_endpoint=urls["introspection_endpoint"],
        revocation_endpoint=urls["revocation_endpoint"],
        revocation_feed=urls[FEED],
        grant_types=_names(members, "grant_types_supported"),
        client_authentication=_names(members, "token_endpoint_auth_methods_supported"),
        client_algorithms=client,
        dpop_algorithms=dpop,
        scopes=_names(members, "scopes_supported"),
    )


def _url(members: Mapping[str, object], name: str) -> str | None:
    url = members.get(name)
    if url is None:
        return None
    if not isinstance(url, str):
        raise _malformed(f"{name} is a URL")
    try:
        return check_url(url)
    except InvalidRequest:
        raise _malformed(f"{name} is an https URL") from None


def _names(members: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = members.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _malformed(f"{name} is a list of names")
    return tuple(value)


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"not an authorization server's metadata: {reason}", code="metadata_malformed")


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"an issuer or endpoint is refused: {reason}", code="invalid_issuer")
