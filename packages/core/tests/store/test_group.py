"""Group commit: callers that wait share one transaction, and share nothing else."""

import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.model.failure import StoreError
from deputize.store.group import BATCH
from deputize.store.protocol import WriteTx
from deputize.store.sqlite import SqliteStore, open_sqlite

Outcome = dict[str, object]


@pytest.fixture
def full(tmp_path: Path) -> Iterator[SqliteStore]:
    store = open_sqlite(tmp_path / "store.db", durability="full")
    yield store
    store.close()


def behind_a_leader(
    store: SqliteStore, ops: dict[str, Callable[[Any], object]], first: Callable[[Any], object] = lambda _tx: None
) -> Outcome:
    """Run `ops` in threads that all queue up while `first` holds the turn; what came of each."""
    outcome: Outcome = {}
    leading, go = threading.Event(), threading.Event()

    def lead(tx: WriteTx) -> object:
        leading.set()
        go.wait(10)
        return first(tx)

    def run(name: str, op: Callable[[Any], object]) -> None:
        try:
            outcome[name] = store.write(op)
        except BaseException as error:  # noqa: BLE001  # what comes out is the test
            outcome[name] = error

    threads = [threading.Thread(target=run, args=("first", lead))]
    threads[0].start()
    assert leading.wait(10)
    for name, op in ops.items():
        threads.append(threading.Thread(target=run, args=(name, op)))
        threads[-1].start()
    while len(store._group._queue) < len(ops):
        os.sched_yield() if hasattr(os, "sched_yield") else None
    go.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return outcome


def test_all_who_waited_share_one_commit(full: SqliteStore) -> None:
    before = full._writer.commits()
    outcome = behind_a_leader(full, {f"w{n}": lambda tx, n=n: tx.set_meta(f"m{n}", str(n)) or n for n in range(20)})
    assert {name: value for name, value in outcome.items() if name != "first"} == {f"w{n}": n for n in range(20)}
    assert full._writer.commits() - before == 2
    assert full.read(lambda tx: [tx.meta(f"m{n}") for n in range(20)]) == [str(n) for n in range(20)]


def test_a_group_is_never_larger_than_its_limit(full: SqliteStore) -> None:
    sizes: list[int] = []
    through = full._group._transact

    def count(jobs: list[Any]) -> None:
        sizes.append(len(jobs))
        through(jobs)

    full._group._transact = count
    behind_a_leader(full, {f"w{n}": lambda tx, n=n: tx.set_meta(f"m{n}", "x") for n in range(BATCH + 6)})
    assert sizes == [1, BATCH, 6]


def test_an_operation_that_fails_in_a_group_undoes_itself_alone(full: SqliteStore, make: Any) -> None:
    full.write(lambda tx: tx.add_session(make.node("taken")))

    def half(tx: WriteTx) -> None:
        tx.set_meta("half", "written")
        raise LookupError("half")

    outcome = behind_a_leader(
        full,
        {
            "before": lambda tx: tx.set_meta("before", "1"),
            "half": half,
            "conflict": lambda tx: (tx.set_meta("conflict", "1"), tx.add_session(make.node("taken"))),
            "after": lambda tx: (tx.set_meta("after", "1"), tx.meta("before"), tx.meta("half"))[1:],
        },
    )
    assert isinstance(outcome["half"], LookupError)
    conflict = outcome["conflict"]
    assert isinstance(conflict, StoreError)
    assert conflict.code == "store_conflict"
    assert outcome["after"] == ("1", None)
    names = ["before", "half", "conflict", "after"]
    assert full.read(lambda tx: [tx.meta(name) for name in names]) == ["1", None, None, "1"]


def test_numbers_of_records_have_no_hole_where_an_operation_of_the_group_failed(full: SqliteStore, make: Any) -> None:
    def failing(tx: WriteTx) -> None:
        make.append(tx)
        raise LookupError

    outcome = behind_a_leader(
        full, {f"w{n}": failing if n % 3 == 0 else (lambda tx: make.append(tx).seq) for n in range(12)}
    )
    given = sorted(value for value in outcome.values() if isinstance(value, int))
    assert given == list(range(8))
    assert full.read(lambda tx: [record.seq for record in tx.records()]) == given


