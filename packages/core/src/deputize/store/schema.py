"""The tables, as numbered migrations that only go forward.

A file's number is its `user_version`. Older files are brought up to date when they are opened for writing;
a newer one is refused, also by a process that had it open while a newer version migrated it.
"""

import sqlite3
from typing import Final

from deputize.model.failure import StoreError

APPLICATION_ID: Final = 0x44505459  # "DPTY": what `file` and we know our files by

_FIRST: Final = (
    """create table meta (name text primary key, value text not null) without rowid""",
    """create table trees (
        txn text primary key, secret blob, sessions integer not null
    ) without rowid""",
    """create table sessions (
        id integer primary key, sid text not null unique, txn text not null, sub text not null,
        agent text not null, exp integer not null, leaf integer not null, data text not null,
        state text not null, children integer not null, task text, task_digest text
    )""",
    "create index sessions_txn on sessions (txn)",
    "create index sessions_sub on sessions (sub, exp)",
    "create index sessions_agent on sessions (agent, exp)",
    """create table grants (
        id integer primary key, jti text not null unique, sid text not null, txn text not null,
        agent text not null, sub text not null, resource text not null, scope text not null,
        mode text not null, iat integer not null, exp integer not null, jkt text, onward text,
        terminal integer not null, claims blob not null, key text, leaf integer not null
    )""",
    "create index grants_txn on grants (txn)",
    """create table remembered (
        key text primary key, digest text not null, sid text, jti text, until integer not null
    ) without rowid""",
    """create table revocations (
        kind text not null, id text not null, at integer not null, until integer not null, before integer,
        seq integer not null, reason text not null, primary key (id, kind)
    ) without rowid""",
    "create index revocations_seq on revocations (seq)",
    """create table replay (
        issuer text not null, jti text not null, until integer not null, primary key (issuer, jti)
    ) without rowid""",
    """create table keys (
        kid text primary key, use text not null, jwk blob not null, sign_from integer not null,
        sign_until integer not null, serve_until integer not null, instance text not null,
        endorsement blob, proof blob
    ) without rowid""",
    """create table records (
        seq integer primary key, time integer not null, type text not null, leaf blob not null,
        txn text, sid text, jti text, agent text, sub text, tool text, resource text, outcome text,
        call_id text, reference text, salt blob, body blob
    )""",
    "create index records_txn on records (txn) where txn is not null",
    "create index records_sid on records (sid) where txn is null and sid is not null",
    "create index records_jti on records (jti) where jti is not null",
    "create index records_call on records (call_id) where call_id is not null",
    "create index records_reference on records (reference) where reference is not null",
    """create table tiles (
        level integer not null, idx integer not null, data blob not null, primary key (level, idx)
    ) without rowid""",
)
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
VERSION: Final = len(MIGRATIONS)


def version_of(db: sqlite3.Connection) -> int:
    """The schema's number; 0 for an empty file."""
    (number,) = db.execute("pragma user_version").fetchone()
    return int(number)


def refuse_newer(number: int) -> None:
    """Raises StoreError (`store_newer`) where `number` is of a later version of the library."""
    if number > VERSION:
        raise StoreError(
            f"the store has schema {number} and this library knows {VERSION}: update the library",
            code="store_newer",
        )


def check_ours(db: sqlite3.Connection) -> int:
    """The schema's number, if the file is empty or a store of ours that we know. Changes nothing."""
    number = version_of(db)
    refuse_newer(number)
    _refuse_foreign(db, number)
    return number


def check(db: sqlite3.Connection) -> None:
    """Raises StoreError unless this is a store of ours with the schema of now."""
    number = check_ours(db)
    if number < VERSION:
        raise StoreError(
            f"the store has schema {number}, read-only use needs {VERSION}: open it for writing once",
            code="store_older",
        )


def migrate(db: sqlite3.Connection) -> None:
    """Bring the file to the schema of now in one transaction; several processes may try at once."""
    if check_ours(db) == VERSION:
        return
    db.execute("begin immediate")
    try:
        for step in MIGRATIONS[check_ours(db) :]:
            for statement in step:
                db.execute(statement)
        db.execute(f"pragma user_version = {VERSION:d}")
        db.execute(f"pragma application_id = {APPLICATION_ID:d}")
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


def _refuse_foreign(db: sqlite3.Connection, number: int) -> None:
    (mark,) = db.execute("pragma application_id").fetchone()
    if mark == APPLICATION_ID:
        return
    (tables,) = db.execute("select count(*) from sqlite_master").fetchone()
    if mark or number or tables:
        raise StoreError("this is an SQLite file, but no store of ours", code="store_foreign")
