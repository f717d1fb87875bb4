"""kill -9 of a process of the library itself, under concurrent exchanges."""

from pathlib import Path
from typing import Any

import hammer_authority  # type: ignore[import-not-found]  # beside this file; conftest puts the folder on the path
import pytest

from deputize import Authority
from deputize.audit import tree
from deputize.audit.log import Log
from deputize.audit.record import rec_claim
from deputize.audit.verification import verify
from deputize.model.session import State

Nursery = Any  # the fixture of conftest.py
KILLS_PER_FILE = 20  # every killed process leaves its key live for ten minutes, and 64 are the most
OPENINGS = frozenset({"session.opened", "session.delegated", "session.linked"})
GRANTED = frozenset({"exchange.permitted", "exchange.reissued"})


def lost(authority: Authority, acknowledged: list[list[str]]) -> list[list[str]]:
    """What a caller was told and the log or the state no longer has."""

    def kept(tx: Any, what: str, name: str) -> bool:
        if what == "session":
            node = tx.session(name)
            return node is not None and tx.has_record(node.leaf) and tx.tree_secret(node.txn) is not None
        if what == "access":
            grant = tx.grant(name)
            return grant is not None and rec_claim(tx.record(grant.leaf)) in grant.claims.decode()
        if what == "call":
            return bool(tx.find(call_id=name, type="tool.started") and tx.find(call_id=name, type="tool.finished"))
        if what == "denied":
            return len(tx.find(reference=name, outcome="denied")) == 1
        node = tx.session(name)
        return what == "closed" and node is not None and node.state is State.CLOSED

    def missing(tx: Any) -> list[list[str]]:
        return [[what, name] for what, name, *_ in acknowledged if not kept(tx, what, name)]

    return authority.engine.parts.store.read(missing)


def orphans(authority: Authority) -> list[str]:
    """Records without what they tell of, and state without its record."""

    def look(tx: Any) -> list[str]:
        nodes = tx.sessions(limit=10**6)
        found = [f"session {node.sid}" for node in nodes if not tx.has_record(node.leaf)]
        found += [f"session {node.sid} has no tree" for node in nodes if tx.tree_secret(node.txn) is None]
        for node in nodes:
            if node.sid == node.txn:
                found += [f"grant {grant.jti}" for grant in tx.grants(txn=node.sid) if not tx.has_record(grant.leaf)]
        for kind in OPENINGS:
            for record in tx.find(type=kind, limit=10**6):
                made = [node for node in nodes_by_leaf(nodes).get(record.seq, [])]
                found += [] if made else [f"record {record.seq} {kind} has no session"]
        granted = {grant.leaf for node in nodes if node.sid == node.txn for grant in tx.grants(txn=node.sid)}
        for kind in GRANTED:
            found += [f"record {r.seq} has no grant" for r in tx.find(type=kind, limit=10**6) if r.seq not in granted]
        return found

    return authority.engine.parts.store.read(look)


def nodes_by_leaf(nodes: list[Any]) -> dict[int, list[Any]]:
    """Sessions by the record that made them."""
    grouped: dict[int, list[Any]] = {}
    for node in nodes:
        grouped.setdefault(node.leaf, []).append(node)
    return grouped


def test_placeholder() -> None:
    assert hammer_authority
