"""One connection to PostgreSQL, with the beginnings and ends of our transactions. One thread uses it at a time.

What frames a transaction goes to the server as one text of several statements: the lock, the look at the schema's
number and the change count cost no round trip of their own. No wait is without an end: the server ends a statement
(`statement_timeout`, `lock_timeout`) and an abandoned transaction, the kernel a silent connection, and `wait` a
server that says nothing at all.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.types.numeric import Int8Dumper

from deputize.model.failure import StoreError
from deputize.store import postgres_errors as errors
from deputize.store.connection import refuse
from deputize.store.postgres_address import Address
from deputize.store.postgres_schema import APPLICATION, check_number

RV = TypeVar("RV")
CONNECT: Final = 5  # seconds
STATEMENT: Final = 10  # seconds; also what is waited for the lock
SILENCE: Final = 15.0  # seconds that a server may say nothing at all
IDLE: Final = 30  # seconds that a transaction may stand still
_PREPARE: Final = 3  # uses after which a statement is prepared

_OPTIONS: Final = (
    f"-c search_path={{schema}},pg_temp -c statement_timeout={STATEMENT}s -c lock_timeout={STATEMENT}s "
    f"-c idle_in_transaction_session_timeout={IDLE}s"
)
_PARAMETERS: Final = {
    "application_name": "deputize",
    "client_encoding": "UTF8",
    "connect_timeout": str(CONNECT),
    "keepalives_count": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "target_session_attrs": "read-write",  # of several hosts, the primary
    "tcp_user_timeout": str(int(SILENCE * 1000)),
}
_LOOK: Final = (
    "select version, application, "
    "pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool from deputize_store"
)
_COUNT_AND_COMMIT: Final = "update deputize_store set changes = changes + 1; commit"
_STRICT: Final = (
    "select case when current_setting('synchronous_commit') in ('off', 'local') then 'on' "
    "else current_setting('synchronous_commit') end"
)


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    patient = False  # a migration takes its time

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """No answer within `SILENCE` is no answer."""
        return super().wait(gen, interval, SILENCE if timeout is None and not self.patient else timeout)


class Link:
    """A connection of this process. Raises psycopg.Error, which whoever holds it turns into StoreError."""

    def __init__(self, address: Address, *, full: bool) -> None:
        """`full`: every commit waits for the disk, and for the standbys that the server is told to wait for."""
        self._lock = int.from_bytes(sha256(b"deputize store\n" + address.schema.encode()).digest()[:8], signed=True)
        self.schema = address.schema
        self.fresh = True
        self._warned = False
        try:
            self._db = _Connection.connect(
                make_conninfo(**{**_PARAMETERS, **address.parameters}, options=_OPTIONS.format(schema=address.schema)),
                autocommit=True,
                prepare_threshold=_PREPARE,
            )
        except psycopg.Error as error:
            raise _not_connected(error) from None
        try:
            self._db.adapters.register_dumper(int, Int8Dumper)  # one type for all numbers: one plan for each statement
            self._db.add_notice_handler(self._noticed)
            self._strict = self._settle(full=full)
        except BaseException:
            self._db.close()
            raise
        self._full = full

    def _settle(self, *, full: bool) -> str:
        ((strict,),) = self._db.execute(_STRICT).fetchall()
        self._db.execute("select set_config('synchronous_commit', %s, false)", (strict if full else "off",))
        return str(strict)

    def _noticed(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        self._warned = self._warned or diagnostic.severity_nonlocalized == "WARNING"

    @property
    def alive(self) -> bool:
        """False once the connection is of no more use."""
        return not self._db.closed and self._db.pgconn.status == ConnStatus.OK

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> psycopg.Cursor[tuple[Any, ...]]:
        """See `read.Db`."""
        self.fresh = False
        return self._db.execute(_placed(sql), values)

    def script(self, text: str) -> psycopg.Cursor[tuple[Any, ...]]:
        """Several statements without values; the cursor stands on the result of the last."""
        self.fresh = False
        cursor = self._db.execute(text.encode(), prepare=False)
        while cursor.nextset():
            pass
        return cursor

    def begin_read(self) -> None:
        """One view for the whole of it, as new as every commit that has returned. Raises StoreError too."""
        self._begin(f"begin isolation level repeatable read read only; {_LOOK}")

    def begin_write(self, *, sync: bool) -> None:
        """Take the store's lock first, so that every later statement sees all that was committed before.

        Each statement of a READ COMMITTED transaction looks anew. `sync`: this commit waits for the disk whatever
        the durability. Raises StoreError too.
        """
        strict = "" if self._full or not sync else f"set local synchronous_commit to {self._strict}; "
        self._begin(
            f"begin isolation level read committed read write; {strict}select pg_advisory_xact_lock({self._lock}); "
            f"{_LOOK}"
        )

    def begin_look(self) -> None:
        """To look at a schema that may be anything."""
        self.script("begin isolation level repeatable read read only")

    def begin_migration(self) -> None:
        """Hold the store's lock, and take the time that it takes."""
        self._db.patient = True
        self.script(f"begin; set local statement_timeout to 0; select pg_advisory_xact_lock({self._lock})")

    def _begin(self, text: str) -> None:
        row = self.script(text).fetchone()
        if row is None or row[1] != APPLICATION:
            raise StoreError("the schema is no store of ours", code="store_foreign")
        if row[2]:
            refuse(errors.STANDBY)
        check_number(row[0])

    def commit_write(self, before: str = "") -> None:
        """Count the change and commit. Raises StoreError (`store_unknown`) where the outcome can't be known.

        Any other error means that nothing was committed. `before`: statements that end with a semicolon.
        """
        self._warned = False
        try:
            cursor = self.script(before + _COUNT_AND_COMMIT)
        except psycopg.Error as error:
            if self.alive and error.sqlstate is not None:
                raise
            refuse(errors.OUTCOME_UNKNOWN)
        else:
            if self._warned:  # committed here, but a standby that was to have it may not: SEMANTICS G1
                refuse(errors.OUTCOME_UNKNOWN)
            if cursor.statusmessage != "COMMIT":
                raise StoreError("the database rolled a transaction back", code="store_error")

    def commit(self) -> None:
        """Also ends what changed nothing: a rollback would make the driver forget its prepared statements."""
        self._db.execute("commit", prepare=False)
        self._db.patient = False

    def undo(self) -> None:
        """Back to no transaction, or closed where that fails."""
        try:
            if self.alive and self._db.pgconn.transaction_status != TransactionStatus.IDLE:
                self._db.execute("rollback", prepare=False)
        except psycopg.Error:
            self.close()
        if not self.alive:
            self.close()

    def close(self) -> None:
        """Give it back; never raises."""
        with suppress(psycopg.Error):
            self._db.close()


@lru_cache(maxsize=512)
def _placed(sql: str) -> bytes:
    """Our `?` as the driver's `%s`; no statement of ours holds either sign otherwise."""
    return sql.replace("?", "%s").encode()


def _not_connected(error: psycopg.Error) -> StoreError:
    """Why there is no connection: the driver's words hold host, port, user and reason, never a password."""
    reason = " ".join(str(error).split())[-160:]
    if "read-only" in reason or "hot standby" in reason:
        message, code = errors.STANDBY
        return StoreError(message, code=code)
    known = errors.store_error(error)
    return StoreError(f"{known} ({reason})", code=known.code if error.sqlstate else "store_unreachable")
