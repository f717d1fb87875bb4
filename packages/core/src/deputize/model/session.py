"""Sessions: nodes of a delegation tree, and the grants of access made from them."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from deputize.model.mode import Mode as Mode  # noqa: PLC0414  # re-exported: a session's mode is named here
from deputize.model.resource import Right
from deputize.model.sign_in import NO_SIGN_IN, SignIn


class Edge(enum.Enum):
    """How a session came to be."""

    ROOT = "root"
    CHILD = "child"
    LINK = "link"


class State(enum.Enum):
    """All but `OPEN` are final. `EXPIRED` is derived from the clock, never stored."""

    OPEN = "open"
    CLOSED = "closed"
    REVOKED = "revoked"
    EXPIRED = "expired"


class Evidence(enum.Enum):
    """How the user was proved: by an issuer's token, by the host's word, or there is only an agent."""

    TOKEN = "token"  # noqa: S105  # a label, not a secret
    ASSERTED = "asserted"
    AGENT = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A session as it is stored. Times: whole seconds since the epoch. `chain`: outermost actor first."""

    sid: str
    txn: str
    path: tuple[str, ...]  # the sids strictly between root and self
    parent: str | None  # of a child the session above; of a link its cause
    kind: Edge
    mode: Mode
    sub: str
    agent: str
    chain: tuple[str, ...]
    ceiling: frozenset[Right]
    created: int
    exp: int
    depth: int
    evidence: Evidence
    workload: str
    attestation: str
    state: State = State.OPEN
    task: str | None = None  # clear text only where the configuration keeps it
    task_digest: str | None = None
    key: str | None = None  # the caller's idempotency key, digested
    leaf: int = -1  # seq of the record that made it
    children: int = 0
    continues: str | None = None  # sid of the expired root that this one goes on from
    sign_in: SignIn = NO_SIGN_IN  # of the user, the same in every session of theirs in this tree
    groups: tuple[str, ...] = ()  # of a root: the user's, by the token that opened it; sessions below ask their root

    @property
    def ancestors(self) -> tuple[str, ...]:
        """Every sid above, root first; empty for a root."""
        return () if self.sid == self.txn else (self.txn, *self.path)

    @property
    def actors(self) -> tuple[str, ...]:
        """The agents along the chain, this session's own first, also where the token has no `act`."""
        return self.chain or (self.agent,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An access that was granted, by `jti`. Holds claims for signing again, never a token."""

    jti: str
    sid: str
    txn: str
    agent: str
    sub: str
    resource: str
    scope: frozenset[str]
    mode: Mode
    iat: int
    exp: int
    jkt: str | None  # `cnf` of the token; None for a bearer
    onward: frozenset[Right] = frozenset()
    terminal: bool = False
    claims: bytes = b""
    key: str | None = None
    leaf: int = -1


SESSION_EXPIRING: Final = 5  # seconds: with less than this left nothing new is opened


def state_at(node: Node, now: float) -> State:
    """The state as anybody sees it: stored, or expired by the clock."""
    return State.EXPIRED if node.state is State.OPEN and now >= node.exp else node.state


def state_in_line(line: list[Node], now: float) -> State:
    """The state of the last node of a line (root first): its own where it ended itself, else that from above."""
    own = state_at(line[-1], now)
    if own in {State.CLOSED, State.REVOKED}:
        return own
    dead = first_dead(line, now)
    return State.OPEN if dead is None else dead[1]


def first_dead(line: Iterable[Node], now: float) -> tuple[Node, State] | None:
    """The first node that is not live, of a session and all its ancestors (root first), or None."""
    for node in line:
        state = state_at(node, now)
        if state is not State.OPEN:
            return node, state
    return None
