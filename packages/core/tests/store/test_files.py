"""Files: how they are made, found, refused and given back."""

import gc
import os
import sqlite3
import stat
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.model.failure import StoreError
from deputize.store import schema
from deputize.store.sqlite import open_sqlite


def refused(*arguments: Any, **options: Any) -> str:
    """The code with which opening is refused."""
    with pytest.raises(StoreError) as caught:
        open_sqlite(*arguments, **options)
    return caught.value.code


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_only_the_owner_may_read_what_is_created(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    before = os.umask(0)
    try:
        store = open_sqlite(path)
        store.write(lambda tx: tx.set_meta("a", "1"))
    finally:
        os.umask(before)
    made = sorted(tmp_path.iterdir())
    assert [each.name for each in made] == ["store.db", "store.db-shm", "store.db-wal"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in made} == {0o600}
    store.close()
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_of_a_file_that_exists_is_left_as_its_owner_set_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_sqlite(path).close()
    path.chmod(0o640)
    open_sqlite(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("form", ["{0}", "sqlite:{0}", "sqlite://{0}"])
def test_a_store_is_named_by_path_or_url(tmp_path: Path, form: str) -> None:
    path = tmp_path / "with space, 100% & ?#.db"
    open_sqlite(form.format(path)).close()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "sqlite:", "a\0b"])
def test_a_name_that_means_no_file_is_refused(name: str) -> None:
    assert refused(name) == "store_unreachable"


def test_a_missing_file_is_made_only_where_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    assert refused(path, create=False) == "store_unreachable"
    assert refused(path, readonly=True) == "store_unreachable"
    assert refused(tmp_path / "nowhere" / "store.db") == "store_unreachable"
    assert refused(tmp_path) == "store_unreachable"
    assert list(tmp_path.iterdir()) == []
    open_sqlite(path).close()
    open_sqlite(path, create=False).close()


def test_two_stores_in_memory_have_nothing_in_common() -> None:
    one, two = open_sqlite(":memory:"), open_sqlite("sqlite::memory:")
    one.write(lambda tx: tx.set_meta("a", "1"))
    assert two.read(lambda tx: tx.meta("a")) is None
    one.close()
    two.close()
    assert refused(":memory:", readonly=True) == "store_unreachable"


def test_a_read_only_store_sees_what_another_writes_and_writes_nothing(tmp_path: Path) -> None:
    writer = open_sqlite(tmp_path / "store.db", durability="normal")
    reader = open_sqlite(tmp_path / "store.db", readonly=True)
    before = reader.change_count()
    writer.write(lambda tx: tx.set_meta("a", "1"))
    assert reader.read(lambda tx: tx.meta("a")) == "1"
    assert reader.change_count() != before
    with pytest.raises(StoreError) as caught:
        reader.write(lambda tx: tx.set_meta("a", "2"))
    assert caught.value.code == "store_readonly"
    reader.close()
    writer.close()


def test_a_verifier_may_read_the_revocations_with_a_plain_connection(tmp_path: Path) -> None:
    open_sqlite(tmp_path / "store.db").close()
    db = raw(tmp_path / "store.db")
    columns = [row[1] for row in db.execute("pragma table_info(revocations)")]
    db.close()
    assert columns == ["kind", "id", "at", "until", "before", "seq", "reason"]


# ---- schema


def test_old_code_refuses_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_sqlite(path).close()
    db = raw(path)
    db.execute(f"pragma user_version = {schema.VERSION + 1}")
    db.close()
    assert refused(path) == "store_newer"
    assert refused(path, readonly=True) == "store_newer"


def test_old_code_that_runs_while_the_file_is_migrated_refuses_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_sqlite(path)
    store.write(lambda tx: tx.set_meta("a", "1"))
    db = raw(path)
    db.execute(f"pragma user_version = {schema.VERSION + 1}")
    for use in (lambda: store.write(lambda tx: tx.set_meta("a", "2")), lambda: store.read(lambda tx: tx.meta("a"))):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "store_newer"
    assert db.execute("select value from meta where name = 'a'").fetchall() == [("1",)]
    db.execute(f"pragma user_version = {schema.VERSION}")
    db.close()
    assert store.write(lambda tx: tx.meta("a")) == "1"
    store.close()


def test_old_data_opens_with_new_code_and_then_old_code_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    store = open_sqlite(path)
    store.write(lambda tx: tx.set_meta("a", "1"))
    store.close()
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("create table later (a)",)))
        newer.setattr(schema, "VERSION", schema.VERSION + 1)
        assert refused(path, readonly=True) == "store_older"
        store = open_sqlite(path)
        assert store.read(lambda tx: tx.meta("a")) == "1"
        store.close()
        open_sqlite(path, readonly=True).close()
    assert refused(path) == "store_newer"


def test_a_migration_that_fails_half_way_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    open_sqlite(path).close()
    with monkeypatch.context() as newer:
        newer.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("create table later (a)", "nonsense")))
        newer.setattr(schema, "VERSION", schema.VERSION + 1)
        assert refused(path) == "store_error"
    open_sqlite(path).close()
    db = raw(path)
    assert db.execute("select count(*) from sqlite_master where name = 'later'").fetchone() == (0,)
    db.close()


