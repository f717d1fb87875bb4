"""What an operator does with an authority: over its store here, at a URL `deputize.client.operator`. One meaning.

Whether somebody may do so is not asked here: the server asks the operator's role, the owner of a store may do all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from deputize.authority.explain import Explanation
from deputize.authority.joining import TTL, JoinToken
from deputize.authority.revocation import Revocation
from deputize.authority.rollout import Applied
from deputize.authority.tree import SessionTree
from deputize.config import Bundle
from deputize.model.event import Json, Record
from deputize.model.failure import InvalidRequest
from deputize.model.identity import local_user
from deputize.model.overview import AgentRow, SessionPage, SessionRow
from deputize.model.registry import Registry
from deputize.model.revocation import Kind
from deputize.store.protocol import ReadTx

MAX_PAGE = 1000  # sessions or records in one answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which records: all that was given must match. Names are those that people use.

    `session` of a root stands for its whole tree. Times in milliseconds; `since_ms` <= time < `until_ms`.
    """

    session: str | None = None
    root: str | None = None
    agent: str | None = None
    user: str | None = None
    tool: str | None = None
    resource: str | None = None
    outcome: str | None = None
    type: str | None = None
    token: str | None = None
    call_id: str | None = None
    reference: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def matching(
    tx: ReadTx, wanted: Wanted, *, agent: str | None, resource: str | None, limit: int, below: int | None = None
) -> list[Record]:
    """The newest `limit` records that match, oldest first. `agent` is an id, `resource` a URL."""
    sub = local_user(wanted.user) if wanted.user is not None else None

    def search(sid: str | None, txn: str | None) -> list[Record]:
        return tx.find(
            sid=sid,
            txn=txn,
            agent=agent,
            sub=sub,
            tool=wanted.tool,
            resource=resource,
            outcome=wanted.outcome,
            type=wanted.type,
            jti=wanted.token,
            call_id=wanted.call_id,
            reference=wanted.reference,
            since_ms=wanted.since_ms,
            until_ms=wanted.until_ms,
            below=below,
            limit=limit,
        )

    if wanted.session is None:
        return search(None, wanted.root)
    both = search(wanted.session, wanted.root)
    if wanted.root is None:
        both += search(None, wanted.session)
    by_seq = {record.seq: record for record in both}
    return [by_seq[seq] for seq in sorted(by_seq)][-limit:]


def resource_named(registry: Registry, name: str | None) -> str | None:
    """The URL that an alias stands for; one that is no longer registered still stands in the log, under its URL."""
    if name is None:
        return None
    try:
        return registry.resource(name).url
    except InvalidRequest:
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """Records, oldest first; those before them are `below` this number, None where there are none."""

    records: tuple[Record, ...]
    below: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A checkpoint (C2SP note) and the verifier key of whoever signed it; trust that key only if you know it."""

    note: str
    key: str = field(compare=False)


class Operating(Protocol):
    """Raises what `deputize.errors` draws, and nothing else."""

    def sessions(
        self, *, user: str | None, agent: str | None, live: bool, limit: int, cursor: int | None = None
    ) -> SessionPage:
        """The newest `limit` sessions that match, older than `cursor`. `live`: open, in themselves and above."""
        ...

    def session(self, identifier: str) -> tuple[SessionRow, SessionTree]:
        """The session that an id of anything in it stands for, and the tree that it lies in, from its root."""
        ...

    def revoke_named(self, identifier: str, *, reason: str) -> Revocation:
        """Revoke what an id stands for: a session or a token; of a call or a refusal, the session that it was in."""
        ...

    def revoke(self, kind: Kind, target: str, *, reason: str) -> Revocation:
        """Revoke one target; all below is dead when this returns."""
        ...

    def agents(self) -> tuple[AgentRow, ...]:
        """All that are registered, by name."""
        ...

    def agent(self, name: str) -> AgentRow:
        """One of them. Raises NotFound."""
        ...

    def resume(self, name: str, *, reason: str) -> AgentRow:
        """Let a suspended agent on again; nothing that was dead comes back."""
        ...

    def enroll(self, workload: str, *, ttl: int = TTL) -> JoinToken:
        """A one-time join token for a workload."""
        ...

    def records(self, wanted: Wanted, *, limit: int, below: int | None = None) -> RecordPage:
        """The newest `limit` records that match, numbered below `below`."""
        ...

    def checkpoint(self) -> SignedHead:
        """Sign the head of the log as it is now."""
        ...

    def inclusion(self, seq: int, size: int) -> dict[str, Json]:
        """Proof as in `docs/formats/proofs.md`."""
        ...

    def consistency(self, first: int, second: int) -> dict[str, Json]:
        """Proof as in `docs/formats/proofs.md`."""
        ...

    def apply(self, bundle: Bundle, *, reason: str, expected: str | None) -> str:
        """Make the store decide by these texts. Returns the digest."""
        ...

    def rollback(self, digest: str | None, *, reason: str) -> str:
        """Make the store decide by a set again that it decided by before. Returns the digest."""
        ...

    def history(self) -> list[Applied]:
        """Every move of the policy, oldest first."""
        ...

    def policy(self, digest: str | None = None) -> tuple[str, Bundle]:
        """A set that was applied, by the beginning of its digest; None: the one that decides."""
        ...

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """Dry run, hop by hop; nothing is issued."""
        ...

    def suggest(self, session: str | None) -> str:
        """TOML that would have allowed what was refused."""
        ...
