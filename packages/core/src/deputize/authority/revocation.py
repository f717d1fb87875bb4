"""Cutting off: one row, at any tree size; all below is dead when the call returns (SEMANTICS, G1)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from deputize.authority.journal import append, told_by
from deputize.authority.parts import ACTIVE_POLICY, Parts, PolicyMoved
from deputize.authority.refusal import MILLIS
from deputize.authority.subject import state_of
from deputize.model.event import Event, Json
from deputize.model.failure import InvalidRequest, NotFound
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Node, State, state_at
from deputize.store.protocol import ReadTx, WriteTx

T = TypeVar("T")
MAX_REASON = 512  # characters
COUNT_LIMIT = 100_000  # sessions that are counted, not revoked: that is one row


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What a revocation did. `at` and `effective_by` are seconds since the epoch.

    `effective_by`: when every verifier that reads the feed refuses; the authority itself refuses already.
    """

    kind: str
    target: str
    at: int
    effective_by: int
    seq: int
    count: Callable[[], int] = field(repr=False, compare=False)

    @property
    def sessions(self) -> int:
        """How many sessions it killed. Counted when asked for: revoking costs one row at any tree size."""
        return self.count()


def revoke(parts: Parts, kind: Kind, target: str, *, reason: str, by: str, role: str = "") -> Revocation:
    """Revoke one target, finally, with full sync; `by` in the operator's `role`. Raises NotFound, InvalidRequest."""
    check_reason(reason)
    told: dict[str, Json] = {"reason": reason, **told_by(by, role)}

    def operation(tx: WriteTx) -> tuple[RevocationEntry, Node | None]:
        now = parts.moment(tx)
        return _one_row(parts, tx, kind, target, told, now)

    entry, node = _followed(parts, lambda: parts.store.write(operation, sync=True))
    return Revocation(
        kind=kind.value,
        target=target,
        at=entry.at,
        effective_by=entry.at + parts.limits.revocation_lag_max,
        seq=entry.seq,
        count=lambda: parts.store.read(lambda tx: _count(tx, kind, target, node, entry.at)),
    )


def _followed(parts: Parts, write: Callable[[], T]) -> T:
    """An agent that only the store's newer policy set knows is revoked as well."""
    try:
        return write()
    except PolicyMoved:
        if parts.follower is None:
            raise
        parts.follower.follow(parts)
        return write()


def _one_row(
    parts: Parts, tx: WriteTx, kind: Kind, target: str, told: dict[str, Json], now: float
) -> tuple[RevocationEntry, Node | None]:
    node: Node | None = None
    sub: str | None = None
    jti: str | None = None
    agent: str | None = None
    until = int(now) + parts.limits.session_ttl_max
    before: int | None = None
    if kind in {Kind.SESSION, Kind.CLOSE}:
        node = _session(tx, target)
        known = tx.revoked(kind, target)
        if known is not None:
            return known, node
        sub, agent = node.sub, node.agent
        until = node.exp if kind is Kind.SESSION else min(node.exp, int(now) + _longest_access(parts))
        tx.end_session(target, State.REVOKED if kind is Kind.SESSION else State.CLOSED)
    elif kind is Kind.TOKEN:
        grant = tx.grant(target)
        jti = target
        until = grant.exp if grant is not None else int(now) + parts.limits.session_token_ttl
        node = tx.session(grant.sid) if grant is not None else None
    elif kind is Kind.USER:
        sub, before = target, int(now)
    elif kind is Kind.AGENT:
        if parts.rules.registry.agent(target) is None:
            if parts.follower is not None:
                parts.check_policy(tx, parts.rules)
            raise NotFound("no such agent is registered")
        agent = target
    elif not _published(tx, target):
        raise NotFound("no such key is published")
    else:
        until = int(now) + _longest_token(parts)
    event = Event(
        type=f"{kind.value}.{'closed' if kind is Kind.CLOSE else 'revoked'}".replace("close.", "session."),
        outcome="done",
        time=int(now * MILLIS),
        txn=node.txn if node else None,
        sid=node.sid if node else None,
        jti=jti,
        sub=sub,
        agent=agent,
        policy_set=tx.meta(ACTIVE_POLICY),
        detail={**told, "until": until, **({"kid": target} if kind is Kind.KEY else {})},
    )
    seq = append(tx, event).seq
    parts.stamp(tx)
    entry = RevocationEntry(
        kind=kind, id=target, at=int(now), until=until, before=before, seq=seq, reason=str(told["reason"])
    )
    tx.revoke(entry)
    return entry, node


