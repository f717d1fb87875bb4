"""The reading half of a transaction. Raw SQL with static identifiers; values are always bound.

Written for SQLite; `postgres_read` says what PostgreSQL wants otherwise.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol, cast

from deputize.model.event import Record
from deputize.model.failure import IntegrityError, StoreError
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Grant, Node
from deputize.store import codec
from deputize.store.rows import KeyRow, Remembered

_PAGE: Final = 256  # records fetched at once
MAX_LINE: Final = 24  # depth is at most 16

_SESSION: Final = f"select {codec.SESSION_COLUMNS} from sessions where sid = ?"  # noqa: S608  # joined from constants
_GRANT: Final = f"select {codec.GRANT_COLUMNS} from grants where jti = ?"  # noqa: S608  # joined from constants
_GRANTS: Final = f"select {codec.GRANT_COLUMNS} from grants where txn = ? order by id"  # noqa: S608  # joined from constants
_RECORD: Final = f"select {codec.RECORD_COLUMNS} from records where seq = ?"  # noqa: S608  # joined from constants
_RECORDS: Final = f"select {codec.RECORD_COLUMNS} from records where seq >= ? and seq < ? order by seq limit {_PAGE:d}"  # noqa: S608  # joined from constants
_NEWEST: Final = "select id from sessions where "
_SESSIONS: Final = f"select {codec.SESSION_COLUMNS} from sessions where id in"  # noqa: S608  # joined from constants
_FOUND: Final = f"select {codec.RECORD_COLUMNS} from records where "  # noqa: S608  # joined from constants
REVOCATION: Final = "select kind, id, at, until, before, seq, reason from revocations "
_BY_ID: Final = REVOCATION + "where id = ?"
_MAX_SEQ: Final = 2**63 - 1
_ALWAYS: Final = -(2**63)
_NO_LIMIT: Final = 2**62  # rows


@lru_cache(maxsize=128)
def _times(select: str, count: int) -> str:
    """One query of `count` look-ups: half the cost of `in (...)`, which builds a table of its values first."""
    return " union all ".join([select] * count)


class Rows(Protocol):
    """What a statement came to, in the manner of DB-API cursors."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""
        ...

    def fetchone(self) -> Any:  # noqa: ANN401  # a row is what its statement says
        """The next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...


class Db(Protocol):
    """A connection inside a transaction; `sqlite3.Connection` is one."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> Rows:
        """Run one statement; a `?` for each value."""
        ...


class _Ended:
    """Stands where the connection was."""

    def execute(self, _sql: str, _values: object = (), /) -> Rows:
        raise StoreError("a transaction was used after its operation returned", code="store_ended")


_ENDED: Final = cast("Db", _Ended())


