"""The two ways in which a fetch comes to nothing. Messages name the rule, never the URL or what it answered."""

from typing import Final

from deputize.model.failure import AuthorityUnavailable, InvalidRequest

REFUSED: Final = "fetch_refused"
FAILED: Final = "fetch_failed"


def refused(reason: str) -> InvalidRequest:
    """We do not go there, or do not take what came: asking again changes nothing."""
    return InvalidRequest(f"fetch refused: {reason}", code=REFUSED)


def failed(reason: str) -> AuthorityUnavailable:
    """It could not be had now: the network, the name, the time or the other side failed."""
    return AuthorityUnavailable(f"fetch failed: {reason}", code=FAILED)
