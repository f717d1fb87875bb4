"""The one connection that writes. It is used by one thread at a time; who that is, is not decided here."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from deputize.model.failure import StoreError
from deputize.store import connection, schema
from deputize.store.group import Job
from deputize.store.read import SqlRead
from deputize.store.write import SqlWrite

T = TypeVar("T")
_BROKEN: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
)


class _LostError(Exception):
    """The whole of a shared transaction was rolled back; each operation in it gets one of its own."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


def _as_ours(error: Exception) -> Exception:
    if isinstance(error, connection.UNSTORABLE):
        return connection.unstorable()
    return connection.store_error(error) if isinstance(error, sqlite3.Error) else error


class Writer:
    """Transactions on a lazily opened connection. `full`: every commit is synced."""

    def __init__(self, path: str, *, full: bool, readonly: bool) -> None:
        self._path = path
        self._full = full
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._refusal: connection.Refusal | None = connection.READONLY if readonly else None
        self._commits = 0
        self.patience = connection.BUSY_TIMEOUT

    @property
    def memory(self) -> bool:
        """True where the connection itself is the store."""
        return self._path == connection.MEMORY

    def open(self) -> sqlite3.Connection:
        """The connection, with the schema of now. Raises StoreError."""
        connection.refuse(self._refusal)
        if self._db is None:
            try:
                db = connection.connect(self._path)
                try:
                    schema.check_ours(db)  # before anything is changed, the journal's mode included
                    connection.prepare_writer(db, full=self._full)
                    schema.migrate(db)
                    db.execute("pragma busy_timeout = 0")  # from here on we wait ourselves
                    self._refuse_moved()
                except BaseException:
                    db.close()
                    raise
            except sqlite3.Error as error:
                raise connection.store_error(error) from error
            self._db = db
        return self._db

    def commits(self) -> int:
        """How many transactions this writer has committed. Raises StoreError."""
        connection.refuse(self._refusal)
        return self._commits

    def read(self, op: Callable[[SqlRead], T]) -> T:
        """One operation on the connection that writes: a store in memory has no other."""
        tx = SqlRead(self.open())
        try:
            return op(tx)
        except sqlite3.Error as error:
            raise connection.store_error(error) from error
        except connection.UNSTORABLE:
            raise connection.unstorable() from None
        finally:
            tx.end()

    def alone(self, op: Callable[[SqlWrite], T], *, sync: bool) -> T:
        """One operation, one transaction."""
        db = self._begin(sync=sync)
        tx = SqlWrite(db)
        try:
            value = op(tx)
            self._commit(db)
        except sqlite3.Error as error:
            self._undo(db, error)
            raise connection.store_error(error) from error
        except connection.UNSTORABLE:
            self._undo(db)
            raise connection.unstorable() from None
        except BaseException:
            self._undo(db)
            raise
        finally:
            tx.end()
            self._relax(sync=sync)
        return value

    def batch(self, jobs: list[Job[object]]) -> None:
        """All jobs in one transaction, each undone alone if it fails; all are done when this returns."""
        try:
            self._shared(jobs)
        except StoreError as error:  # not even begun: it would not begin for each of them either
            for job in jobs:
                job.error, job.done = StoreError(str(error), code=error.code), True
        except _LostError as lost:
            if len(jobs) > 1:
                for job in jobs:
                    self.batch([job])
            else:
                jobs[0].error, jobs[0].done = _as_ours(lost.cause), True

    def _shared(self, jobs: list[Job[object]]) -> None:
        db = self._begin(sync=True)
        committing = False
        try:
            for job in jobs:
                self._under_savepoint(db, job)
            committing = True
            self._commit(db)
            for job in jobs:
                job.done = True
        except sqlite3.Error as error:
            self._undo(db, error)
            raise _LostError(error) from error
        except BaseException:
            if committing and not db.in_transaction:  # Ctrl-C came with the commit: what is done is not done again
                for job in jobs:
                    job.done = True
            self._undo(db)
            raise

    @staticmethod
    def _under_savepoint(db: sqlite3.Connection, job: Job[object]) -> None:
        tx = SqlWrite(db)
        db.execute("savepoint op")
        try:
            job.run(tx)
        except Exception as error:
            if not db.in_transaction:
                raise _LostError(error) from error
            db.execute("rollback to op")
            job.error = _as_ours(error)
        finally:
            tx.end()
        db.execute("release op")

    def _begin(self, *, sync: bool) -> sqlite3.Connection:
        db = self.open()
        try:
            self._refuse_moved()
            if sync and not self._full and not self.memory:
                connection.set_sync(db, full=True)
            connection.begin_immediate(db, self.patience)
            schema.refuse_newer(schema.version_of(db))
        except BaseException as error:
            self._undo(db, error)
            self._relax(sync=sync)
            if isinstance(error, sqlite3.Error):
                raise connection.store_error(error) from error
            raise
        return db

    def _relax(self, *, sync: bool) -> None:
        if sync and not self._full and not self.memory and self._db is not None:
            with suppress(sqlite3.Error):  # staying strict is only slower
                connection.set_sync(self._db, full=False)

    def _commit(self, db: sqlite3.Connection) -> None:
        if db is not self._db:
            raise StoreError("the process was forked inside a transaction; nothing was written", code="store_forked")
        db.execute("commit")
        self._commits += 1

    def _undo(self, db: sqlite3.Connection, error: BaseException | None = None) -> None:
        """Back to no transaction; a connection that may be damaged is given up for a new one."""
        if db is not self._db:
            return
        broken = error is not None and getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
        try:
            if db.in_transaction:
                db.execute("rollback")
        except sqlite3.Error:
            broken = True
        if broken and not self.memory:
            self.close()

    def _refuse_moved(self) -> None:
        if self.memory:
            return
        found = _identity(self._path)
        self._file = self._file or found
        if found is None or found != self._file:
            raise StoreError("the store's file was deleted or replaced while it was open", code="store_moved")

    def finish(self) -> None:
        """Close for good."""
        self._refusal = connection.CLOSED
        self.close()

    def close(self) -> None:
        """Give the connection back; the next use opens another."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def leave(self) -> list[sqlite3.Connection]:
        """In a child process: let go of the connection without closing it, and refuse."""
        self._refusal = connection.LEFT_MEMORY if self.memory else connection.LEFT_BUSY
        db, self._db = self._db, None
        return [] if db is None else [db]


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # on every write: a Path costs more than the call
    except OSError:
        return None
    return found.st_dev, found.st_ino
