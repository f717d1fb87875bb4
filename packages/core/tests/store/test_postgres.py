"""What holds of PostgreSQL alone: its address, its schema, its failures, and that the store comes back by itself."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deputize.errors import ConfigurationError, StoreError
from deputize.store import postgres_link, postgres_schema
from deputize.store.postgres import PostgresStore, open_postgres
from deputize.store.postgres_address import address_of
from deputize.store.protocol import ReadTx, WriteTx
from deputize.system import SystemClock
from deputize.testing import postgres
from deputize.testing.database import Database

Make = Any  # the fixture of conftest.py
CANARY = "hunter2-canary"


def code_of(use: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        use()
    assert CANARY not in str(caught.value)
    return caught.value.code


def put(store: PostgresStore, value: str, *, sync: bool = False) -> None:
    store.write(lambda tx: tx.set_meta("name", value), sync=sync)


def get(store: PostgresStore) -> str | None:
    return store.read(lambda tx: tx.meta("name"))


@pytest.fixture
def url(database: Database) -> str:
    return database.url()


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    opened = open_postgres(url)
    yield opened
    opened.close()


@pytest.fixture
def own() -> Iterator[Database]:
    """A server that a test may stop."""
    with postgres() as running:
        yield running


# ---- where it is


FAR = {"dbname": "d", "sslmode": "verify-full"}


@pytest.mark.parametrize(
    ("url", "schema", "parameters"),
    [
        ("postgresql://u@h/d", "deputize", {"user": "u", "host": "h", **FAR}),
        ("postgres://u@h:6/d?schema=a_1", "a_1", {"user": "u", "host": "h", "port": "6", **FAR}),
        ("postgresql://localhost,b:7/d", "deputize", {"host": "localhost,b", "port": ",7", **FAR}),
        (
            "postgresql://h/d?options=-c%20search_path=x&sslmode=require",
            "x",
            {"host": "h", **FAR, "sslmode": "require"},
        ),
        ("postgresql:///d?host=/run/postgresql", "deputize", {"host": "/run/postgresql", "dbname": "d"}),
        ("postgresql://localhost,127.0.0.1/d", "deputize", {"host": "localhost,127.0.0.1", "port": ",", "dbname": "d"}),
    ],
)
def test_an_address_is_read_and_another_machine_has_to_prove_itself(
    url: str, schema: str, parameters: dict[str, str]
) -> None:
    found = address_of(url, {})
    assert (found.schema, dict(found.parameters)) == (schema, parameters)


def test_what_libpq_is_told_by_the_environment_stays(url: str) -> None:
    assert "sslmode" not in address_of("postgresql://h/d", {"PGSSLMODE": "require"}).parameters
    assert address_of("postgresql:///d", {"PGHOST": "h"}).parameters["sslmode"] == "verify-full"


@pytest.mark.requirement("I9")
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{CANARY}@h/d",
        f"postgresql://u@h/d?password={CANARY}",
        f"postgresql://h/d?sslpassword={CANARY}",
        f"postgresql://u:{CANARY}@h:port/d",
        f"postgresql://u:{CANARY}@[h/d",
        f"postgresql://u:{CANARY}%zz@h/d",
        f"postgresql://u:{CANARY}@h",
        "postgresql://h/",
        "postgresql://h/d?service=x",
        "postgresql://h/d?schema=Upper",
        "postgresql://h/d?schema=pg_toast",
        "postgresql://h/d?schema=a;drop",
        "postgresql://h/d?options=-c%20statement_timeout=0",
    ],
)
def test_an_address_with_a_password_or_with_what_we_set_ourselves_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_postgres(url)
    assert CANARY not in str(caught.value)
    assert caught.value.key == "store.url"
    assert caught.value.__cause__ is None


@pytest.mark.requirement("I9")
def test_a_password_comes_from_the_environment_and_is_shown_nowhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_STORE_PASSWORD", CANARY)
    found = address_of(url, os.environ)
    assert found.parameters["password"] == CANARY
    assert CANARY not in repr(found)
    opened = open_postgres(url)
    assert CANARY not in repr(vars(opened))
    opened.close()
    assert code_of(lambda: open_postgres("postgresql://u@127.0.0.1:1/d")) == "store_unreachable"


def test_two_schemas_of_one_database_know_nothing_of_each_other(database: Database) -> None:
    one, two = open_postgres(database.url()), open_postgres(database.url())
    put(one, "1")
    before = two.change_count()
    put(one, "2")
    assert (get(one), get(two), two.change_count()) == ("2", None, before)
    one.close()
    two.close()


# ---- its schema


def schema_of(url: str) -> str:
    return url.rpartition("schema=")[2]


def test_many_processes_that_open_an_empty_database_at_once_make_one_store(url: str) -> None:
    opened: list[PostgresStore] = []
    threads = [threading.Thread(target=lambda: opened.append(open_postgres(url))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
    put(opened[0], "1")
    assert [get(one) for one in opened] == ["1"] * 6
    for one in opened:
        one.close()


def test_an_older_store_is_brought_up_to_date_in_one_transaction_and_a_newer_one_refused(
    url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "kept")
    step = ("create table second (n bigint)", "alter table sessions add column more text")
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS, (*step, "create table oops (")))
    monkeypatch.setattr(postgres_schema, "VERSION", 2)
    assert code_of(lambda: open_postgres(url)) == "store_error"
    assert code_of(lambda: open_postgres(url, readonly=True)) == "store_older"
    monkeypatch.setattr(postgres_schema, "MIGRATIONS", (*postgres_schema.MIGRATIONS[:1], step))
    newer = open_postgres(url)
    assert get(newer) == "kept"
    newer.close()
    monkeypatch.undo()
    for use in (lambda: put(store, "2"), lambda: get(store), lambda: open_postgres(url)):
        assert code_of(use) == "store_newer"


def test_a_schema_of_another_application_is_refused_and_left_as_it_was(database: Database, url: str) -> None:
    schema = schema_of(url)
    database.sql(f"create schema {schema}; create table {schema}.theirs (n int)")
    assert code_of(lambda: open_postgres(url)) == "store_foreign"
    database.sql(
        f"create table {schema}.deputize_store (application text, version int); "  # noqa: S608  # names that the test made
        f"insert into {schema}.deputize_store values ('theirs', 1)"
    )
    assert code_of(lambda: open_postgres(url)) == "store_foreign"
    tables = database.sql(f"select relname from pg_class where relnamespace = '{schema}'::regnamespace order by 1")  # noqa: S608  # names that the test made
    assert tables == ["deputize_store", "theirs"]


def test_a_store_that_is_not_there_is_not_made_by_who_only_looks(database: Database, url: str) -> None:
    for options in ({"create": False}, {"readonly": True}):
        assert code_of(lambda options=options: open_postgres(url, **options)) == "store_unreachable"
    assert database.sql(f"select count(*) from pg_namespace where nspname = '{schema_of(url)}'") == ["0"]  # noqa: S608  # names that the test made


def test_a_reader_writes_nothing_and_sees_what_is_written(url: str, store: PostgresStore) -> None:
    reader = open_postgres(url, readonly=True)
    put(store, "1")
    assert get(reader) == "1"
    assert code_of(lambda: put(reader, "2")) == "store_readonly"
    reader.close()


def test_tables_that_are_gone_are_no_empty_store(database: Database, url: str, store: PostgresStore) -> None:
    put(store, "1")
    database.sql(f"drop schema {schema_of(url)} cascade")
    for use in (lambda: put(store, "2"), lambda: get(store), store.change_count):
        assert code_of(use) == "store_moved"


def test_a_role_with_the_rights_of_the_page_alone_is_enough_and_one_without_is_refused(
    database: Database, url: str
) -> None:
    schema, role = schema_of(url), "r" + schema_of(url)
    database.sql(f"create role {role} login; create schema {schema} authorization {role}")
    theirs = url.replace("deputize@", f"{role}@")
    opened = open_postgres(theirs)
    put(opened, "1")
    opened.close()
    database.sql(f"revoke insert, update on all tables in schema {schema} from {role}")
    limited = open_postgres(theirs)
    assert code_of(lambda: put(limited, "2")) == "store_readonly"
    limited.close()


# ---- text and order


def test_order_and_equality_of_text_do_not_depend_on_the_locale(database: Database, url: str, store: Any) -> None:
    collations = database.sql(
        "select distinct collation_name from information_schema.columns "  # noqa: S608  # names that the test made
        f"where table_schema = '{schema_of(url)}' and data_type = 'text' and table_name <> 'deputize_store'"
    )
    assert collations == ["C"]


@pytest.mark.parametrize("text", ["a\0b", "a\ud800"])
def test_text_that_no_column_holds_is_the_callers_fault(store: PostgresStore, text: str) -> None:
    from deputize.errors import InvalidRequest

    with pytest.raises(InvalidRequest):
        put(store, text)
    with pytest.raises(InvalidRequest):
        store.read(lambda tx: tx.meta(text))
    with pytest.raises(InvalidRequest):
        store.read(lambda tx: tx.record(2**70))
    put(store, "after")
    assert get(store) == "after"


# ---- durability


def settings_of(store: PostgresStore, *, sync: bool = False) -> str:
    def op(tx: Any) -> str:
        return str(tx._db.execute("select current_setting('synchronous_commit')").fetchone()[0])

    return store.write(op, sync=sync)


def test_a_commit_waits_for_the_disk_where_it_should(url: str, database: Database) -> None:
    database.sql(
        f"create role s{schema_of(url)} superuser login; alter role s{schema_of(url)} set synchronous_commit = off"
    )
    lax = url.replace("deputize@", f"s{schema_of(url)}@")
    full, normal = open_postgres(lax), open_postgres(lax, durability="normal")
    assert (settings_of(full), settings_of(full, sync=True)) == ("on", "on")
    assert [settings_of(normal, sync=sync) for sync in (False, True, False)] == ["off", "on", "off"]
    database.sql(f"alter role s{schema_of(url)} set synchronous_commit = remote_apply")
    strict = open_postgres(lax)
    assert settings_of(strict) == "remote_apply"
    for one in (full, normal, strict):
        one.close()


# ---- failures


def test_a_database_that_goes_away_refuses_and_is_used_again_when_it_is_back(own: Database) -> None:
    store = open_postgres(own.url())
    put(store, "1")
    store.change_count()
    own.stop()
    for use in (lambda: put(store, "2"), lambda: get(store), store.change_count):
        assert code_of(use) == "store_unreachable"
    own.start()
    assert get(store) == "1"
    put(store, "3")
    assert get(store) == "3"
    store.change_count()
    own.stop()
    own.start()
    put(store, "4")  # connections that died while nobody used them are not noticed by a caller
    assert get(store) == "4"
    store.close()


def test_a_connection_that_is_lost_inside_an_operation_undoes_it(database: Database, url: str) -> None:
    store = open_postgres(url)

    def op(tx: WriteTx) -> None:
        tx.set_meta("name", "half")
        database.sql(kill(url))
        tx.set_meta("name", "whole")

    put(store, "1")
    assert code_of(lambda: store.write(op)) == "store_unreachable"

    def look(tx: ReadTx) -> None:
        tx.meta("name")
        database.sql(kill(url))
        tx.meta("name")

    assert code_of(lambda: store.read(look)) == "store_unreachable"
    assert get(store) == "1"
    store.close()


def kill(url: str) -> str:
    """End the sessions that are in a transaction on this schema."""
    return (
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where state like 'idle in transaction%' "
        "and pid <> pg_backend_pid()"
    )


@pytest.mark.requirement("I8")
def test_a_commit_whose_outcome_nobody_knows_is_a_refusal_and_is_not_run_again(
    database: Database, url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies after COMMIT was sent: here by a trigger at its very end, which waits until it is killed."""
    schema = schema_of(url)
    put(store, "1")
    database.sql(
        f"create function {schema}.wait() returns trigger language plpgsql as $$ begin "
        f"perform pg_sleep(60); return null; end $$; create constraint trigger late after update on {schema}.meta "
        f"deferrable initially deferred for each row execute function {schema}.wait()"
    )
    runs: list[int] = []
    outcome: list[str] = []

    def op(tx: WriteTx) -> None:
        runs.append(1)
        tx.set_meta("name", "2")

    writer = threading.Thread(target=lambda: outcome.append(code_of(lambda: store.write(op))))
    writer.start()
    sleeping = "select pid from pg_stat_activity where wait_event = 'PgSleep'"
    while not (pids := database.sql(sleeping)):
        pass
    database.sql(f"select pg_terminate_backend({pids[0]}, 5000)")
    writer.join()
    assert (outcome, len(runs)) == (["store_unknown"], 1)
    database.sql(f"drop trigger late on {schema}.meta")
    assert get(store) == "1"
    put(store, "3")
    assert get(store) == "3"


