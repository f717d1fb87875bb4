"""Client metadata documents: a client whose name is the URL of what it says of itself.

Source: draft-ietf-oauth-client-id-metadata-document ("CIMD"); RFC 7591 §2 for the members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from deputize.model.failure import InvalidRequest
from deputize.wire.json_strict import dumps, loads
from deputize.wire.jwk import parse_jwks
from deputize.wire.metadata import GRANT_TYPES, PRIVATE_KEY_JWT, endpoint

MAX_DOCUMENT: Final = 5 * 1024  # bytes, as the draft recommends
SUFFIX: Final = "client.json"
AGENT: Final = "deputize_agent_id"
NONE: Final = "none"  # a public client
MALFORMED: Final = "client_metadata_malformed"
_MAX_URL: Final = 2048
_SECRETS: Final = ("client_secret", "client_secret_expires_at")
_URLS: Final = ("jwks_uri", "client_uri", "logo_uri", "tos_uri", "policy_uri")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetadata:
    """What a client says of itself. `jwks` is the canonical text of the set that it holds, `jwks_uri` where one is.

    `method` is how it authenticates: `private_key_jwt`, or `none` for a client that has no key.
    """

    client_id: str
    name: str
    method: str
    jwks: bytes | None = None
    jwks_uri: str | None = None
    redirect_uris: tuple[str, ...] = ()
    agent: str | None = None


def url_of(issuer: str, name: str) -> str:
    """The `client_id` under which an agent of ours is known to authorization servers that are not ours."""
    return endpoint(issuer, f"agents/{name}/{SUFFIX}")


def build(url: str, *, name: str, agent: str) -> bytes:
    """The document of an agent of ours: whose it is, and that no secret proves it.

    It holds no keys: an agent's live in the memory of its process, as long as that, and are proved by its identity.
    """
    return dumps(
        {
            "client_id": url,
            "client_name": name,
            "token_endpoint_auth_method": PRIVATE_KEY_JWT,
            "grant_types": list(GRANT_TYPES),
            "response_types": [],
            AGENT: agent,
        }
    )


def check_client_id(url: str, *, loopback: bool = False) -> str:
    """`url` if it can be the name of such a client: https, a path, no dot segment, fragment, user or query.

    `loopback`: http is good at this machine's own address. Raises InvalidRequest (`client_metadata_malformed`).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _refused("its name is no URL") from None
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > _MAX_URL:
        raise _refused("its name is not plain ASCII")
    local = loopback and parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1", "localhost"}
    if parts.scheme != "https" and not local:
        raise _refused("its name is not https")
    if not parts.hostname or "@" in parts.netloc or "#" in url or "?" in url:
        raise _refused("its name has no host, or has a user, query or fragment")
    segments = parts.path.lower().replace("%2e", ".").split("/")
    if parts.path in {"", "/"} or "." in segments or ".." in segments:
        raise _refused("its name has no path, or one with dot segments")
    return url


def parse(raw: bytes, *, url: str, loopback: bool = False) -> ClientMetadata:
    """The document of the client that is called `url`, and of no other. Raises InvalidRequest."""
    if len(raw) > MAX_DOCUMENT:
        raise _refused("it is longer than 5 KiB")
    members = loads(raw, refuse=_refused)
    if members.get("client_id") != check_client_id(url, loopback=loopback):
        raise _refused("it is of another client than its URL says")
    if any(name in members for name in _SECRETS):
        raise _refused("it holds a secret")
    nested = {name: _url(members, name, loopback=loopback) for name in _URLS}
    jwks = _keys(members)
    if jwks is not None and nested["jwks_uri"] is not None:
        raise _refused("it holds keys and says that they are elsewhere (RFC 7591 §2)")
    keyed = jwks is not None or nested["jwks_uri"] is not None
    method = members.get("token_endpoint_auth_method", PRIVATE_KEY_JWT if keyed else NONE)
    if method not in (PRIVATE_KEY_JWT, NONE):
        raise _refused("it authenticates by a shared secret, or in a way that is not known")
    if keyed is not (method == PRIVATE_KEY_JWT):
        raise _refused("a client with keys authenticates by them, and one without has none to do so")
    name = members.get("client_name", url)
    agent = members.get(AGENT)
    if not isinstance(name, str) or not (agent is None or isinstance(agent, str)):
        raise _refused("a name is text")
    return ClientMetadata(
        client_id=url,
        name=name[:256],
        method=method,
        jwks=jwks,
        jwks_uri=nested["jwks_uri"],
        redirect_uris=_redirects(members),
        agent=agent,
    )


def _keys(members: Mapping[str, object]) -> bytes | None:
    if "jwks" not in members:
        return None
    raw = dumps(members["jwks"])
    try:
        if not parse_jwks(raw):
            raise _refused("none of its keys can be used")
    except InvalidRequest:
        raise _refused("its keys are no public key set") from None
    return raw


def _url(members: Mapping[str, object], name: str, *, loopback: bool) -> str | None:
    """Every URL in the document is one that could be fetched; whoever fetches it checks the address as well."""
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refused(f"{name} is a URL")
    return check_client_id(value, loopback=loopback)


def _redirects(members: Mapping[str, object]) -> tuple[str, ...]:
    value = members.get("redirect_uris", [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _refused("redirect_uris are a list of URLs")
    return tuple(value)


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"no client metadata document: {reason}", code=MALFORMED)