class SqlRead:
    """Implements `ReadTx`. Lives as long as the operation that received it."""

    __slots__ = ("_db",)

    def __init__(self, db: Db) -> None:
        self._db = db

    def end(self) -> None:
        """From now on every call is refused: the view is gone."""
        self._db = _ENDED

    def session(self, sid: str) -> Node | None:
        """See ReadTx."""
        row = self._db.execute(_SESSION, (sid,)).fetchone()
        return None if row is None else codec.session_from(row)

    def line(self, node: Node) -> list[Node]:
        """See ReadTx."""
        sids = (*node.ancestors, node.sid)
        if len(sids) > MAX_LINE:
            raise IntegrityError("a session has more ancestors than any tree may")
        return self._in_line(sids, self._db.execute(_times(_SESSION, len(sids)), sids).fetchall())

    @staticmethod
    def _in_line(sids: Sequence[str], rows: list[Any]) -> list[Node]:
        nodes = {one.sid: one for one in map(codec.session_from, rows)}
        try:
            return [nodes[sid] for sid in sids]
        except KeyError:
            raise IntegrityError("a session's row, or one above it, is missing from the store") from None

    def sessions(
        self,
        *,
        txn: str | None = None,
        sub: str | None = None,
        agent: str | None = None,
        live_at: int | None = None,
        below: int | None = None,
        limit: int = 1000,
    ) -> list[Node]:
        """See ReadTx."""
        given = (
            ("txn = ?", txn),
            ("sub = ?", sub),
            ("agent = ?", agent),
            ("exp > ?", live_at),
            ("leaf < ?", below),
        )
        parts = [(part, value) for part, value in given if value is not None]
        where = [part for part, _ in parts] + (["state = 'open'"] if live_at is not None else [])
        values = [value for _, value in parts]
        newest = _NEWEST + (" and ".join(where) or "1 = 1") + " order by id desc limit ?"  # ids alone are sorted
        rows = self._db.execute(f"{_SESSIONS} ({newest}) order by id", (*values, limit)).fetchall()
        return [codec.session_from(row) for row in rows]

    def tree_secret(self, txn: str) -> bytes | None:
        """See ReadTx."""
        row = self._db.execute("select secret from trees where txn = ?", (txn,)).fetchone()
        return None if row is None else row[0]

    def grant(self, jti: str) -> Grant | None:
        """See ReadTx."""
        row = self._db.execute(_GRANT, (jti,)).fetchone()
        return None if row is None else codec.grant_from(row)

    def grants(self, *, txn: str) -> list[Grant]:
        """See ReadTx."""
        return [codec.grant_from(row) for row in self._db.execute(_GRANTS, (txn,)).fetchall()]

    def remembered(self, key: str) -> Remembered | None:
        """See ReadTx."""
        row = self._db.execute("select digest, sid, jti, until from remembered where key = ?", (key,)).fetchone()
        if row is None:
            return None
        return Remembered(key=key, digest=row[0], sid=row[1], jti=row[2], until=row[3])

    def revoked(self, kind: Kind, id: str) -> RevocationEntry | None:  # noqa: A002  # the protocol's name
        """See ReadTx."""
        row = self._db.execute(REVOCATION + "where kind = ? and id = ?", (kind.value, id)).fetchone()
        return None if row is None else codec.revocation_from(row)

    def revoked_among(self, ids: Sequence[str]) -> list[RevocationEntry]:
        """See ReadTx."""
        entries: list[RevocationEntry] = []
        for start in range(0, len(ids), MAX_LINE):
            some = ids[start : start + MAX_LINE]
            entries += map(codec.revocation_from, self._db.execute(_times(_BY_ID, len(some)), some).fetchall())
        return sorted(entries, key=lambda entry: entry.seq)

    def revocations(
        self, *, after_seq: int = -1, live_at: int | None = None, limit: int | None = None
    ) -> list[RevocationEntry]:
        """See ReadTx."""
        rows = self._db.execute(
            REVOCATION + "where seq > ? and until >= ? order by seq, kind, id limit ?",
            (after_seq, _ALWAYS if live_at is None else live_at, _NO_LIMIT if limit is None else limit),
        ).fetchall()
        return [codec.revocation_from(row) for row in rows]

    def keys(self) -> list[KeyRow]:
        """See ReadTx."""
        rows = self._db.execute(
            "select kid, use, jwk, sign_from, sign_until, serve_until, instance, endorsement, proof "
            "from keys order by sign_from, kid"
        ).fetchall()
        return [
            KeyRow(
                kid=row[0],
                use=row[1],
                jwk=row[2],
                sign_from=row[3],
                sign_until=row[4],
                serve_until=row[5],
                instance=row[6],
                endorsement=row[7],
                proof=row[8],
            )
            for row in rows
        ]

    def meta(self, name: str) -> str | None:
        """See ReadTx."""
        row = self._db.execute("select value from meta where name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def tile(self, level: int, index: int) -> bytes | None:
        """See ReadTx."""
        row = self._db.execute("select data from tiles where level = ? and idx = ?", (level, index)).fetchone()
        return None if row is None else row[0]

    def size(self) -> int:
        """See ReadTx."""
        (newest,) = self._db.execute("select max(seq) from records").fetchone()
        return 0 if newest is None else int(newest) + 1

    def newest_time(self) -> int:
        """See ReadTx."""
        row = self._db.execute("select time from records order by seq desc limit 1").fetchone()
        return 0 if row is None else int(row[0])

    def record(self, seq: int) -> Record | None:
        """See ReadTx."""
        row = self._db.execute(_RECORD, (seq,)).fetchone()
        return None if row is None else codec.record_from(row)

    def has_record(self, seq: int, *, sid: str | None = None, jti: str | None = None) -> bool:
        """See ReadTx."""
        row = self._db.execute("select sid, jti from records where seq = ?", (seq,)).fetchone()
        return row is not None and sid in {None, row[0]} and jti in {None, row[1]}

    def records(self, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
        """See ReadTx."""
        stop = _MAX_SEQ if end is None else end
        while rows := self._db.execute(_RECORDS, (start, stop)).fetchall():
            yield from map(codec.record_from, rows)
            start = rows[-1][0] + 1

    def find(
        self,
        *,
        txn: str | None = None,
        sid: str | None = None,
        jti: str | None = None,
        agent: str | None = None,
        sub: str | None = None,
        tool: str | None = None,
        resource: str | None = None,
        outcome: str | None = None,
        call_id: str | None = None,
        reference: str | None = None,
        type: str | None = None,  # noqa: A002  # the protocol's name
        since_ms: int | None = None,
        until_ms: int | None = None,
        below: int | None = None,
        limit: int = 1000,
    ) -> list[Record]:
        """See ReadTx."""
        given = (
            ("txn = ?", txn),
            ("jti = ?", jti),
            ("agent = ?", agent),
            ("sub = ?", sub),
            ("tool = ?", tool),
            ("resource = ?", resource),
            ("outcome = ?", outcome),
            ("call_id = ?", call_id),
            ("reference = ?", reference),
            ("type = ?", type),
            ("time >= ?", since_ms),
            ("time < ?", until_ms),
            ("seq < ?", below),
        )
        where = [part for part, value in given if value is not None]
        values: list[str | int] = [value for _, value in given if value is not None]
        if sid is not None:
            part, more = ("sid = ?", [sid]) if txn is not None else self._of_session(sid)
            where.append(part)
            values += more
        sql = _FOUND + (" and ".join(where) or "1 = 1") + " order by seq desc limit ?"
        rows = self._db.execute(sql, (*values, limit)).fetchall()
        return [codec.record_from(row) for row in reversed(rows)]

    def _of_session(self, sid: str) -> tuple[str, list[str]]:
        """A session's records by its tree: an index of their own would cost every exchange a page."""
        row = self._db.execute("select txn from sessions where sid = ?", (sid,)).fetchone()
        if row is None:
            return "sid = ?", [sid]
        return "((txn = ? and sid = ?) or (txn is null and sid = ?))", [row[0], sid, sid]

    def leaves(self, start: int, end: int) -> list[bytes]:
        """See ReadTx."""
        rows = self._db.execute("select leaf from records where seq >= ? and seq < ? order by seq", (start, end))
        return [row[0] for row in rows.fetchall()]
