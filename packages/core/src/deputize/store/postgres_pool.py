"""Connections that only read: a bounded number, opened by whoever needs one.

Not `psycopg_pool`: its connections are opened by threads of its own, which a fork does not take along, and while a
database is away its callers wait out their time instead of being refused at once.
"""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg

from deputize.store import connection, postgres_schema
from deputize.store import postgres_errors as errors
from deputize.store.postgres_address import Address
from deputize.store.postgres_link import STATEMENT, Link
from deputize.store.postgres_read import PostgresRead

T = TypeVar("T")
V = TypeVar("V")
MOST: Final = 8  # connections; more readers than that wait
_CHANGES: Final = (
    "select changes, pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool from deputize_store"
)


class Pool:
    """Readers of one store. A connection that the database dropped is replaced without the caller noticing."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Link] = []
        self._busy: set[Link] = set()
        self._refusal: connection.Refusal | None = None
        self._places = threading.BoundedSemaphore(MOST)

    def run(self, op: Callable[[PostgresRead], T]) -> T:
        """One operation on one view. Raises StoreError."""

        def transaction(link: Link) -> T:
            tx = PostgresRead(link)
            try:
                value = op(tx)
            finally:
                tx.end()
            link.commit()
            return value

        return self._with(Link.begin_read, lambda link, _: transaction(link))

    def check(self) -> None:
        """Raises StoreError unless there is a store with the schema of now."""
        self._with(Link.begin_look, lambda link, _: postgres_schema.check(link))

    def changes(self) -> int:
        """How many transactions have changed the store. Raises StoreError."""

        def first(link: Link) -> tuple[int, bool]:
            ((count, standby),) = link.execute(_CHANGES).fetchall()
            return int(count), bool(standby)

        count, standby = self._with(first, lambda _, found: found)
        if standby:
            connection.refuse(errors.STANDBY)
        return count

    def time(self) -> float:
        """The server's clock. Raises StoreError."""

        def first(link: Link) -> float:
            ((seconds,),) = link.execute("select extract(epoch from clock_timestamp())::float8").fetchall()
            return float(seconds)

        return self._with(first, lambda _, seconds: seconds)

    def _with(self, first: Callable[[Link], V], then: Callable[[Link, V], T]) -> T:
        places = self._places
        connection.refuse(self._refusal)
        if not places.acquire(timeout=STATEMENT):
            connection.refuse(errors.FULL_HOUSE)
        try:
            link, found = self._begun(first)
            try:
                return then(link, found)
            except psycopg.Error as error:
                raise errors.as_ours(error) from None
            except connection.UNSTORABLE:
                raise connection.unstorable() from None
            finally:
                self._give(link)
        finally:
            places.release()

    def _begun(self, first: Callable[[Link], V]) -> tuple[Link, V]:
        """A connection on which the first statement worked. What stood idle may be dead: one look with a new one."""
        while True:
            link = self._take()
            stale = not link.fresh
            try:
                return link, first(link)
            except psycopg.Error as error:
                lost = not link.alive
                self._give(link)
                if not (stale and lost):
                    raise errors.as_ours(error) from None
                self.drain()
            except BaseException:
                self._give(link)
                raise

    def _take(self) -> Link:
        connection.refuse(self._refusal)
        try:
            link = self._idle.pop()
        except IndexError:
            link = Link(self._address, full=True)
        self._busy.add(link)
        return link

    def _give(self, link: Link) -> None:
        if link not in self._busy:  # left behind by a fork
            return
        link.undo()
        self._busy.discard(link)
        if link.alive and self._refusal is None:
            self._idle.append(link)
        else:
            link.close()

    def drain(self) -> None:
        """Close the idle ones; the next use opens others."""
        while self._idle:
            self._idle.pop().close()

    def finish(self) -> None:
        """Close for good; the busy ones follow when their operation ends."""
        self._refusal = connection.CLOSED
        self.drain()

    def leave(self) -> list[Link]:
        """In a child process: let go of all connections without closing them, and refuse."""
        self._refusal = connection.LEFT_BUSY
        self._places = threading.BoundedSemaphore(MOST)
        left = [*self._idle, *self._busy]
        self._idle, self._busy = [], set()
        return left
