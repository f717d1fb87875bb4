"""The tables in PostgreSQL, as numbered migrations that only go forward. One authority has one schema.

A schema's number stands in `deputize_store`, beside the count of its changes. All text is compared by code point
(`collate "C"`), as SQLite does: order and uniqueness must not depend on the server's locale.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from deputize.model.failure import StoreError

APPLICATION: Final = "deputize"

_TEXT: Final = 'text collate "C"'
_ID: Final = "bigint generated always as identity primary key"
_FIRST: Final = (
    """create table deputize_store (
        one boolean primary key default true check (one), application text not null, version integer not null,
        changes bigint not null default 0
    ) with (fillfactor = 50)""",
    f"insert into deputize_store (application, version) values ('{APPLICATION}', 0)",  # noqa: S608  # a constant
    f"create table meta (name {_TEXT} primary key, value {_TEXT} not null)",
    f"create table trees (txn {_TEXT} primary key, secret bytea, sessions bigint not null)",
    f"""create table sessions (
        id {_ID}, sid {_TEXT} not null unique, txn {_TEXT} not null, sub {_TEXT} not null,
        agent {_TEXT} not null, exp bigint not null, leaf bigint not null, data {_TEXT} not null,
        state {_TEXT} not null, children bigint not null, task {_TEXT}, task_digest {_TEXT}
    )""",
    "create index sessions_txn on sessions (txn)",
    "create index sessions_sub on sessions (sub, exp)",
    "create index sessions_agent on sessions (agent, exp)",
    f"""create table grants (
        id {_ID}, jti {_TEXT} not null unique, sid {_TEXT} not null, txn {_TEXT} not null,
        agent {_TEXT} not null, sub {_TEXT} not null, resource {_TEXT} not null, scope {_TEXT} not null,
        mode {_TEXT} not null, iat bigint not null, exp bigint not null, jkt {_TEXT}, onward {_TEXT},
        terminal bigint not null, claims bytea not null, key {_TEXT}, leaf bigint not null
    )""",
    "create index grants_txn on grants (txn)",
    f"""create table remembered (
        key {_TEXT} primary key, digest {_TEXT} not null, sid {_TEXT}, jti {_TEXT}, until bigint not null
    )""",
    f"""create table revocations (
        kind {_TEXT} not null, id {_TEXT} not null, at bigint not null, until bigint not null, before bigint,
        seq bigint not null, reason {_TEXT} not null, primary key (id, kind)
    )""",
    "create index revocations_seq on revocations (seq)",
    f"""create table replay (
        issuer {_TEXT} not null, jti {_TEXT} not null, until bigint not null, primary key (issuer, jti)
    )""",
    f"""create table keys (
        kid {_TEXT} primary key, use {_TEXT} not null, jwk bytea not null, sign_from bigint not null,
        sign_until bigint not null, serve_until bigint not null, instance {_TEXT} not null,
        endorsement bytea, proof bytea
    )""",
    f"""create table records (
        seq bigint primary key, time bigint not null, type {_TEXT} not null, leaf bytea not null,
        txn {_TEXT}, sid {_TEXT}, jti {_TEXT}, agent {_TEXT}, sub {_TEXT}, tool {_TEXT}, resource {_TEXT},
        outcome {_TEXT}, call_id {_TEXT}, reference {_TEXT}, salt bytea, body bytea
    )""",
    "create index records_txn on records (txn) where txn is not null",
    "create index records_sid on records (sid) where txn is null and sid is not null",
    "create index records_jti on records (jti) where jti is not null",
    "create index records_call on records (call_id) where call_id is not null",
    "create index records_reference on records (reference) where reference is not null",
    "create table tiles (level bigint not null, idx bigint not null, data bytea not null, primary key (level, idx))",
)
MIGRATIONS: tuple[tuple[str, ...], ...] = (_FIRST,)
VERSION: int = len(MIGRATIONS)

_MISSING: Final = "the database holds no store of this name; an authority makes it when it first opens"


class Server(Protocol):
    """A connection that is in a transaction."""

    @property
    def schema(self) -> str:
        """Where the store is to be."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Any:  # noqa: ANN401  # a cursor of either kind
        """Run one statement."""
        ...

    def script(self, text: str) -> object:
        """Run several at once."""
        ...


def refuse_newer(number: int) -> None:
    """Raises StoreError (`store_newer`) where `number` is of a later version of the library."""
    if number > VERSION:
        raise StoreError(
            f"the store has schema {number} and this library knows {VERSION}: update the library",
            code="store_newer",
        )


def check_number(number: int) -> None:
    """Raises StoreError unless the schema is that of now."""
    refuse_newer(number)
    if number < VERSION:
        raise StoreError(
            f"the store has schema {number}, and this use needs {VERSION}: open it for writing once",
            code="store_older",
        )


def number_of(server: Server) -> int | None:
    """The schema's number; 0 where it is empty, None where it is not there. Raises StoreError (`store_foreign`)."""
    row = server.execute(
        "select (select count(*) from pg_class where relnamespace = n.oid), "
        "(select count(*) from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'application' "
        "where c.relnamespace = n.oid and c.relname = 'deputize_store') from pg_namespace n where n.nspname = ?",
        (server.schema,),
    ).fetchone()
    if row is None:
        return None
    if row[0] == 0:
        return 0
    mark = server.execute("select application, version from deputize_store").fetchone() if row[1] else None
    if mark is None or mark[0] != APPLICATION:
        raise StoreError("the schema holds something, but no store of ours", code="store_foreign")
    return int(mark[1])


def check(server: Server) -> None:
    """Raises StoreError unless this is a store of ours with the schema of now."""
    number = number_of(server)
    if not number:
        raise StoreError(_MISSING, code="store_unreachable")
    check_number(number)


def migrate(server: Server, *, create: bool) -> None:
    """Bring the store to the schema of now, inside a transaction that holds its lock.

    `create` False refuses to make one. Raises StoreError.
    """
    number = number_of(server)
    if not number and not create:
        raise StoreError(_MISSING, code="store_unreachable")
    if number is None:
        server.execute(f'create schema "{server.schema}"')
        number = 0
    refuse_newer(number)
    if number == VERSION:
        return
    for step in MIGRATIONS[number:]:
        server.script("; ".join(step))
    server.execute("update deputize_store set version = ?", (VERSION,))
