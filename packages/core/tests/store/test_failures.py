"""Disks that fill, files that break: StoreError, nothing that was acknowledged is lost, and it recovers alone."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deputize.model.failure import StoreError
from deputize.store.connection import store_error
from deputize.store.protocol import WriteTx
from deputize.store.sqlite import SqliteStore, open_sqlite

Make = Any  # the fixture of conftest.py
DURABILITIES = pytest.mark.parametrize("durability", ["normal", "full"])


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        use()
    return caught.value.code


@DURABILITIES
def test_a_full_disk_refuses_keeps_what_was_acknowledged_and_goes_on_when_there_is_room(
    tmp_path: Path, make: Make, durability: Any
) -> None:
    store = open_sqlite(tmp_path / "store.db", durability=durability)
    db = store._writer.open()
    (pages,) = db.execute("pragma page_count").fetchone()
    db.execute(f"pragma max_page_count = {pages + 6}")
    acknowledged: list[str] = []

    def op(tx: WriteTx, sid: str) -> None:
        record = make.append(tx, txn=sid, sid=sid)
        tx.add_session(make.node(sid, leaf=record.seq, task="x" * 400))

    def fill() -> None:
        for number in range(500):
            sid = f"s{number}"
            store.write(lambda tx, sid=sid: op(tx, sid))
            acknowledged.append(sid)

    assert code_of(fill) == "store_full"
    assert acknowledged
    assert code_of(lambda: store.write(lambda tx: op(tx, "one-more-with-" + "x" * 9000))) == "store_full"
    assert [node.sid for node in store.read(lambda tx: tx.sessions())] == acknowledged
    assert store.read(lambda tx: tx.size()) == len(acknowledged)
    db.execute("pragma max_page_count = 100000")
    store.write(lambda tx: op(tx, "after"))
    assert store.read(lambda tx: tx.size()) == len(acknowledged) + 1
    store.close()


DISK = """
import resource, signal, sys
from deputize.model.failure import StoreError
from deputize.store.sqlite import open_sqlite
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_sqlite(sys.argv[1], durability=sys.argv[2])
done = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
codes = set()
while len(codes) == 0 and done < 1000:
    try:
        store.write(lambda tx: tx.set_meta(f"name{done}", "x" * 500))
        done += 1
    except StoreError as error:
        codes.add(error.code)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.write(lambda tx: tx.set_meta("after", "room again"))
