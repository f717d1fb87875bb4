"""Everything that can go wrong, and what it is over HTTP.

DeputizeError                    code, reference
├── Denied                       policy, a ceiling or a session's state refused; `.denial` is data
│   ├── SessionEnded             expired, closed or revoked, in itself or from above
│   ├── NoSession                called outside a delegated session; nothing was executed
│   └── UnknownAgent             an agent runs that the registry does not name
├── InvalidRequest               malformed, above a limit, or contradicting an earlier use of its key
│   └── InvalidToken             a token, proof or key that does not hold
├── ConfigurationError           path, line, key
├── AuthorityUnavailable         retry_after; nothing was permitted
├── StoreError                   nothing was issued
├── AttestationFailed            evidence did not prove what was claimed
├── IntegrityError               the log, or a row that points into it, does not hold
└── NotFound                     no such session, record or reference
"""

from dataclasses import dataclass
from typing import Final

from deputize.model.failure import (
    AttestationFailed,
    AuthorityUnavailable,
    ConfigurationError,
    Denial,
    Denied,
    DeputizeError,
    IntegrityError,
    InvalidRequest,
    InvalidToken,
    NoSession,
    NotFound,
    SessionEnded,
    StoreError,
    UnknownAgent,
)

__all__ = [
    "AttestationFailed",
    "AuthorityUnavailable",
    "ConfigurationError",
    "Denial",
    "Denied",
    "DeputizeError",
    "IntegrityError",
    "InvalidRequest",
    "InvalidToken",
    "NoSession",
    "NotFound",
    "OAuthError",
    "SessionEnded",
    "StoreError",
    "UnknownAgent",
    "oauth_error",
]


@dataclass(frozen=True, slots=True)
class OAuthError:
    """What a token endpoint answers: HTTP status and `error` (RFC 6749 §5.2, RFC 8693 §2.2.2)."""

    status: int
    error: str


_BY_CODE: Final = {
    "invalid_target": OAuthError(400, "invalid_target"),
    "invalid_scope": OAuthError(400, "invalid_scope"),
    "invalid_grant": OAuthError(400, "invalid_grant"),
    "invalid_client": OAuthError(401, "invalid_client"),
    "agent_suspended": OAuthError(401, "invalid_client"),
    "invalid_dpop_proof": OAuthError(400, "invalid_dpop_proof"),
    "use_dpop_nonce": OAuthError(400, "use_dpop_nonce"),
    "unsupported_grant_type": OAuthError(400, "unsupported_grant_type"),
    "insufficient_scope": OAuthError(403, "insufficient_scope"),
    "insufficient_role": OAuthError(403, "insufficient_scope"),  # RFC 6750 §3.1: more privilege is needed
}
# RFC 8693 §2.2.2: a subject or actor token that is invalid, or unacceptable by policy, is `invalid_request`.
_BY_TYPE: Final[tuple[tuple[type[DeputizeError], OAuthError], ...]] = (
    (InvalidRequest, OAuthError(400, "invalid_request")),
    (Denied, OAuthError(400, "invalid_request")),
    (AttestationFailed, OAuthError(401, "invalid_client")),
    (NotFound, OAuthError(404, "not_found")),
    (AuthorityUnavailable, OAuthError(503, "temporarily_unavailable")),
    (StoreError, OAuthError(503, "temporarily_unavailable")),
)


def oauth_error(error: DeputizeError) -> OAuthError:
    """The one mapping from a failure to HTTP; what has none is a server error."""
    known = _BY_CODE.get(error.code)
    if known is not None:
        return known
    return next((answer for kind, answer in _BY_TYPE if isinstance(error, kind)), OAuthError(500, "server_error"))
