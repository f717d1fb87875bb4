"""Two replicas of the authority, each a process of its own, over one PostgreSQL."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from deputize.audit.log import Log
from deputize.audit.record import seal
from deputize.audit.verification import verify
from deputize.model.event import Event
from deputize.store.postgres import open_postgres
from deputize.testing import postgres
from deputize.testing.database import Database

Start = Callable[[str], "Remote"]


class Remote:
    """A replica to speak with: `replica("open", "alice", "key")`."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(Path(__file__).parent / "replica.py"), url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, *words: Any) -> None:
        self.process.stdin.write(orjson.dumps(words) + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        line = self.process.stdout.readline()
        assert line, "the replica is gone"
        return orjson.loads(line)

    def __call__(self, *words: Any) -> Any:
        self.ask(*words)
        return self.answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def start(seed: str) -> Iterator[Start]:
    started: list[Remote] = []

    def one(url: str) -> Remote:
        started.append(Remote(url))
        return started[-1]

    yield one
    for remote in started:
        remote.close()


@pytest.fixture
def two(start: Start, database: Database) -> tuple[Remote, Remote]:
    url = database.url()
    return start(url), start(url)


@pytest.mark.requirement("I7")
@pytest.mark.requirement("RV-03")
@pytest.mark.requirement("A-11")
@pytest.mark.parametrize("times", [30, pytest.param(1000, marks=pytest.mark.deep)])
def test_once_revoke_has_returned_on_one_replica_the_first_exchange_on_the_other_is_refused(
    two: tuple[Remote, Remote], times: int
) -> None:
    for remote in two:
        remote("load", 1 if times < 100 else 2)
    for number in range(times):
        here, there = two if number % 2 else two[::-1]
        user, key = f"user{number}", f"key{number}"
        sid = here("open", user, key)
        assert there("open", user, key) == sid
        assert [there("access", sid), there("call", sid), there("active", sid)] == ["ok", "ok", True]
        here("revoke", *(("user", user) if number % 3 == 0 else ("session", sid)))
        first = there("access", sid) if number % 5 else there("call", sid)
        assert first == "session_revoked"
        assert [there("access", sid), there("call", sid), here("access", sid)] == [first] * 3
        assert there("active", sid) is False


def test_a_replica_that_believes_what_it_once_read_is_found_out(two: tuple[Remote, Remote]) -> None:
    here, there = two
    there("break_liveness")
    sid = here("open", "alice", "key")
    assert there("open", "alice", "key") == sid
    assert there("access", sid) == "ok"
    here("revoke", "session", sid)
    assert there("access", sid) == "ok"
    assert here("open", "bob", "other")


@pytest.mark.requirement("I12")
@pytest.mark.requirement("DP-06")
def test_a_proof_that_was_shown_to_one_replica_is_spent_on_the_other(two: tuple[Remote, Remote]) -> None:
    here, there = two
    assert here("spend", ["a", "b"]) == [True, True]
    assert there("spend", ["b", "c", "a"]) == [False, True, False]
    names = [f"n{number}" for number in range(100)]
    here.ask("spend", names)
    there.ask("spend", names[::-1])
    first, second = here.answer(), there.answer()[::-1]
    assert all(one is not other for one, other in zip(first, second, strict=True))


def test_a_reader_by_row_id_loses_what_commits_late(database: Database) -> None:
    """The attack: numbers are given out at insert, and become visible at commit, in another order."""
    address = f"host={database._folder} user=deputize dbname=postgres"
    with psycopg.connect(address) as slow, psycopg.connect(address) as quick, psycopg.connect(address) as reader:
        reader.autocommit = True
        quick.execute("create table naive (id bigint generated always as identity, what text)")
        quick.commit()
        seen: list[str] = []
        cursor = 0

        def page() -> None:
            nonlocal cursor
            for number, what in reader.execute("select id, what from naive where id > %s order by id", (cursor,)):
                seen.append(what)
                cursor = number

        slow.execute("insert into naive (what) values ('revoked')")
        quick.execute("insert into naive (what) values ('noted')")
        quick.commit()
        page()
        slow.commit()
        page()
        assert seen == ["noted"]
        quick.execute("drop table naive")


@pytest.mark.requirement("I14")
def test_a_reader_by_number_sees_what_commits_late(database: Database) -> None:
    """The same order of events: the second writer has to wait for the first, and the reader misses nothing."""
    url = database.url()
    slow, quick, reader = open_postgres(url), open_postgres(url), open_postgres(url)
    inside, go = threading.Event(), threading.Event()
    order: list[str] = []

    def late(tx: Any) -> None:
        note(tx, "revoked")
        inside.set()
        assert go.wait(30)

    def write(store: Any, op: Callable[[Any], None], name: str) -> None:
        store.write(op)
        order.append(name)

    def note(tx: Any, what: str) -> None:
        tx.add_record(seal(Event(type=what, outcome="done", time=1), tx.next_seq()))

    def page(after: int) -> list[str]:
        return [record.type for record in reader.read(lambda tx: list(tx.records(start=after)))]

    first = threading.Thread(target=write, args=(slow, late, "slow"))
    first.start()
    assert inside.wait(30)
    second = threading.Thread(target=write, args=(quick, lambda tx: note(tx, "noted"), "quick"))
    second.start()
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and wait_event = 'advisory'"
    while database.sql(waiting) != ["1"]:
        pass
    seen = page(0)
    assert seen == []
    go.set()
    first.join()
    second.join()
    assert page(0) == ["revoked", "noted"]
    for store in (slow, quick, reader):
        store.close()


@pytest.mark.requirement("I14")
def test_two_replicas_append_at_once_and_a_reader_that_pages_misses_nothing(database: Database, start: Start) -> None:
    url = database.url()
    here, there = start(url), start(url)
    assert here("spend", []) == there("spend", []) == []  # both have started
    reader = open_postgres(url)
    before = reader.read(lambda tx: tx.size())
    for remote in (here, there):
        remote.ask("append", 1.0)
    done: list[list[int]] = []
    waiting = threading.Thread(target=lambda: done.extend([here.answer(), there.answer()]))
    waiting.start()
    seen: list[int] = []
    cursor, last = before, False
    while not last:
        last = not waiting.is_alive()
        found = [record.seq for record in reader.read(lambda tx, cursor=cursor: list(tx.records(start=cursor)))]
        seen += found
        cursor = found[-1] + 1 if found else cursor
    told = sorted(done[0] + done[1])
    assert min(map(len, done)) > 20
    assert seen == told == list(range(before, before + len(told)))
    log = Log(reader)
    log.integrate()
    report = reader.read(verify)
    assert report.ok, report.findings
    reader.close()


@pytest.mark.requirement("I10")
def test_without_its_database_a_replica_refuses_and_goes_on_when_it_is_back(start: Start, seed: str) -> None:
    with postgres() as own:
        remote = start(own.url())
        sid = remote("open", "alice", "key")
        assert remote("access", sid) == "ok"
        own.stop()
        assert {remote("access", sid), remote("call", sid)} == {"store_unreachable"}
        own.start()
        assert [remote("access", sid), remote("call", sid), remote("active", sid)] == ["ok", "ok", True]
        assert remote.process.poll() is None


def test_a_process_killed_inside_a_transaction_gives_the_lock_back(database: Database) -> None:
    url = database.url()
    code = (
        "import os, signal, sys\n"
        "from deputize.store.postgres import open_postgres\n"
        "def op(tx):\n    tx.set_meta('half', '1')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "open_postgres(sys.argv[1]).write(op)\n"
    )
    store = open_postgres(url)
    assert subprocess.run([sys.executable, "-c", code, url], check=False).returncode == -9
    store.write(lambda tx: tx.set_meta("whole", "1"))
    assert store.read(lambda tx: (tx.meta("half"), tx.meta("whole"))) == (None, "1")
    store.close()
