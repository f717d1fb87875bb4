"""kill -9 of a process of the library itself, under concurrent exchanges."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority
from deputize.audit.log import Log
from deputize.audit.record import rec_claim
from deputize.audit.tree import verify_consistency
from deputize.audit.verification import verify
from deputize.model.session import State
from deputize.testing.database import Database

Nursery = Any  # the fixtures of conftest.py
Opened = Callable[[Path | str], Authority]
KILLS_PER_FILE = 20  # a killed process leaves its key live for ten minutes, and 64 live keys are the most
EVERY = 10
ALL = 10**9


def lost(authority: Authority, acknowledged: list[list[str]]) -> list[list[str]]:
    """What a caller was told and the store no longer has."""

    def kept(tx: Any, what: str, name: str) -> bool:
        if what == "session":
            node = tx.session(name)
            return node is not None and tx.has_record(node.leaf) and tx.tree_secret(node.txn) is not None
        if what == "access":
            grant = tx.grant(name)
            return grant is not None and rec_claim(tx.record(grant.leaf)) in grant.claims.decode()
        if what == "call":
            return [record.type for record in tx.find(call_id=name)] == ["tool.started", "tool.finished"]
        if what == "denied":
            return len(tx.find(reference=name, outcome="denied")) == 1
        node = tx.session(name)
        return what == "closed" and node is not None and node.state is State.CLOSED

    def missing(tx: Any) -> list[list[str]]:
        return [[what, name] for what, name, *_ in acknowledged if not kept(tx, what, name)]

    return authority.engine.parts.store.read(missing)


def orphans(authority: Authority) -> list[str]:
    """State without the record that made it, and records without the state that they tell of."""

    def look(tx: Any) -> list[str]:
        nodes = tx.sessions(limit=ALL)
        roots = [node for node in nodes if node.sid == node.txn]
        grants = [grant for root in roots for grant in tx.grants(txn=root.sid)]
        made_sessions = {node.leaf for node in nodes}
        made_grants = {grant.leaf for grant in grants}
        sids = {node.sid for node in nodes}
        found = [f"session {node.sid} without record" for node in nodes if not tx.has_record(node.leaf)]
        found += [f"session {node.sid} without tree" for node in nodes if tx.tree_secret(node.txn) is None]
        found += [f"session {n.sid} without parent" for n in nodes if n.parent is not None and n.parent not in sids]
        found += [f"grant {grant.jti} without record" for grant in grants if not tx.has_record(grant.leaf)]
        found += [f"grant {grant.jti} without session" for grant in grants if grant.sid not in sids]
        for record in tx.find(type="session.opened", limit=ALL):
            found += [] if record.seq in made_sessions else [f"record {record.seq} without session"]
        for record in tx.find(type="exchange.permitted", limit=ALL):
            found += [] if record.seq in made_grants else [f"record {record.seq} without grant"]
        children = {node.sid: node.children for node in nodes}
        for node in nodes:
            if node.parent is not None:
                children[node.parent] -= 1
        found += [f"session {sid} counted {count} children too many" for sid, count in children.items() if count]
        return found

    return authority.engine.parts.store.read(look)


def grown(authority: Authority, before: tuple[int, bytes]) -> tuple[int, bytes]:
    """The head of the log, which must hold all that the head before the kill held."""
    log = Log(authority.engine.parts.store)
    log.integrate()
    if before[0]:
        size, root, proof = log.consistency_proof(before[0])
        assert verify_consistency(before[0], size, before[1], root, proof)
    return log.head()


def tokens_hold(authority: Authority, acknowledged: list[list[str]]) -> bool:
    """The last token that a caller got is known after the restart: active, or dead with its closed session."""
    tokens = [words[1:] for words in acknowledged if words[0] == "access"]
    if not tokens:
        return True
    jti, token = tokens[-1]
    closed = authority.engine.parts.store.read(lambda tx: tx.session(tx.grant(jti).sid).state is State.CLOSED)
    return authority.introspect(token).active is not closed


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.deep)])
@pytest.mark.requirement("I8")
@pytest.mark.requirement("I14")
def test_no_acknowledged_session_grant_or_record_is_lost_when_the_library_is_killed(
    nursery: Nursery, opened: Opened, tmp_path: Path, kills: int
) -> None:
    told: set[str] = set()
    for number in range(kills):
        path = tmp_path / f"store{number // KILLS_PER_FILE}.db"
        if number % KILLS_PER_FILE == 0:
            head = (0, b"")
        acknowledged = nursery.kill("authority", "whole", path)
        authority = opened(path)
        assert lost(authority, acknowledged) == []
        assert tokens_hold(authority, acknowledged)
        head = grown(authority, head)
        if (number + 1) % EVERY == 0:  # what is half stays half: it is enough to look now and then
            assert orphans(authority) == []
            report = authority.engine.parts.store.read(verify)
            assert report.ok, report.findings
        authority.close()
        told |= {words[0] for words in acknowledged}
    assert told == {"session", "access", "call", "denied", "closed"}


@pytest.mark.parametrize("rounds", [4, pytest.param(100, marks=pytest.mark.deep)])
@pytest.mark.requirement("I8")
@pytest.mark.requirement("I14")
def test_nothing_acknowledged_is_lost_when_either_of_two_replicas_is_killed(
    twins: Any, opened: Opened, database: Database, seed: str, rounds: int
) -> None:
    told: set[str] = set()
    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds):
            if number % (KILLS_PER_FILE // 2) == 0:
                url, head = database.url(), (0, b"")
            fresh = pool.map(lambda nursery, url=url: nursery.kill("authority", "whole", url), twins)
            acknowledged = [words for lines in fresh for words in lines]
            authority = opened(url)
            assert lost(authority, acknowledged) == []
            assert tokens_hold(authority, acknowledged)
            head = grown(authority, head)
            if (number + 1) % 2 == 0:
                assert orphans(authority) == []
                report = authority.engine.parts.store.read(verify)
                assert report.ok, report.findings
            authority.close()
            told |= {words[0] for words in acknowledged}
    assert {"session", "access"} <= told


def test_the_harness_finds_a_library_that_commits_state_after_its_record(
    nursery: Nursery, opened: Opened, tmp_path: Path
) -> None:
    found: list[str] = []
    for _ in range(40):
        nursery.kill("authority", "two-transactions", tmp_path / "store.db")
        authority = opened(tmp_path / "store.db")
        found = orphans(authority)
        authority.close()
        if found:
            break
    assert found
