"""Several processes on one file, and forks."""

import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deputize.model.failure import StoreError
from deputize.store.protocol import WriteTx
from deputize.store.sqlite import open_sqlite

Make = Any  # the fixture of conftest.py

MANY = """
import hashlib, json, sys, threading
from deputize.model.event import Record
from deputize.store.sqlite import open_sqlite
path, durability, name = sys.argv[1:]
store = open_sqlite(path, durability=durability)
print("ready", flush=True)
sys.stdin.readline()
done = []
def run(thread):
    for number in range(8):
        key = f"{name}-{thread}-{number}"
        def op(tx):
            seq = tx.next_seq()
            tx.add_record(Record(seq=seq, time=0, type=key, leaf=b"l" * 32, salt=None, body=None))
            tx.set_meta(key, str(seq))
            return seq
        done.append((key, store.write(op)))
threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
store.close()
print(json.dumps(done))
"""


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_four_processes_that_create_and_fill_one_file_lose_no_write(
    tmp_path: Path, script: Callable[..., Any], durability: Any
) -> None:
    children = [script(MANY, durability, name) for name in range(4)]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 4
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    written: list[tuple[str, int]] = []
    for child in children:
        out, err = child.communicate(timeout=120)
        assert err == ""
        written += [(key, seq) for key, seq in json.loads(out)]
    assert sorted(seq for _, seq in written) == list(range(128))
    store = open_sqlite(tmp_path / "store.db")
    assert store.read(lambda tx: [(tx.record(seq).type, tx.meta(key)) for key, seq in written]) == [
        (key, str(seq)) for key, seq in written
    ]
    assert store.read(lambda tx: tx.size()) == 128
    store.close()


def test_change_count_shows_what_another_process_wrote(tmp_path: Path, script: Callable[..., Any]) -> None:
    store = open_sqlite(tmp_path / "store.db")
    before = store.change_count()
    assert store.change_count() == before
    code = "import sys; from deputize.store.sqlite import open_sqlite as o\n"
    code += "s = o(sys.argv[1]); s.write(lambda tx: tx.set_meta('a', '1')); s.close()"
    assert script(code).communicate(timeout=60) == ("", "")
    assert store.change_count() != before
    assert store.read(lambda tx: tx.meta("a")) == "1"
    store.close()


def test_a_read_and_then_a_write_in_one_operation_survive_another_writer_in_between(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "store.db"
    here, there = open_sqlite(path, durability="normal"), open_sqlite(path, durability="normal")
    trap = sqlite3.connect(path, isolation_level=None, timeout=10)  # a broken copy: it begins deferred
    trap.execute("begin")
    trap.execute("select count(*) from records").fetchone()
    there.write(make.append)
    with pytest.raises(sqlite3.OperationalError) as caught:
        trap.execute("insert into meta values ('a', 'b')")
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT
    trap.close()

    started = threading.Event()

    def other() -> None:
        started.set()
        there.write(make.append)

    thread = threading.Thread(target=other)

    def op(tx: WriteTx) -> int:
        assert tx.size() == 1
        thread.start()
        started.wait(10)
        return int(make.append(tx).seq)

    assert here.write(op) == 1
    thread.join()
    assert here.read(lambda tx: tx.size()) == 3
    here.close()
    there.close()


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "store.db", durability="normal")
    store.write(lambda tx: tx.set_meta("a", "1"))
    writing, go = threading.Event(), threading.Event()

    def slow(tx: WriteTx) -> None:
        tx.set_meta("a", "2")
        writing.set()
        go.wait(10)

    thread = threading.Thread(target=store.write, args=(slow,))
    thread.start()
    assert writing.wait(10)
    assert store.read(lambda tx: tx.meta("a")) == "1"
    go.set()
    thread.join()
    assert store.read(lambda tx: tx.meta("a")) == "2"
    store.close()


# ---- fork

