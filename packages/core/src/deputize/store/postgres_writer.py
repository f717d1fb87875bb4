"""The one connection of a process that writes. It is used by one thread at a time."""

from typing import Final

import psycopg

from deputize.model.failure import StoreError
from deputize.store import connection, postgres_schema
from deputize.store import postgres_errors as errors
from deputize.store.group import Job
from deputize.store.postgres_address import Address
from deputize.store.postgres_link import Link
from deputize.store.postgres_write import PostgresWrite

_RELEASE: Final = "release op; "


class _LostError(Exception):
    """The whole of a shared transaction was rolled back for certain."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class Writer:
    """Transactions on a lazily opened connection. `full`: every commit waits for the disk."""

    def __init__(self, address: Address, *, full: bool, readonly: bool) -> None:
        self._address = address
        self._full = full
        self._link: Link | None = None
        self._refusal: connection.Refusal | None = connection.READONLY if readonly else None

    def prepare(self, *, create: bool) -> None:
        """Bring the store to the schema of now; several processes may try at once. Raises StoreError."""
        link = self._open()
        try:
            link.begin_migration()
            postgres_schema.migrate(link, create=create)
            link.commit()
        except psycopg.Error as error:
            raise errors.store_error(error) from None
        finally:
            self._undo(link)

    def batch(self, jobs: list[Job[object]]) -> None:
        """All jobs in one transaction, each undone alone if it fails; all are done when this returns."""
        try:
            self._shared(jobs)
        except StoreError as error:  # not begun, or nobody knows whether it ended
            _refuse_all(jobs, error)
        except _LostError as lost:
            if len(jobs) > 1 and self._link is not None:
                for job in jobs:
                    self.batch([job])
            else:
                ours = errors.as_ours(lost.cause)
                _refuse_all(jobs, ours if isinstance(ours, StoreError) else StoreError("the transaction was lost"))

    def _shared(self, jobs: list[Job[object]]) -> None:
        link = self._begin(sync=any(job.sync for job in jobs))
        committing = False
        try:
            release = self._run(link, jobs)
            committing = True
            if any(job.error is None for job in jobs):
                self._commit(link, release)
            for job in jobs:
                job.done = True
        except psycopg.Error as error:
            self._undo(link)
            raise _LostError(error) from None
        except BaseException as error:
            if committing and not isinstance(error, StoreError):  # Ctrl-C came with the commit
                link.close()
                message, code = errors.OUTCOME_UNKNOWN
                _refuse_all([job for job in jobs if not job.done], StoreError(message, code=code))
            self._undo(link)
            raise
        self._undo(link)

    @staticmethod
    def _run(link: Link, jobs: list[Job[object]]) -> str:
        """Run each; returns what is still to be said before the commit. A single job needs no savepoint."""
        before = ""
        for job in jobs:
            tx = PostgresWrite(link)
            if len(jobs) > 1:
                link.script(f"{before}savepoint op")
                before = _RELEASE
            try:
                job.run(tx)
            except Exception as error:  # noqa: BLE001  # its caller's, whatever it is
                if not link.alive:
                    raise _LostError(error) from None
                if len(jobs) > 1:
                    link.script("rollback to op")
                job.error = errors.as_ours(error)
            finally:
                tx.end()
        return before

    def _begin(self, *, sync: bool) -> Link:
        """A connection that holds the store's lock. One that stood idle may be dead: one try with a new one."""
        while True:
            link = self._open()
            stale = not link.fresh
            try:
                link.begin_write(sync=sync)
            except psycopg.Error as error:
                lost = not link.alive
                self._undo(link)
                if not (stale and lost):
                    raise errors.store_error(error) from None
            except BaseException:
                self._undo(link)
                raise
            else:
                return link

    def _open(self) -> Link:
        connection.refuse(self._refusal)
        if self._link is None:
            self._link = Link(self._address, full=self._full)
        return self._link

    def _commit(self, link: Link, before: str) -> None:
        if link is not self._link:
            raise StoreError("the process was forked inside a transaction; nothing was written", code="store_forked")
        link.commit_write(before)

    def _undo(self, link: Link) -> None:
        """Back to no transaction; a connection that is of no more use is given up for a new one."""
        if link is not self._link:
            return
        link.undo()
        if not link.alive:
            self.close()

    def finish(self) -> None:
        """Close for good."""
        self._refusal = connection.CLOSED
        self.close()

    def close(self) -> None:
        """Give the connection back; the next use opens another."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def leave(self) -> list[Link]:
        """In a child process: let go of the connection without closing it, and refuse."""
        self._refusal = connection.LEFT_BUSY
        link, self._link = self._link, None
        return [] if link is None else [link]


def _refuse_all(jobs: list[Job[object]], error: StoreError) -> None:
    for job in jobs:
        job.error, job.done = job.error or StoreError(str(error), code=error.code), True
