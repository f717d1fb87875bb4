"""The store of more than one machine: PostgreSQL, one schema for one authority, any number of processes.

A record's number stands in the token that it permits (`rec`), so it has to be known before the token is signed:
numbering happens in the transaction that writes. Every such transaction is READ COMMITTED, and its first statement
takes one advisory lock of the schema, which ends with it. Whatever the operation then reads, it reads in later
statements, each of which sees all that was committed before it, by any process. So writers come one after the other,
as behind SQLite's `begin immediate`: no transaction that commits late can slip a record in below a number that a
reader has passed, counters are exact, and of a revocation and an exchange one sees the other (SEMANTICS, step 12:
the lock of the tree's row is contained in this one, and a second would cost a round trip and permit nothing more).

Under the lock nobody waits for a disk alone: what the callers of a process write at once shares a transaction, with a
savepoint for each, and one commit (`group`). A reader sees one REPEATABLE READ view of the primary and waits for
nobody. Every transaction looks whether the schema is the one that this library knows and whether the server is still
a primary; a standby is refused, since liveness read there may be old.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import TypeVar

from deputize.store import fork
from deputize.store.entry import Entry
from deputize.store.group import Group
from deputize.store.postgres_address import Address, address_of
from deputize.store.postgres_pool import Pool
from deputize.store.postgres_writer import Writer
from deputize.store.protocol import ReadTx, WriteTx
from deputize.store.sqlite import Durability

T = TypeVar("T")


def open_postgres(
    url: str, *, durability: Durability = "full", create: bool = True, readonly: bool = False
) -> "PostgresStore":
    """Open `postgresql://user@host/database?schema=name`; raises ConfigurationError, StoreError.

    `full`: a write is on disk when it returns, and on the standbys that the server waits for. `normal`: a crash of
    the server may take back the last moments, except what ends or revokes. `create=False` refuses a schema that
    holds no store; `readonly` refuses writes and never changes the schema.
    """
    return PostgresStore(address_of(url, os.environ), full=durability == "full", create=create, readonly=readonly)


class PostgresStore(Entry):
    """Implements `Store`. Made by `open_postgres`."""

    def __init__(self, address: Address, *, full: bool, create: bool, readonly: bool) -> None:
        super().__init__()
        self._writer = Writer(address, full=full, readonly=readonly)
        self._readers = Pool(address)
        self._make_locks()
        self._finalizer = weakref.finalize(self, _close_all, self._writer, self._readers)
        fork.register(self)
        me = self._enter()
        try:
            if readonly:
                self._readers.check()
            else:
                self._writer.prepare(create=create)
        except BaseException:
            self._finalizer()
            raise
        finally:
            self._inside.discard(me)

    def _make_locks(self) -> None:
        self._turn = threading.Lock()
        self._group = Group(self._turn, self._writer.batch)

    def write(self, op: Callable[[WriteTx], T], *, sync: bool = False) -> T:
        """See Store."""
        me = self._enter()
        try:
            return self._group.submit(op, sync=sync)
        finally:
            self._inside.discard(me)

    def read(self, op: Callable[[ReadTx], T]) -> T:
        """See Store."""
        me = self._enter()
        try:
            return self._readers.run(op)
        finally:
            self._inside.discard(me)

    def change_count(self) -> int:
        """See Store."""
        me = self._enter()
        try:
            return self._readers.changes()
        finally:
            self._inside.discard(me)

    def database_time(self) -> float:
        """The database's clock, seconds since the epoch: a replica whose own is far off is not ready."""
        me = self._enter()
        try:
            return self._readers.time()
        finally:
            self._inside.discard(me)

    def close(self) -> None:
        """See Store."""
        me = self._enter()
        try:
            with self._turn:
                self._finalizer()
        finally:
            self._inside.discard(me)

    def _let_go(self) -> None:
        self._readers.drain()
        self._writer.close()

    def resume_in_child(self, *, rested: bool) -> list[object]:
        """See `fork.Forked`."""
        self._resting = None
        if rested:
            return []
        self._inside = set()
        self._make_locks()
        return [*self._writer.leave(), *self._readers.leave()]


def _close_all(writer: Writer, readers: Pool) -> None:
    """Not a method: it must not keep the store alive until the interpreter ends."""
    readers.finish()
    writer.finish()
