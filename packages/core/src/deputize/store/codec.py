"""Values to and from columns. What is decoded again and again is kept, by its very text: never stale."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from deputize.model.event import Record
from deputize.model.failure import IntegrityError, InvalidRequest
from deputize.model.resource import Right
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Edge, Evidence, Grant, Mode, Node, State
from deputize.model.sign_in import NO_SIGN_IN, SignIn

Column = str | int | bytes | None
Row = Sequence[Any]  # as SQLite gave it: a file from elsewhere may hold anything

SESSION_COLUMNS: Final = "data, state, children, task, task_digest"  # what can change stands beside `data`
SESSION_SEARCH: Final = "sid, txn, sub, agent, exp, leaf"
GRANT_COLUMNS: Final = (
    "jti, sid, txn, agent, sub, resource, scope, mode, iat, exp, jkt, onward, terminal, claims, key, leaf"
)
RECORD_COLUMNS: Final = "seq, time, type, leaf, salt, body"
RECORD_SEARCH: Final = "txn, sid, jti, agent, sub, tool, resource, outcome, call_id, reference"

_DAMAGE: Final = (KeyError, IndexError, ValueError, TypeError, AttributeError)

_EDGE: Final = {edge.value: edge for edge in Edge}
_MODE: Final = {mode.value: mode for mode in Mode}
_STATE: Final = {state.value: state for state in State}
_EVIDENCE: Final = {evidence.value: evidence for evidence in Evidence}


@lru_cache(maxsize=1024)
def pack_rights(rights: frozenset[Right]) -> str:
    """Lines of `<resource> <scope> ...`, sorted: neither holds a space, and equal ceilings are equal texts."""
    grouped: dict[str, list[str]] = {}
    for right in sorted(rights):
        grouped.setdefault(right.resource, [right.resource]).append(right.scope)
    return "\n".join(" ".join(words) for words in grouped.values())


@lru_cache(maxsize=1024)
def unpack_rights(text: str) -> frozenset[Right]:
    """The inverse of `pack_rights`."""
    lines = (line.split(" ") for line in text.split("\n") if line)
    return frozenset(Right(resource, scope) for resource, *scopes in lines for scope in scopes)


def session_row(node: Node) -> tuple[Column, ...]:
    """In the order of SESSION_COLUMNS, then SESSION_SEARCH."""
    data = {
        "sid": node.sid,
        "txn": node.txn,
        "path": node.path,
        "parent": node.parent,
        "kind": node.kind.value,
        "mode": node.mode.value,
        "sub": node.sub,
        "agent": node.agent,
        "chain": node.chain,
        "ceiling": pack_rights(node.ceiling),
        "created": node.created,
        "exp": node.exp,
        "depth": node.depth,
        "evidence": node.evidence.value,
        "workload": node.workload,
        "attestation": node.attestation,
        "key": node.key,
        "leaf": node.leaf,
        "continues": node.continues,
        **_user_data(node),
    }
    own = (orjson.dumps(data).decode(), node.state.value, node.children, node.task, node.task_digest)
    return (*own, node.sid, node.txn, node.sub, node.agent, node.exp, node.leaf)


@lru_cache(maxsize=4096)
def session_from(row: tuple[str, str, int, str | None, str | None]) -> Node:
    """From the columns of SESSION_COLUMNS. Equal rows are equal sessions, so the decoded form is kept.

    Raises IntegrityError (`row_damaged`) for what no session of ours was written as.
    """
    try:
        node = _session(orjson.loads(row[0]), row)
    except _DAMAGE:
        raise _damaged("session") from None
    if not all(type(number) is int for number in (node.created, node.exp, node.depth, node.leaf)):
        raise _damaged("session")
    return node


def _session(data: Mapping[str, Any], row: tuple[str, str, int, str | None, str | None]) -> Node:
    return Node(
        sid=data["sid"],
        txn=data["txn"],
        path=tuple(data["path"]),
        parent=data["parent"],
        kind=_EDGE[data["kind"]],
        mode=_MODE[data["mode"]],
        sub=data["sub"],
        agent=data["agent"],
        chain=tuple(data["chain"]),
        ceiling=unpack_rights(data["ceiling"]),
        created=data["created"],
        exp=data["exp"],
        depth=data["depth"],
        evidence=_EVIDENCE[data["evidence"]],
        workload=data["workload"],
        attestation=data["attestation"],
        state=_STATE[row[1]],
        task=row[3],
        task_digest=row[4],
        key=data["key"],
        leaf=data["leaf"],
        children=row[2],
        continues=data["continues"],
        sign_in=_sign_in(data["sign_in"]) if "sign_in" in data else NO_SIGN_IN,
        groups=tuple(map(_text, data.get("groups", ()))),
    )


def _user_data(node: Node) -> dict[str, Any]:
    """What a user's token said; left out where it said nothing, as in rows from before there were any."""
    found: dict[str, Any] = {"groups": node.groups} if node.groups else {}
    if node.sign_in != NO_SIGN_IN:
        found["sign_in"] = (node.sign_in.auth_time, node.sign_in.acr, node.sign_in.amr)
    return found