FORK = """
import json, os, sys, threading
from deputize.model.failure import StoreError
from deputize.store.sqlite import open_sqlite
path, durability, where = sys.argv[1:]
store = open_sqlite(":memory:" if where == "memory" else path, durability=durability)
def keep(name):
    def op(tx):
        tx.set_meta(name, name)
    return op
store.write(keep("before"))
store.read(lambda tx: tx.meta("before"))
store.change_count()
stop = threading.Event()
def busy():
    n = 0
    while not stop.is_set():
        store.write(keep(f"busy{n}"))
        n += 1
threads = [threading.Thread(target=busy) for _ in range(3)]
if where != "memory":
    for t in threads: t.start()
codes = []
for round in range(5):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.write(keep(f"child{round}"))
            told = store.read(lambda tx: tx.meta(f"child{round}"))
            store.change_count()
            threads_of_child = [threading.Thread(target=store.write, args=(keep(f"c{round}-{n}"),)) for n in range(4)]
            for t in threads_of_child: t.start()
            for t in threads_of_child: t.join()
        except StoreError as error:
            told = error.code
        os.write(write, told.encode())
        if round % 2:
            os._exit(0)
        stop.set()
        sys.exit(0)  # the interpreter ends as usual, destructors and all
    os.close(write)
    codes.append(os.read(read, 100).decode())
    os.close(read)
    assert os.waitpid(child, 0)[1] == 0
    store.write(keep(f"parent{round}"))
stop.set()
if where != "memory":
    for t in threads: t.join()
names = ["before"] + [f"{who}{n}" for n in range(5) for who in ("parent", "child")]
names += [f"c{r}-{n}" for r in range(5) for n in range(4)]
missing = [name for name in names if store.read(lambda tx: tx.meta(name)) is None]
store.close()
print(json.dumps([codes, missing]))
"""


@pytest.mark.requirement("I12")
@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_forked_child_of_a_file_store_writes_over_connections_of_its_own(
    tmp_path: Path, script: Callable[..., Any], durability: str
) -> None:
    out, err = script(FORK, durability, "file").communicate(timeout=120)
    assert err == ""
    assert json.loads(out) == [[f"child{n}" for n in range(5)], []]
    db = sqlite3.connect(tmp_path / "store.db")
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    db.close()


def test_a_forked_child_of_a_store_in_memory_is_refused(script: Callable[..., Any]) -> None:
    out, err = script(FORK, "normal", "memory").communicate(timeout=60)
    assert err == ""
    codes, missing = json.loads(out)
    assert codes == ["store_forked"] * 5
    assert missing == [name for n in range(5) for name in (f"child{n}",)] + [
        f"c{r}-{n}" for r in range(5) for n in range(4)
    ]


INSIDE = """
import os, sys
from deputize.model.failure import StoreError
from deputize.store.sqlite import open_sqlite
store = open_sqlite(sys.argv[1], durability=sys.argv[2])
def op(tx):
    tx.set_meta("a", "1")
    return os.fork()
try:
    child = store.write(op)
except StoreError as error:
    os._exit(7 if error.code == "store_forked" else 8)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(status, store.read(lambda tx: tx.meta("a")))
store.close()
"""


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_a_fork_inside_an_operation_commits_in_the_parent_alone(script: Callable[..., Any], durability: str) -> None:
    assert script(INSIDE, durability).communicate(timeout=60) == ("7 1\n", "")


def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(
    tmp_path: Path, script: Callable[..., Any], make: Make
) -> None:
    code = (
        "import os, signal, sys\n"
        "from deputize.store.sqlite import open_sqlite\n"
        "store = open_sqlite(sys.argv[1])\n"
        "store.write(lambda tx: tx.set_meta('whole', '1'))\n"
        "store.write(lambda tx: (tx.set_meta('half', 'x' * 5_000_000), os.kill(os.getpid(), signal.SIGKILL)))\n"
    )
    child = script(code)
    assert (child.communicate(timeout=60), child.returncode) == (("", ""), -9)
    store = open_sqlite(tmp_path / "store.db")
    assert store.read(lambda tx: (tx.meta("whole"), tx.meta("half"))) == ("1", None)
    store.write(make.append)
    store.close()