def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_link, "SILENCE", 0.3)
    store = open_postgres(url)

    def op(tx: Any) -> None:
        (pid,) = tx._db.execute("select pg_backend_pid()").fetchone()
        stopped.append(int(pid))
        os.kill(pid, signal.SIGSTOP)
        tx.set_meta("name", "2")

    stopped: list[int] = []
    try:
        assert code_of(lambda: store.write(op)) == "store_unreachable"
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    put(store, "3")
    assert get(store) == "3"
    store.close()


def test_a_lock_that_is_not_given_back_is_busy(url: str, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        postgres_link, "_OPTIONS", postgres_link._OPTIONS.replace("lock_timeout=10s", "lock_timeout=50")
    )
    other = open_postgres(url)
    assert store.write(lambda _tx: code_of(lambda: put(other, "2"))) == "store_busy"
    put(other, "3")
    other.close()


def test_a_primary_that_became_read_only_is_refused_for_reading_too(own: Database) -> None:
    store = open_postgres(own.url())
    put(store, "1")
    own.sql("alter system set default_transaction_read_only = on")
    own.sql("select pg_reload_conf()")
    uses = [lambda: put(store, "2"), lambda: get(store), store.change_count, lambda: open_postgres(own.url())]
    while own.sql("show default_transaction_read_only") != ["on"]:
        pass
    for use in uses:
        refused: list[str] = []
        while not refused:  # a session hears of it between two statements
            try:
                use()
            except StoreError as error:
                refused.append(error.code)
        assert refused == ["store_standby"]
    store.close()