def _sign_in(data: Sequence[Any]) -> SignIn:
    auth_time, acr, amr = data
    if auth_time is not None and type(auth_time) is not int:
        raise TypeError
    try:
        return SignIn(auth_time=auth_time, acr=None if acr is None else _text(acr), amr=tuple(map(_text, amr)))
    except InvalidRequest:
        raise ValueError from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def grant_row(grant: Grant) -> tuple[Column, ...]:
    """In the order of GRANT_COLUMNS."""
    return (
        grant.jti,
        grant.sid,
        grant.txn,
        grant.agent,
        grant.sub,
        grant.resource,
        " ".join(sorted(grant.scope)),
        grant.mode.value,
        grant.iat,
        grant.exp,
        grant.jkt,
        pack_rights(grant.onward) if grant.onward else None,
        int(grant.terminal),
        grant.claims,
        grant.key,
        grant.leaf,
    )


def grant_from(row: Row) -> Grant:
    """From the columns of GRANT_COLUMNS. Raises IntegrityError (`row_damaged`)."""
    try:
        return _grant(row)
    except _DAMAGE:
        raise _damaged("grant") from None


def _grant(row: Row) -> Grant:
    return Grant(
        jti=row[0],
        sid=row[1],
        txn=row[2],
        agent=row[3],
        sub=row[4],
        resource=row[5],
        scope=frozenset(row[6].split(" ")) if row[6] else frozenset(),
        mode=_MODE[row[7]],
        iat=row[8],
        exp=row[9],
        jkt=row[10],
        onward=unpack_rights(row[11]) if row[11] else frozenset(),
        terminal=bool(row[12]),
        claims=row[13],
        key=row[14],
        leaf=row[15],
    )


def record_row(record: Record) -> tuple[Column, ...]:
    """In the order of RECORD_COLUMNS, then RECORD_SEARCH (all NULL where no event is given)."""
    own = (record.seq, record.time, record.type, record.leaf, record.salt, record.body)
    event = record.event
    if event is None:
        return (*own, None, None, None, None, None, None, None, None, None, None)
    return (
        *own,
        event.txn,
        event.sid,
        event.jti,
        event.agent,
        event.sub,
        event.tool,
        event.resource,
        event.outcome,
        event.call_id,
        event.reference,
    )


def record_from(row: Row) -> Record:
    """From the columns of RECORD_COLUMNS."""
    return Record(seq=row[0], time=row[1], type=row[2], leaf=row[3], salt=row[4], body=row[5])


def revocation_from(row: Row) -> RevocationEntry:
    """From kind, id, at, until, before, seq, reason. Raises IntegrityError (`row_damaged`)."""
    try:
        kind = Kind(row[0])
    except ValueError:
        raise _damaged("revocation") from None
    return RevocationEntry(kind=kind, id=row[1], at=row[2], until=row[3], before=row[4], seq=row[5], reason=row[6])


def _damaged(what: str) -> IntegrityError:
    return IntegrityError(f"the store holds a {what} that cannot be read", code="row_damaged")


def marks(names: str | Iterable[str]) -> str:
    """As many `?` as there are columns in a list of names."""
    count = len(names.split(",")) if isinstance(names, str) else len(list(names))
    return ",".join("?" * count)
