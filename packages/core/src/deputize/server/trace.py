"""What is known of one request while it is answered: for logs, figures and spans, and for nothing that decides."""

import secrets
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import HTTPConnection

from deputize.model.failure import DeputizeError

TRACE: Final = "deputize.trace"  # of a request's state
_BYTES: Final = 9


@dataclass(slots=True)
class Trace:
    """One request. `agent` or `operator` is set once its caller has authenticated; `code` is why it was refused.

    `direct`: no proxy stood between, or only trusted ones.
    """

    id: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES))
    address: str = ""
    direct: bool = True
    agent: str | None = None
    operator: str | None = None
    sid: str | None = None
    txn: str | None = None
    code: str | None = None

    @property
    def authenticated(self) -> bool:
        """Whether it is known who asks."""
        return self.agent is not None or self.operator is not None

    def refused(self, error: DeputizeError) -> None:
        """Remember why. `invalid_client` tells nothing, so its own reason is kept here."""
        cause = error.__cause__
        self.code = cause.code if error.code == "invalid_client" and isinstance(cause, DeputizeError) else error.code


def trace_of(request: HTTPConnection) -> Trace:
    """The trace of a request; a new one where nothing keeps any."""
    found = request.scope.setdefault("state", {}).get(TRACE)
    if isinstance(found, Trace):
        return found
    made = Trace()
    request.scope["state"][TRACE] = made
    return made
