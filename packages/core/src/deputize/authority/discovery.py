"""Finding an agent by a URL that somebody else wrote: fetched with care, believed by trusted keys alone."""

from typing import Final
from urllib.parse import urlsplit

from deputize.fetch import Fetcher
from deputize.fetch.target import at_loopback, is_loopback, parse
from deputize.issuers.keys import issuer_keys
from deputize.model.agent_card import AgentMetadata
from deputize.model.clock import Clock
from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.wire import agent_card
from deputize.wire.json_strict import dumps
from deputize.wire.jwk import parse_jwks
from deputize.wire.jws import KeyFor

_TYPES: Final = frozenset({"application/json", "application/a2a+json"})


def fetcher_for(issuer: str, clock: Clock, *, max_bytes: int = 2 * agent_card.MAX_CARD) -> Fetcher:
    """The way out to URLs from outside. The loopback is asked only by an authority that is there itself."""
    return Fetcher(clock=clock, loopback=at_loopback(issuer), max_bytes=max_bytes)


def discover(url: str, *, issuer: str, key_for: KeyFor, fetcher: Fetcher, loopback: bool, now: float) -> AgentMetadata:
    """The agent whose card is at `url`, or below it at the well-known place, as `issuer` signed it.

    `loopback`: whether an agent may be at this machine's own. Raises InvalidRequest (`fetch_refused`), InvalidToken
    (`card_unsigned`, `card_malformed`, `unknown_key`, `invalid_signature`, ...), AuthorityUnavailable.
    """
    card = agent_card.verify(fetcher.get(card_url(url), types=_TYPES).body, issuer=issuer, key_for=key_for, now=now)
    for interface in card.interfaces:
        target = parse(interface.url)
        if is_loopback(target.host) and not loopback:
            raise InvalidToken("the card sends its callers to themselves", code="card_malformed")
    return card


def card_url(url: str) -> str:
    """A card's own URL; of a bare origin the well-known place (A2A §8.2)."""
    try:
        path = urlsplit(url).path
    except ValueError:
        raise InvalidRequest("fetch refused: this is no URL", code="fetch_refused") from None
    return url.rstrip("/") + agent_card.WELL_KNOWN if path in {"", "/"} else url


def keys_of(jwks: list[dict[str, object]]) -> KeyFor:
    """The keys of a set that an authority told, by `kid`."""
    keys = parse_jwks(dumps({"keys": jwks}))
    return lambda header: keys.get(header.kid or "")


def keys_of_issuer(issuer: str, clock: Clock) -> KeyFor:
    """The keys of another issuer that whoever runs this process trusts, by its own metadata."""
    return issuer_keys(issuer, clock=clock).key_for
