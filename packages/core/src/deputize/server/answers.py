"""Answers: never cached, refusals in the one shape (RFC 6749 §5.1-5.2)."""

import math
from collections.abc import Mapping

from starlette.responses import Response

from deputize.errors import oauth_error
from deputize.model.failure import AuthorityUnavailable, DeputizeError, IntegrityError, StoreError
from deputize.wire import error_answer
from deputize.wire.json_strict import dumps

UNAUTHORIZED = 401
_TOO_MANY = 429
_UNREAD = frozenset({"too_large", "too_slow", "disconnected"})
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_BEFORE_AUTHENTICATION = frozenset({"invalid_client"})


def json(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON that no cache keeps."""
    return Response(body, status, {**_NO_STORE, **(headers or {})}, "application/json")


def members(**told: object) -> Response:
    """A JSON object."""
    return json(dumps(told))


def refusal(error: DeputizeError, *, authenticated: bool, status: int | None = None) -> Response:
    """The refusal of a request. A failure of the store is told as unavailability, without what failed.

    `status` takes the place of the one that the table of `deputize.errors` names.
    """
    if isinstance(error, StoreError | IntegrityError):
        shown = AuthorityUnavailable("the authority cannot decide now; nothing was permitted")
        shown.reference = error.reference
        error = shown
    answer = oauth_error(error)
    status = _TOO_MANY if error.code == "rate_limited" else status or answer.status
    headers: dict[str, str] = {}
    if isinstance(error, AuthorityUnavailable):
        headers["Retry-After"] = str(math.ceil(error.retry_after or 1))
    if status == UNAUTHORIZED:
        headers["WWW-Authenticate"] = f'DPoP error="{answer.error}"'
    if error.code in _UNREAD:  # what is left of the request would be taken for the next one
        headers["Connection"] = "close"
    tells = authenticated and error.code not in _BEFORE_AUTHENTICATION
    return json(error_answer.encode(error, answer.error, authenticated=tells), status=status, headers=headers)