lost = [n for n in range(done) if store.read(lambda tx: tx.meta(f"name{n}")) is None]
print(done > 10, sorted(codes), lost, store.read(lambda tx: tx.meta("after")))
store.close()
"""


@DURABILITIES
def test_a_disk_that_fails_to_write_is_a_store_error_and_the_next_write_works(
    script: Callable[..., Any], durability: str
) -> None:
    out, err = script(DISK, durability).communicate(timeout=60)
    assert (out, err) in {
        ("True ['store_full'] [] room again\n", ""),
        ("True ['store_io'] [] room again\n", ""),
    }


@DURABILITIES
def test_a_file_that_turns_read_only_refuses_and_recovers(tmp_path: Path, durability: Any) -> None:
    store = open_sqlite(tmp_path / "store.db", durability=durability)
    store.write(lambda tx: tx.set_meta("a", "1"))
    store._writer.open().execute("pragma query_only = on")
    assert code_of(lambda: store.write(lambda tx: tx.set_meta("a", "2"))) == "store_readonly"
    store._writer.open().execute("pragma query_only = off")
    assert store.write(lambda tx: tx.meta("a")) == "1"
    store.close()


@DURABILITIES
def test_a_file_that_was_deleted_or_replaced_under_the_store_is_not_written_into_the_void(
    tmp_path: Path, durability: Any
) -> None:
    path = tmp_path / "store.db"
    store = open_sqlite(path, durability=durability)
    store.write(lambda tx: tx.set_meta("a", "1"))
    aside = tmp_path / "aside.db"
    path.rename(aside)
    assert code_of(lambda: store.write(lambda tx: tx.set_meta("a", "2"))) == "store_moved"
    path.write_bytes(b"")
    assert code_of(lambda: store.write(lambda tx: tx.set_meta("a", "2"))) == "store_moved"
    path.unlink()
    aside.rename(path)
    store.write(lambda tx: tx.set_meta("a", "3"))
    assert store.read(lambda tx: tx.meta("a")) == "3"
    store.close()


def test_damaged_pages_are_a_store_error_and_no_crash(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "store.db"
    store = open_sqlite(path, durability="normal")
    for number in range(200):
        store.write(lambda tx, number=number: tx.add_session(make.node(f"s{number}")))
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    store = open_sqlite(path)
    assert code_of(lambda: store.read(lambda tx: tx.sessions())) == "store_corrupt"
    assert code_of(lambda: store.write(lambda tx: tx.add_session(make.node("x")))) == "store_corrupt"
    assert code_of(lambda: store.write(lambda tx: tx.add_session(make.node("x")))) == "store_corrupt"
    store.close()


def test_a_damaged_store_that_is_restored_while_it_is_open_is_read_again(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "store.db"
    open_sqlite(path).close()
    good = path.read_bytes()
    store = open_sqlite(path)
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (len(good) - 4096))
    assert code_of(lambda: store.write(lambda tx: tx.add_session(make.node("x")))) == "store_corrupt"
    with path.open("r+b") as file:
        file.write(good)
    store.write(lambda tx: tx.add_session(make.node("x")))
    assert store.read(lambda tx: tx.session("x")) == make.node("x")
    store.close()


def test_a_log_that_was_cut_in_the_middle_opens_with_the_whole_transactions_before(tmp_path: Path, make: Make) -> None:
    live = open_sqlite(tmp_path / "live.db", durability="normal")

    def op(tx: WriteTx, number: int) -> None:
        tx.add_session(make.node(f"s{number}"))
        make.append(tx, sid=f"s{number}")

    for number in range(30):
        live.write(lambda tx, number=number: op(tx, number))
    wal = (tmp_path / "live.db-wal").read_bytes()
    main = (tmp_path / "live.db").read_bytes()
    live.close()
    seen = set()
    for cut in range(0, len(wal), len(wal) // 25):
        copy = tmp_path / f"cut{cut}.db"
        copy.write_bytes(main)
        (tmp_path / f"cut{cut}.db-wal").write_bytes(wal[:cut] + b"\0" * 100)
        store = open_sqlite(copy)
        nodes, size = store.read(lambda tx: (tx.sessions(), tx.size()))
        assert [node.sid for node in nodes] == [f"s{number}" for number in range(size)]
        seen.add(size)
        store.close()
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (sqlite3.SQLITE_FULL, "store_full"),
        (sqlite3.SQLITE_BUSY, "store_busy"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "store_busy"),
        (sqlite3.SQLITE_READONLY_DBMOVED, "store_readonly"),
        (sqlite3.SQLITE_IOERR_FSYNC, "store_io"),
        (sqlite3.SQLITE_CORRUPT_VTAB, "store_corrupt"),
        (sqlite3.SQLITE_CANTOPEN_ISDIR, "store_unreachable"),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, "store_conflict"),
        (sqlite3.SQLITE_NOMEM, "store_error"),
    ],
)
def test_each_kind_of_failure_has_a_stable_code(number: int, code: str) -> None:
    error = sqlite3.OperationalError("x" * 5000)
    error.sqlite_errorcode = number
    told = store_error(error)
    assert told.code == code
    assert len(str(told)) < 300


def test_values_never_stand_in_an_error(make: Make) -> None:
    store = open_sqlite(":memory:")
    canary = "canary-7f3c91"
    store.write(lambda tx: tx.add_session(make.node(canary)))
    with pytest.raises(StoreError) as caught:
        store.write(lambda tx: tx.add_session(make.node(canary, task=canary)))
    assert canary not in str(caught.value) + str(caught.value.__cause__)
    store.close()


def synchronous(store: SqliteStore) -> int:
    (level,) = store._writer.open().execute("pragma synchronous").fetchone()
    return int(level)


def test_a_synced_write_is_synced_whatever_the_durability_and_the_next_is_not(tmp_path: Path) -> None:
    levels: list[int] = []
    store = open_sqlite(tmp_path / "store.db", durability="normal")

    def op(tx: Any) -> None:
        (level,) = tx._db.execute("pragma synchronous").fetchone()
        levels.append(level)

    for sync in (False, True, False):
        store.write(op, sync=sync)
    with pytest.raises(ZeroDivisionError):
        store.write(lambda _tx: 1 // 0, sync=True)
    store.write(op)
    assert levels == [1, 2, 1, 1]
    store.close()
    full = open_sqlite(tmp_path / "store.db", durability="full")
    assert synchronous(full) == 2
    full.close()
