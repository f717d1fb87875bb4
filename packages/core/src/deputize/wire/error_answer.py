"""Refusals over HTTP: the OAuth error, and code, policy and reference as members of ours (RFC 6749 §5.2).

The one who asked reads code, policy and reference; what was asked and what would be enough is the operator's, by
reference. Before a caller is authenticated nothing is told but `error`.
"""

from collections.abc import Callable, Mapping
from typing import Final

from deputize.model.failure import (
    AttestationFailed,
    AuthorityUnavailable,
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
    plain,
)
from deputize.wire.answer import bad_response
from deputize.wire.json_strict import dumps, loads

_KINDS: Final[dict[str, type[DeputizeError]]] = {
    "denied": Denied,
    "session_ended": SessionEnded,
    "no_session": NoSession,
    "unknown_agent": UnknownAgent,
    "invalid_request": InvalidRequest,
    "invalid_token": InvalidToken,
    "attestation_failed": AttestationFailed,
    "unavailable": AuthorityUnavailable,
    "store_error": StoreError,
    "integrity_error": IntegrityError,
    "not_found": NotFound,
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_MAX_TEXT: Final = 512  # characters


def encode(error: DeputizeError, oauth: str, *, authenticated: bool) -> bytes:
    """The body of a refusal. `oauth` is its `error` by the one table of `deputize.errors`."""
    members: dict[str, object] = {"error": oauth}
    if not authenticated:
        return dumps(members)
    members["deputize_kind"] = _NAMES.get(type(error), "denied" if isinstance(error, Denied) else "invalid_request")
    members["code"] = error.code
    if isinstance(error, Denied):
        members["error_description"] = _ascii(f"{error.code} (policy {error.denial.policy or 'none'})")
        members["policy"] = error.denial.policy
        members["subject"] = error.denial.subject
        if error.denial.session:
            members["session"] = error.denial.session
    else:
        members["error_description"] = _ascii(str(error))
    if error.reference is not None:
        members["reference"] = error.reference
    return dumps(members)


def decode(raw: bytes, status: int, *, asked: str, retry_after: float | None = None) -> DeputizeError:
    """The error that a body tells of, as it would have been raised in process. `asked`: what the caller asked for."""
    try:
        members = loads(raw, refuse=bad_response)
    except InvalidRequest:
        return AuthorityUnavailable(f"the authority answered {status} in another form", retry_after=retry_after)
    code = _word(members, "code") or _word(members, "error") or "error"
    reference = _word(members, "reference") or None
    kind = _KINDS.get(_word(members, "deputize_kind"))
    text = _word(members, "error_description") or f"{asked}: refused with {code}"
    if kind is not None and issubclass(kind, Denied):
        return kind(_denial(members, code, reference or "", asked))
    if kind is AuthorityUnavailable or (kind is None and (status == _TOO_MANY or status >= _UNAVAILABLE)):
        return AuthorityUnavailable(text, retry_after=retry_after)
    make: Callable[..., DeputizeError] = kind or (InvalidToken if status == _UNAUTHENTICATED else InvalidRequest)
    return make(text, code=code, reference=reference)


_UNAUTHENTICATED: Final = 401
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 500


def _denial(members: Mapping[str, object], code: str, reference: str, asked: str) -> Denial:
    return Denial(
        code=code,
        policy=_word(members, "policy") or None,
        asked=asked,
        enough="",
        hint=f"an operator reads why: deputize policy explain {reference}" if reference else None,
        reference=reference,
        subject=_word(members, "subject"),
        session=_word(members, "session"),
    )


def _word(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    return plain(value[:_MAX_TEXT]) if isinstance(value, str) else ""


def _ascii(text: str) -> str:
    r"""`error_description` is printable ASCII without `"` and `\` (RFC 6749 §5.2)."""
    kept = (c if " " <= c <= "~" and c not in '"\\' else "'" if c == '"' else "?" for c in text.replace("\n", "; "))
    return "".join(kept)[:_MAX_TEXT]
