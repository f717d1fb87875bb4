"""Where an issuer's keys are, by its own metadata (OpenID Connect Discovery 1.0 §4, RFC 8414 §3)."""

from typing import Final

from deputize.fetch import Fetcher
from deputize.fetch.target import parse
from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.wire.json_strict import loads

_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Where OpenID Connect puts the document (behind the path), and where RFC 8414 does (before it)."""
    scheme, _, rest = issuer.partition("://")
    host, slash, path = rest.partition("/")
    tail = (slash + path).rstrip("/")
    return issuer.rstrip("/") + _OPENID, f"{scheme}://{host}{_OAUTH}{tail}"


def discover(fetcher: Fetcher, issuer: str) -> dict[str, object]:
    """The metadata of `issuer`, which must name exactly this issuer (RFC 8414 §3.3).

    Raises InvalidRequest (`metadata_refused`, or `fetch_refused` where neither place has a document),
    AuthorityUnavailable (`fetch_failed`).
    """
    openid, oauth = metadata_urls(issuer)
    try:
        found = fetcher.get(openid, fresh=True)
    except InvalidRequest:
        found = fetcher.get(oauth, fresh=True)
    try:
        document = loads(found.body)
    except InvalidToken:
        raise _refused("is not a JSON object with one meaning") from None
    if document.get("issuer") != issuer:
        raise _refused("names another issuer")
    return document


def discover_jwks(fetcher: Fetcher, issuer: str) -> str:
    """The `jwks_uri` of `issuer`.

    The keys must be at its own origin: keys elsewhere are something that an operator writes down. Raises what
    `discover` does.
    """
    url = discover(fetcher, issuer).get("jwks_uri")
    if not isinstance(url, str) or parse(url).origin != parse(issuer).origin:
        raise _refused("puts the keys at another origin; name it in `jwks` if that is right")
    return url


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the issuer's metadata {reason}", code="metadata_refused")