def test_a_process_that_holds_the_file_too_long_is_told_as_busy(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "store.db")
    store._writer.patience = 0.02
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(StoreError) as caught:
        store.write(lambda tx: tx.set_meta("a", "1"))
    assert caught.value.code == "store_busy"
    other.execute("commit")
    other.close()
    store.write(lambda tx: tx.set_meta("a", "1"))
    store.close()


TRAP = """
import os, sqlite3, sys
path = sys.argv[1]
parent = sqlite3.connect(path, isolation_level=None)
parent.execute("pragma journal_mode = wal")
parent.execute("create table t (a)")
parent.execute("begin immediate")
child = os.fork()
if child == 0:
    new = sqlite3.connect(path, isolation_level=None, timeout=0.2)
    os.read(0, 1)  # the parent has committed
    try:
        new.execute("begin immediate")
        os._exit(0)
    except sqlite3.OperationalError:
        os._exit(5)
parent.execute("commit")
print("committed", flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
parent.close()
"""


def test_a_child_forked_inside_a_transaction_is_locked_out_for_ever_where_nobody_takes_care(
    script: Callable[..., Any],
) -> None:
    """The broken copy: a new connection in the child believes in the locks that its process inherited."""
    program = script(TRAP)
    assert program.stdout.readline() == "committed\n"
    assert program.communicate("x", timeout=30) == ("5\n", "")


SURVIVES = """
import os, sys
from deputize.store.sqlite import open_sqlite
store = open_sqlite(sys.argv[1], durability="normal")
store.write(lambda tx: tx.set_meta("before", "1"))
read, write = os.pipe()
if os.fork() == 0:
    os.close(write)
    store.write(lambda tx: tx.set_meta("early", "1"))
    os.read(read, 1)  # the parent is gone
    for number in range(200):
        store.write(lambda tx: tx.set_meta(f"late{number}", "1"))
    print("done", flush=True)
    os._exit(0)
os.close(read)
store.write(lambda tx: tx.set_meta("parent", "1"))
store.close()
"""


def test_what_a_child_writes_outlives_the_parent_that_closed_its_store(
    tmp_path: Path, script: Callable[..., Any]
) -> None:
    assert script(SURVIVES).communicate(timeout=60) == ("done\n", "")
    store = open_sqlite(tmp_path / "store.db")
    names = ["before", "early", "parent"] + [f"late{number}" for number in range(200)]
    assert [name for name in names if store.read(lambda tx, name=name: tx.meta(name)) is None] == []
    store.close()


STUCK = """
import os, sys, threading
from deputize.model.failure import StoreError
from deputize.store import fork
from deputize.store.sqlite import open_sqlite
fork._PATIENCE = 0.2
store, idle = open_sqlite(sys.argv[1]), open_sqlite(sys.argv[1] + "2")
inside, go = threading.Event(), threading.Event()
def slow(tx):
    inside.set()
    go.wait(20)
reader = threading.Thread(target=store.read, args=(slow,))
reader.start()
inside.wait(20)
child = os.fork()
if child == 0:
    codes = []
    for use in (lambda: store.write(lambda tx: None), lambda: store.read(lambda tx: None), store.change_count):
        try:
            use()
        except StoreError as error:
            codes.append(error.code)
    idle.write(lambda tx: tx.set_meta("child", "1"))
    os._exit(3 if codes == ["store_forked"] * 3 else 4)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
go.set()
reader.join()
store.write(lambda tx: tx.set_meta("parent", "1"))
print(store.read(lambda tx: tx.meta("parent")), idle.read(lambda tx: tx.meta("child")))
store.close()
idle.close()
"""


def test_a_store_that_another_thread_stays_in_refuses_in_the_child_and_goes_on_in_the_parent(
    script: Callable[..., Any],
) -> None:
    assert script(STUCK).communicate(timeout=60) == ("3\n1 1\n", "")
