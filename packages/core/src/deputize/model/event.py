"""Records of the log, before they are sealed. One for each decision and each outcome."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Json = str | int | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to be recorded. `time` is milliseconds since the epoch. Text is data: never a token or a key.

    The named fields are what people search by; `detail` holds the rest (the decision with the context that
    policies saw, ceilings, what was dropped), so that a later explain and backtest need nothing else.
    """

    type: str  # e.g. "session.opened", "exchange.permitted", "tool.started"
    outcome: str  # permitted | denied | done | failed | noted
    time: int
    txn: str | None = None
    sid: str | None = None
    jti: str | None = None
    sub: str | None = None
    agent: str | None = None
    chain: tuple[str, ...] = ()
    workload: str | None = None
    tool: str | None = None
    call_id: str | None = None
    resource: str | None = None
    scopes: tuple[str, ...] = ()
    code: str | None = None
    policies: tuple[str, ...] = ()
    policy_set: str | None = None
    reference: str | None = None
    detail: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A sealed record: `leaf` is the RFC 6962 hash of the leaf; `body` and `salt` are None once erased.

    Erasing keeps `digest` = SHA-256(salt ‖ body) in their place, so that seq, time and type of an erased
    record stay provable; before that it is None (it follows from body and salt).
    """

    seq: int
    time: int
    type: str
    leaf: bytes
    salt: bytes | None
    body: bytes | None
    digest: bytes | None = None
    event: Event | None = None  # for the store's search columns; None when read back
