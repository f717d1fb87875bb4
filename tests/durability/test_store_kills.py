"""kill -9 of a process that writes through the store: nothing that was acknowledged is lost, nothing is half."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deputize.store.opening import open_store
from deputize.testing.database import Database

Nursery = Any  # the fixture of conftest.py

ORPHANS = {
    "session without its record": "select count(*) from sessions s left join records r on r.seq = s.leaf "
    "and r.sid = s.sid where r.seq is null",
    "session without its tree": "select count(*) from sessions s left join trees t using (txn) where t.txn is null",
    "tree without its root": "select count(*) from trees t left join sessions s on s.sid = t.txn where s.sid is null",
    "grant without its record": "select count(*) from grants g left join records r on r.seq = g.leaf "
    "and r.sid = g.sid where r.seq is null",
    "grant without its session": "select count(*) from grants g left join sessions s using (sid) where s.sid is null",
    "record without its session": "select count(*) from records r left join sessions s using (sid) "
    "where r.type = 'session.opened' and s.sid is null",
    "hole in the log": "select max(seq) + 1 - count(*) from records",
}


def orphans(path: Path) -> dict[str, int]:
    """What is there without what it belongs to, after the file has been recovered."""
    open_store(str(path)).close()
    db = sqlite3.connect(path)
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    found = {name: db.execute(query).fetchone()[0] or 0 for name, query in ORPHANS.items()}
    db.close()
    return {name: count for name, count in found.items() if count}


def lost(path: Path | str, acknowledged: list[list[str]]) -> list[list[str]]:
    """What was acknowledged and is not there."""
    store = open_store(str(path))

    def missing(tx: Any) -> list[list[str]]:
        return [
            [word, sid, seq]
            for word, sid, seq in acknowledged
            if tx.session(sid) is None or tx.grant(sid) is None or tx.record(int(seq)) is None
        ]

    found = store.read(missing)
    store.close()
    return found


@pytest.mark.parametrize("way", ["whole-full", "whole-normal"])
@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=pytest.mark.deep)])
@pytest.mark.requirement("I8")
def test_nothing_acknowledged_is_lost_and_nothing_is_half_after_kills(
    nursery: Nursery, tmp_path: Path, way: str, kills: int
) -> None:
    path = tmp_path / "store.db"
    acknowledged: list[list[str]] = []
    for _ in range(kills):
        fresh = nursery.kill("store", way, path)
        acknowledged += fresh
        assert lost(path, fresh) == []
    assert orphans(path) == {}
    assert lost(path, acknowledged) == []
    assert len(acknowledged) > kills


def orphans_shared(database: Database, url: str) -> dict[str, int]:
    """`orphans`, of a schema of PostgreSQL."""
    schema = url.rpartition("=")[2]
    found = {name: database.sql(f"set search_path to {schema}; {query}")[0] for name, query in ORPHANS.items()}
    return {name: int(count) for name, count in found.items() if count not in {"", "0"}}


@pytest.mark.parametrize("way", ["whole-full", "whole-normal"])
@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.deep)])
@pytest.mark.requirement("I8")
def test_nothing_is_lost_or_half_where_either_of_two_processes_on_one_database_is_killed(
    twins: Any, database: Database, way: str, rounds: int
) -> None:
    url = database.url()
    open_store(url).close()
    acknowledged: list[list[str]] = []
    with ThreadPoolExecutor(2) as pool:
        for _ in range(rounds):
            fresh = list(pool.map(lambda nursery: nursery.kill("store", way, url), twins))
            acknowledged += fresh[0] + fresh[1]
            assert lost(url, fresh[0] + fresh[1]) == []
    assert orphans_shared(database, url) == {}
    assert lost(url, acknowledged) == []
    assert len(acknowledged) > rounds


def test_the_harness_finds_a_copy_over_a_database_that_commits_record_and_state_apart(
    twins: Any, database: Database
) -> None:
    url, found = database.url(), {}
    for _ in range(40):
        twins[0].kill("store", "two-transactions", url)
        found = orphans_shared(database, url)
        if found:
            break
    assert set(found) == {"record without its session"}


def test_the_harness_finds_a_copy_that_commits_record_and_state_apart(nursery: Nursery, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    found: dict[str, int] = {}
    for _ in range(40):
        nursery.kill("store", "two-transactions", path)
        found = orphans(path)
        if found:
            break
    assert set(found) == {"record without its session"}


def test_the_harness_finds_a_copy_that_acknowledges_before_it_commits(nursery: Nursery, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    missing: list[list[str]] = []
    for _ in range(40):
        missing = lost(path, nursery.kill("store", "acknowledged-early", path))
        if missing:
            break
    assert missing