def test_a_standby_is_refused() -> None:
    with postgres(durable=True) as own:
        url = own.url()
        store = open_postgres(url)
        put(store, "1")
        own.stop()
        own.become_standby()
        own.start()
        for use in (lambda: put(store, "2"), lambda: get(store), store.change_count, lambda: open_postgres(url)):
            assert code_of(use) == "store_standby"
        assert code_of(lambda: open_postgres(url, readonly=True)) == "store_standby"
        own.sql("select pg_promote()")
        put(store, "3")
        assert get(store) == "3"
        store.close()


def test_more_readers_than_connections_wait_and_none_is_lost(url: str, store: PostgresStore) -> None:
    put(store, "1")
    seen: list[str | None] = []
    threads = [threading.Thread(target=lambda: seen.append(get(store))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == ["1"] * 40
    assert len(store._readers._idle) <= 8


def test_errors_quote_no_row_of_the_database(store: PostgresStore, make: Make) -> None:
    node = make.node("a", sub=CANARY)
    store.write(lambda tx: tx.add_session(node))
    with pytest.raises(StoreError) as caught:
        store.write(lambda tx: tx.add_session(node))
    assert caught.value.code == "store_conflict"
    with pytest.raises(StoreError) as torn:
        store.write(lambda tx: tx._db.execute("insert into meta (name) values (?)", (CANARY,)))  # type: ignore[attr-defined]  # inside
    for error in (caught.value, torn.value):
        assert CANARY not in str(error)
        assert error.__cause__ is None


def test_the_clock_of_the_database_can_be_read(store: PostgresStore) -> None:
    assert abs(store.database_time() - SystemClock().now()) < 60


# ---- forks

FORKS = """
import os, sys, threading
from deputize.errors import StoreError
from deputize.store.postgres import open_postgres
store = open_postgres(sys.argv[2])
def name(tx): return tx.meta("name")
store.write(lambda tx: tx.set_meta("name", "parent"))
store.read(name)
child = os.fork()
if child == 0:
    assert store.read(name) == "parent"
    store.write(lambda tx: tx.set_meta("name", "child"))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store.read(name) == "child"
store.write(lambda tx: tx.set_meta("name", "parent again"))
def forking(tx):
    tx.set_meta("name", "forked inside")
    child = os.fork()
    if child == 0:
        codes = []
        for use in (lambda: store.read(name), lambda: store.write(name)):
            try:
                use()
            except StoreError as error:
                codes.append(error.code)
        os._exit(0 if codes == ["store_forked", "store_forked"] else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(store.write(forking), store.read(name))
def returning(tx):
    tx.set_meta("name", "who commits")
    return os.fork()
try:
    child = store.write(returning)
except StoreError as error:
    os._exit(0 if error.code in ("store_forked", "store_error") else 2)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), store.read(name))
store.close()
"""


def test_a_fork_leaves_parent_and_child_with_connections_of_their_own(script: Callable[..., Any], url: str) -> None:
    out, err = script(FORKS, url).communicate(timeout=60)
    assert (out, err) == ("0 forked inside\n0 who commits\n", "")
