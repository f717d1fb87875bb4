"""Refusals that an adapter makes or passes on."""

from typing import TypeVar

from deputize.facade.ambient import no_session
from deputize.model.failure import AuthorityUnavailable, Denial, Denied, DeputizeError, InvalidRequest

__all__ = ["answer_for_model", "is_refusal", "no_session", "refused"]

E = TypeVar("E", bound=Denied)


def refused(kind: type[E], code: str, *, asked: str, enough: str, hint: str | None = None, reference: str = "") -> E:
    """A refusal by the adapter itself, not by policy: `kind(Denial(...))`.

    `reference` is what the record can be found by: a tool call's id or a session's.
    """
    denial = Denial(code=code, policy=None, asked=asked, enough=enough, hint=hint, reference=reference)
    return kind(denial)


def is_refusal(error: BaseException) -> bool:
    """True for what may be answered to a model: it was refused, or nobody could be asked.

    A mistake in the configuration, a broken store or a broken log is for people, and is not.
    """
    return isinstance(error, Denied | InvalidRequest | AuthorityUnavailable)


def answer_for_model(error: DeputizeError) -> str:
    """The one line that a language model may read: code, policy and reference, no claims."""
    if isinstance(error, Denied):
        return error.denial.for_model()
    denial = Denial(code=error.code, policy=None, asked="", enough="", reference=error.reference or "none")
    return denial.for_model()