def check_reason(reason: str) -> None:
    """Whoever cuts off or lets on again says why. Raises InvalidRequest."""
    if not 0 < len(reason) <= MAX_REASON:
        raise InvalidRequest(f"a reason has 1-{MAX_REASON} characters")


def resume(parts: Parts, agent: str, *, reason: str, by: str, role: str = "") -> RevocationEntry:
    """Let a suspended agent on again: for what begins from now on; everything until now stays dead (G4).

    All there is was made until it was suspended, since nothing was made after: that second stays the row's `before`.

    Raises NotFound; InvalidRequest (`not_suspended`) where it is not suspended.
    """
    check_reason(reason)

    def operation(tx: WriteTx) -> RevocationEntry:
        now = parts.stamp(tx)
        known = tx.revoked(Kind.AGENT, agent)
        if parts.rules.registry.agent(agent) is None and known is None:
            raise NotFound("no such agent is registered")
        if known is None or known.before is not None:
            raise InvalidRequest("this agent is not suspended", code="not_suspended")
        suspended = tx.record(known.seq)
        before = suspended.time // MILLIS if suspended is not None else int(now)
        until = int(now) + parts.limits.session_ttl_max
        event = Event(
            type="agent.resumed",
            outcome="done",
            time=int(now * MILLIS),
            agent=agent,
            policy_set=tx.meta(ACTIVE_POLICY),
            detail={"reason": reason, **told_by(by, role), "until": until, "before": before},
        )
        seq = append(tx, event).seq
        tx.revoke(
            RevocationEntry(kind=Kind.AGENT, id=agent, at=known.at, until=until, before=before, seq=seq, reason=reason)
        )
        return tx.revoked(Kind.AGENT, agent) or known

    return parts.store.write(operation, sync=True)


def close_session(parts: Parts, sid: str) -> Revocation | None:
    """An orderly end of one session and all below. None where it had ended already, in itself or from above."""

    def ended_already(tx: ReadTx) -> bool:
        return state_of(tx, tx.line(_session(tx, sid)), parts.moment(tx)) is not State.OPEN

    if parts.store.read(ended_already):
        return None
    return revoke(parts, Kind.CLOSE, sid, reason="closed", by="holder")


def _session(tx: ReadTx, sid: str) -> Node:
    node = tx.session(sid)
    if node is None:
        raise NotFound("no such session")
    return node


def _longest_token(parts: Parts) -> int:
    return max(_longest_access(parts), parts.limits.session_token_ttl, parts.limits.identity_ttl)


def _published(tx: ReadTx, kid: str) -> bool:
    rows = tx.keys()
    return any(row.kid == kid for row in rows)


def _longest_access(parts: Parts) -> int:
    return max(parts.limits.access_ttl, parts.limits.access_ttl_bearer, parts.limits.impersonation_ttl_max)


def _count(tx: ReadTx, kind: Kind, target: str, node: Node | None, at: int) -> int:
    """How many sessions lived until then: the target's own and all below."""
    if kind in {Kind.SESSION, Kind.CLOSE} and node is not None:
        heads = [node]
    elif kind is Kind.USER:
        roots = tx.sessions(sub=target, live_at=at, limit=COUNT_LIMIT)
        heads = [other for other in roots if other.sid == other.txn and other.created <= at]
    elif kind is Kind.AGENT:
        heads = tx.sessions(agent=target, live_at=at, limit=COUNT_LIMIT)
    else:
        return 0
    killed = {head.sid for head in heads if head.state is State.OPEN}
    found: set[str] = set()
    for txn in {head.txn for head in heads}:
        tree = {other.sid: other for other in tx.sessions(txn=txn, limit=COUNT_LIMIT)}
        ended = {sid for sid, other in tree.items() if sid not in killed and state_at(other, at) is not State.OPEN}
        for sid, other in tree.items():
            line = {sid, *other.ancestors}
            if line & killed and not line & ended and other.exp > at:
                found.add(sid)
    return len(found)
