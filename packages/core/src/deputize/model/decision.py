"""What policy is asked and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from deputize.model.resource import Right

Action = Literal["grant", "open", "delegate", "use", "impersonate"]
ContextValue = str | int | bool
DEFAULT_DENY: Final = "default-deny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One decision: may this principal do this with this right.

    `context` has exactly the members of the schema (SEMANTICS, "Policy model"). Members that name an entity
    (`from`, `to`, `agent`, `user`) hold its id; `time` is seconds since the epoch; the rest are plain values.
    """

    action: Action
    principal: str  # agent: SPIFFE ID; for `grant`: user id
    right: Right
    context: Mapping[str, ContextValue]
    groups: tuple[str, ...] = ()  # of the user, from the subject token


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer. `allowed` is true only where nothing erred; `policies` is never empty."""

    allowed: bool
    policies: tuple[str, ...]
    errors: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()  # permits that did not match, after an implicit deny


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A question with its answer, as the record keeps it."""

    question: Question
    verdict: Verdict


class PolicyEngine(Protocol):
    """Decides. The same digest always decides alike."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the policy set and the registry that it was compiled from."""
        ...

    def decide(self, question: Question) -> Verdict:
        """Never raises: what cannot be decided is a deny with `errors`."""
        ...


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A ceiling after intersection, and what fell out with the ruling that dropped it."""

    kept: frozenset[Right]
    dropped: tuple[tuple[Right, str], ...] = field(default=())  # (right, policy id or rule)