def test_where_the_whole_transaction_is_lost_every_other_operation_gets_one_of_its_own(full: SqliteStore) -> None:
    def lose(tx: Any) -> None:
        tx._db.execute("rollback")
        raise sqlite3.OperationalError("as SQLite does when the disk is full")

    outcome = behind_a_leader(
        full,
        {
            "a": lambda tx: tx.set_meta("a", "1"),
            "lose": lose,
            "b": lambda tx: tx.set_meta("b", "1"),
        },
    )
    assert isinstance(outcome["lose"], StoreError)
    assert (outcome["a"], outcome["b"]) == (None, None)
    assert full.read(lambda tx: (tx.meta("a"), tx.meta("b"))) == ("1", "1")


def test_a_leader_that_is_interrupted_takes_nobody_with_it(full: SqliteStore) -> None:
    def interrupted(tx: WriteTx) -> None:
        tx.set_meta("interrupted", "1")
        raise KeyboardInterrupt

    ops: dict[str, Callable[[Any], object]] = {"interrupted": interrupted}
    ops |= {f"w{n}": lambda tx, n=n: tx.set_meta(f"w{n}", "1") for n in range(6)}
    outcome = behind_a_leader(full, ops)
    interrupted_callers = [name for name, value in outcome.items() if isinstance(value, KeyboardInterrupt)]
    assert 1 <= len(interrupted_callers) <= 3
    assert "interrupted" in interrupted_callers
    assert full.read(lambda tx: tx.meta("interrupted")) is None
    kept = [name for name in ops if name != "interrupted" and full.read(lambda tx, name=name: tx.meta(name))]
    told = [name for name in ops if outcome.get(name, 0) is None]
    assert sorted(kept) == sorted(told)
    full.write(lambda tx: tx.set_meta("after", "1"))


def test_ctrl_c_that_comes_with_the_commit_makes_no_operation_run_twice(full: SqliteStore, make: Any) -> None:
    commit = full._writer._commit
    commits: list[int] = []

    def commit_and_interrupt(db: sqlite3.Connection) -> None:
        commit(db)
        commits.append(1)
        if len(commits) == 2:
            raise KeyboardInterrupt

    full._writer._commit = commit_and_interrupt
    outcome = behind_a_leader(full, {f"w{n}": lambda tx, n=n: make.append(tx, call_id=f"w{n}").seq for n in range(8)})
    assert len([value for value in outcome.values() if isinstance(value, KeyboardInterrupt)]) == 1
    assert len([value for value in outcome.values() if isinstance(value, int)]) == 7
    assert full.read(lambda tx: [len(tx.find(call_id=f"w{n}")) for n in range(8)]) == [1] * 8


def test_ctrl_c_frees_a_caller_that_waits_and_the_store_goes_on(full: SqliteStore) -> None:
    leading, go = threading.Event(), threading.Event()

    def lead(_tx: WriteTx) -> None:
        leading.set()
        go.wait(10)

    def interrupt_the_main_thread() -> None:
        while not full._group._queue:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    leader = threading.Thread(target=full.write, args=(lead,))
    leader.start()
    assert leading.wait(10)
    helper = threading.Thread(target=interrupt_the_main_thread)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        full.write(lambda tx: tx.set_meta("waiting", "1"))
    helper.join()
    go.set()
    leader.join(10)
    assert full.read(lambda tx: tx.meta("waiting")) is None
    full.write(lambda tx: tx.set_meta("after", "1"))


def test_a_store_that_cannot_begin_refuses_everybody_who_waited(full: SqliteStore, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    outcome = behind_a_leader(
        full,
        {f"w{n}": lambda tx, n=n: tx.set_meta(f"m{n}", "x") for n in range(5)},
        first=lambda _tx: path.rename(tmp_path / "aside.db"),
    )
    codes = [getattr(outcome[f"w{n}"], "code", None) for n in range(5)]
    assert codes == ["store_moved"] * 5
    (tmp_path / "aside.db").rename(path)


def test_close_refuses_those_who_come_after_it_and_finishes_those_before(full: SqliteStore) -> None:
    results: list[str] = []

    def run(name: str) -> None:
        for _ in range(50):
            try:
                full.write(lambda tx: tx.set_meta(name, "1"))
                results.append("done")
            except StoreError as error:
                results.append(error.code)

    threads = [threading.Thread(target=run, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    while len(results) < 20:
        pass
    full.close()
    for thread in threads:
        thread.join(20)
    assert set(results) == {"done", "store_closed"}
    assert len(results) == 200
