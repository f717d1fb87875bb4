"""What can go wrong, as types. `deputize.errors` is the public face and draws the tree.

A message tells what was asked, what was refused and what would be enough; never a token, key or claim.
"""

from dataclasses import dataclass
from typing import ClassVar


def plain(text: str, keep: str = "") -> str:
    """`text` with everything unprintable, but `keep`, written as an escape.

    Parts of it may come from a model: nothing in it moves a cursor, starts a line of a log, turns text around
    or stops a stream from encoding it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A refusal as data: what an exception, a log line and the record's reader show."""

    code: str
    policy: str | None
    asked: str
    enough: str
    hint: str | None = None
    reference: str = ""
    subject: str = ""
    chain: tuple[str, ...] = ()
    policy_set: str = ""
    session: str = ""  # sid of the one that ended

    def __post_init__(self) -> None:
        for name in ("code", "asked", "enough", "reference"):
            object.__setattr__(self, name, plain(getattr(self, name)))

    def for_model(self) -> str:
        """The one line that a language model may read: code, policy, reference; no claims, no way to more."""
        return (
            f"Refused: {self.code} (policy: {self.policy or 'none'}, ref {self.reference[:64]}). "
            "This tool is not available to you in this task; do not retry it."
        )

    def for_developer(self) -> str:
        """The full text, for the process that owns the authority or for an operator."""
        rows = [f"{self.code}: {self.asked}"]
        if self.chain or self.subject:
            rows.append("  chain   " + " > ".join((self.subject, *reversed(self.chain))))
        if self.policy is not None:
            by = "no policy permits it (default-deny)" if self.policy == "default-deny" else self.policy
            rows.append(f"  by      {by}" + (f", policy set {self.policy_set[:6]}" if self.policy_set else ""))
        if self.enough:
            rows.append(f"  enough  {self.enough}")
        if self.hint:
            rows.append(f"  hint    {self.hint}")
        if self.reference:
            rows.append(f"  ref     {self.reference}")
        return "\n".join(rows)


class DeputizeError(Exception):
    """Root of everything that this library raises on purpose."""

    default_code: ClassVar[str] = "error"
    _lines: ClassVar[str] = ""  # "\n" where a message of ours has several

    def __init__(self, message: str, *, code: str | None = None, reference: str | None = None) -> None:
        super().__init__(plain(message, self._lines))
        self.code = code or self.default_code
        self.reference = reference

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))


def _restore(kind: type[DeputizeError], args: tuple[object, ...], state: dict[str, object]) -> DeputizeError:
    """As it was in the process that raised it: a process pool hands errors over by pickle."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class Denied(DeputizeError):
    """Policy, a ceiling or a session's state refused. `denial` is the refusal as data."""

    default_code = "access_denied"
    _lines = "\n"

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.for_developer(), code=denial.code, reference=denial.reference or None)
        self.denial = denial

    def __repr__(self) -> str:
        """Frameworks show a model the `repr` of what a tool raised: it says no more than `for_model`."""
        denial = self.denial
        return f"{type(self).__name__}({denial.code!r}, policy={denial.policy!r}, reference={denial.reference!r})"


class SessionEnded(Denied):
    """The session, or one above it, is expired, closed or revoked."""

    default_code = "session_ended"


class NoSession(Denied):
    """Something that needs a delegated session ran outside one; nothing was executed."""

    default_code = "no_session"


class UnknownAgent(Denied):
    """An agent runs that the registry does not name."""

    default_code = "unknown_agent"


class InvalidRequest(DeputizeError):
    """The request itself is malformed, above a limit, or contradicts an earlier one with the same key."""

    default_code = "invalid_request"


class InvalidToken(InvalidRequest):
    """A token, proof or key that does not hold. Says which check, never what the token said."""

    default_code = "invalid_token"


class ConfigurationError(DeputizeError):
    """A file or argument that the authority cannot start with."""

    default_code = "configuration_error"
    _lines = "\n"

    def __init__(self, message: str, *, path: str = "", line: int | None = None, key: str | None = None) -> None:
        where = path + (f":{line}" if line is not None else "")
        text = f"{where}: {message}" if where else message
        super().__init__(text)
        self.path = path
        self.line = line
        self.key = key


class AuthorityUnavailable(DeputizeError):
    """The authority, or an issuer that it needs, could not be asked. Nothing was permitted.

    `retry_after` is in seconds.
    """

    default_code = "authority_unavailable"

    def __init__(self, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class StoreError(DeputizeError):
    """The store refused or failed. Nothing was issued."""

    default_code = "store_error"


class AttestationFailed(DeputizeError):
    """Evidence did not prove the workload or the agent that was claimed."""

    default_code = "attestation_failed"


class IntegrityError(DeputizeError):
    """The log, or a row that points into it, does not hold."""

    default_code = "integrity_error"


class NotFound(DeputizeError):
    """No such session, record or reference."""

    default_code = "not_found"