def test_the_first_schema_never_changes(tmp_path: Path) -> None:
    frozen = (Path(__file__).parent / "data" / "schema_1.sql").read_text(encoding="utf-8")
    old = raw(tmp_path / "old.db")
    old.executescript(frozen)
    new = raw(tmp_path / "new.db")
    for statement in schema.MIGRATIONS[0]:
        new.execute(statement)
    shape = "select type, name, tbl_name, sql from sqlite_master order by name"
    assert new.execute(shape).fetchall() == old.execute(shape).fetchall()
    old.close()
    new.close()


def test_data_of_the_first_schema_reads_the_same_with_the_code_of_now(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "store.db"
    old = raw(path)
    old.executescript((Path(__file__).parent / "data" / "schema_1.sql").read_text(encoding="utf-8"))
    old.close()
    store = open_sqlite(path)
    root, record = make.node("root", leaf=0, children=1), make.record(0)
    below = make.child("below", root, leaf=1, task="Q3", task_digest="d" * 32)
    assert store.read(lambda tx: tx.line(below)) == [root, below]
    assert store.read(lambda tx: tx.grants(txn="root")) == [
        make.grant("j", below, onward=root.ceiling, claims=b'{"rec":"r"}', leaf=2)
    ]
    assert store.read(lambda tx: (tx.size(), tx.record(0).leaf, tx.tree_secret("root"))) == (3, record.leaf, b"k" * 32)
    assert [row.id for row in store.read(lambda tx: tx.revocations())] == ["below"]
    store.close()


# ---- what is no store


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"These are somebody's notes.\n" * 100)
    before = path.read_bytes()
    assert refused(path) == "store_corrupt"
    assert path.read_bytes() == before


@pytest.mark.parametrize("mark", [0, 7])
def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path, mark: int) -> None:
    path = tmp_path / "store.db"
    db = raw(path)
    db.execute("create table notes (a)")
    db.execute(f"pragma application_id = {mark}")
    db.execute(f"pragma user_version = {mark and schema.VERSION}")
    db.close()
    assert refused(path) == "store_foreign"
    assert refused(path, readonly=True) == "store_foreign"
    db = raw(path)
    assert db.execute("select name from sqlite_master").fetchall() == [("notes",)]
    assert db.execute("pragma journal_mode").fetchone() == ("delete",)
    db.close()


# ---- giving back


def test_a_store_that_nobody_holds_is_collected_and_gives_its_files_back(tmp_path: Path) -> None:
    store = open_sqlite(tmp_path / "store.db")
    store.write(lambda tx: tx.set_meta("a", "1"))
    store.read(lambda tx: tx.meta("a"))
    store.change_count()
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
    assert [each.name for each in tmp_path.iterdir()] == ["store.db"]


def test_an_opening_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_sqlite(path).close()
    db = raw(path)
    db.execute(f"pragma user_version = {schema.VERSION + 1}")
    db.close()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208  # a count
    for _ in range(5):
        assert refused(path) == "store_newer"
    after = len(os.listdir("/proc/self/fd")) if before else 0  # noqa: PTH208  # a count
    assert after == before


# ---- what is erased, and what searching costs


def test_nothing_of_what_was_erased_is_left_in_the_file(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "store.db"
    store = open_sqlite(path, durability="normal")
    kept, gone = "kept-5d21", "gone-9c40"

    def op(tx: Any, word: str) -> None:
        record = make.record(tx.next_seq(), sub=f"local|{word}", tool=word, call_id=word, reference=word)
        tx.add_record(replace(record, body=word.encode() * 1000, salt=word.encode()))
        tx.add_tree(word, word.encode())
        tx.add_session(make.node(word[::-1], txn=word, task=f"task of {word}", task_digest=word))

    for word in (kept, gone, kept + "2"):
        store.write(lambda tx, word=word: op(tx, word))
    store.write(lambda tx: (tx.erase(1), tx.erase_tree(gone)))
    store.write(lambda tx: tx.add_session(make.node("later")))
    store.close()
    left = path.read_bytes()
    assert left.count(kept.encode()) > 1000
    assert gone.encode() * 2 not in left
    assert b"task of " + gone.encode() not in left
    assert b"local|" + gone.encode() not in left


@pytest.mark.parametrize(
    "query", [{"txn": "t"}, {"sid": "s"}, {"jti": "j"}, {"call_id": "c"}, {"reference": "r"}, {"txn": "t", "tool": "x"}]
)
def test_a_search_by_a_name_reads_no_more_than_what_has_that_name(
    tmp_path: Path, make: Any, query: dict[str, str]
) -> None:
    store = open_sqlite(tmp_path / "store.db", durability="normal")
    store.write(lambda tx: tx.add_session(make.node("s", txn="t")))
    plans: list[str] = []

    def op(tx: Any) -> None:
        statements: list[str] = []
        db = tx._db
        db.set_trace_callback(statements.append)
        tx.find(**query)
        db.set_trace_callback(None)
        plans.extend(row[3] for text in statements for row in db.execute("explain query plan " + text))

    store.read(op)
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN")] == []
    store.close()
