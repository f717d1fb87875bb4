"""Connections that only read. One reader never waits for the writer, nor for another reader."""

import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from deputize.store import connection, schema
from deputize.store.read import SqlRead

T = TypeVar("T")
_KEPT: Final = 8  # idle connections


class Readers:
    """A pool that grows with the number of readers at once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._busy: set[sqlite3.Connection] = set()
        self._refusal: connection.Refusal | None = None

    def run(self, op: Callable[[SqlRead], T]) -> T:
        """One operation on one snapshot. Raises StoreError."""
        db = self.take()
        tx = SqlRead(db)
        sound = False
        try:
            db.execute("begin")
            schema.refuse_newer(schema.version_of(db))
            try:
                return op(tx)
            finally:
                tx.end()
                db.execute("rollback")
                sound = True
        except sqlite3.Error as error:
            raise connection.store_error(error) from error
        except connection.UNSTORABLE:
            raise connection.unstorable() from None
        finally:
            self.give(db, sound=sound)

    def take(self) -> sqlite3.Connection:
        """An idle connection or a new one. Raises StoreError."""
        connection.refuse(self._refusal)
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._open()
        self._busy.add(db)
        return db

    def give(self, db: sqlite3.Connection, *, sound: bool) -> None:
        """Back to the pool, or closed where it is of no more use."""
        if db not in self._busy:  # left behind by a fork
            return
        self._busy.discard(db)
        if sound and self._refusal is None and len(self._idle) < _KEPT:
            self._idle.append(db)
        else:
            db.close()

    def _open(self) -> sqlite3.Connection:
        try:
            db = connection.connect(self._path, readonly=True)
            try:
                schema.check(db)
            except BaseException:
                db.close()
                raise
        except sqlite3.Error as error:
            raise connection.store_error(error) from error
        return db

    def drain(self) -> None:
        """Close the idle ones; the next use opens others."""
        while self._idle:
            self._idle.pop().close()

    def finish(self) -> None:
        """Close for good; the busy ones follow when their operation ends."""
        self._refusal = connection.CLOSED
        self.drain()

    def leave(self) -> list[sqlite3.Connection]:
        """In a child process: let go of all connections without closing them, and refuse."""
        self._refusal = connection.LEFT_BUSY
        left = [*self._idle, *self._busy]
        self._idle, self._busy = [], set()
        return left


class Watch:
    """A pinned reader that sees whether anybody committed."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._db: sqlite3.Connection | None = None
        self._opened = 0

    def count(self) -> int:
        """Changes whenever another connection, of this process or not, has committed. Raises StoreError."""
        if self._db is None:
            self._db = self._readers.take()
            self._opened += 1
        try:
            (version,) = self._db.execute("pragma data_version").fetchone()
        except sqlite3.Error as error:
            self._readers.give(self._db, sound=False)
            self._db = None
            raise connection.store_error(error) from error
        return (self._opened << 32) + int(version)

    def close(self) -> None:
        """Give the connection back."""
        db, self._db = self._db, None
        if db is not None:
            self._readers.give(db, sound=False)
