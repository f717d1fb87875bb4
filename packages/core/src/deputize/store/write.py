"""The writing half of a transaction. The SQL is what SQLite and PostgreSQL have in common, but for `REVOKE`."""

from typing import Final

from deputize.model.event import Record
from deputize.model.failure import IntegrityError, NotFound
from deputize.model.revocation import RevocationEntry
from deputize.model.session import Grant, Node, State
from deputize.store import codec
from deputize.store.read import Db, SqlRead
from deputize.store.rows import KeyRow, Remembered

_RECORD_ALL: Final = f"{codec.RECORD_COLUMNS}, {codec.RECORD_SEARCH}"
_ADD_RECORD: Final = f"insert into records ({_RECORD_ALL}) values ({codec.marks(_RECORD_ALL)})"  # noqa: S608  # joined from constants
_SESSION_ALL: Final = f"{codec.SESSION_COLUMNS}, {codec.SESSION_SEARCH}"
_ADD_SESSION: Final = f"insert into sessions ({_SESSION_ALL}) values ({codec.marks(_SESSION_ALL)})"  # noqa: S608  # joined from constants
_ADD_GRANT: Final = f"insert into grants ({codec.GRANT_COLUMNS}) values ({codec.marks(codec.GRANT_COLUMNS)})"  # noqa: S608  # joined from constants
REVOKE: Final = (
    "insert into revocations as had (kind, id, at, until, before, seq, reason) values (?, ?, ?, ?, ?, ?, ?) "
    "on conflict (id, kind) do update set until = max(had.until, excluded.until), "
    "before = case when excluded.kind <> 'agent' "
    "then max(coalesce(had.before, excluded.before), coalesce(excluded.before, had.before)) "
    "when excluded.seq < had.seq then had.before else excluded.before end, "
    "reason = case when excluded.seq < had.seq then had.reason else excluded.reason end, "
    "seq = max(had.seq, excluded.seq), at = min(had.at, excluded.at)"
)
_REMEMBER: Final = (
    "insert into remembered (key, digest, sid, jti, until) values (?, ?, ?, ?, ?) "
    "on conflict (key) do update set digest = excluded.digest, sid = excluded.sid, jti = excluded.jti, "
    "until = excluded.until"
)
_PUT_KEY: Final = (
    "insert into keys (kid, use, jwk, sign_from, sign_until, serve_until, instance, endorsement, proof) "
    "values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (kid) do update set use = excluded.use, jwk = excluded.jwk, "
    "sign_from = excluded.sign_from, sign_until = excluded.sign_until, serve_until = excluded.serve_until, "
    "instance = excluded.instance, endorsement = excluded.endorsement, proof = excluded.proof"
)
_SET_META: Final = (
    "insert into meta (name, value) values (?, ?) on conflict (name) do update set value = excluded.value"
)
_PUT_TILE: Final = (
    "insert into tiles (level, idx, data) values (?, ?, ?) on conflict (level, idx) do update set data = excluded.data"
)


class SqlWrite(SqlRead):
    """Implements `WriteTx`."""

    __slots__ = ("_newest", "_next")
    _revoke = REVOKE

    def __init__(self, db: Db) -> None:
        super().__init__(db)
        self._next = -1
        self._newest = -1

    def next_seq(self) -> int:
        """See WriteTx."""
        if self._next < 0:
            self._next = self.size()
        return self._next

    def newest_time(self) -> int:
        """See ReadTx. Learns the next number by the way; nobody else appends while this transaction runs."""
        if self._newest < 0:
            row = self._db.execute("select seq, time from records order by seq desc limit 1").fetchone()
            self._next = 0 if row is None else int(row[0]) + 1
            self._newest = 0 if row is None else int(row[1])
        return self._newest

    def add_record(self, record: Record) -> None:
        """See WriteTx."""
        if record.seq != self.next_seq():
            raise IntegrityError("a record is appended at the end of the log and nowhere else")
        self._db.execute(_ADD_RECORD, codec.record_row(record))
        self._next += 1
        self._newest = record.time

    def add_tree(self, txn: str, secret: bytes) -> None:
        """See WriteTx."""
        self._db.execute("insert into trees (txn, secret, sessions) values (?, ?, 1)", (txn, secret))

    def add_session(self, node: Node) -> None:
        """See WriteTx."""
        self._db.execute(_ADD_SESSION, codec.session_row(node))

    def count_child(self, txn: str, parent: str) -> tuple[int, int]:
        """See WriteTx."""
        tree = self._db.execute(
            "update trees set sessions = sessions + 1 where txn = ? returning sessions", (txn,)
        ).fetchall()
        children = self._db.execute(
            "update sessions set children = children + 1 where sid = ? and txn = ? returning children",
            (parent, txn),
        ).fetchall()
        if not tree or not children:
            raise IntegrityError("a session's tree or parent is missing from the store")
        return tree[0][0], children[0][0]

    def end_session(self, sid: str, state: State) -> None:
        """See WriteTx."""
        done = self._db.execute(
            "update sessions set state = ? where sid = ? and state = 'open'", (state.value, sid)
        ).rowcount
        if not done and self._db.execute("select 1 from sessions where sid = ?", (sid,)).fetchone() is None:
            raise NotFound("no such session")

    def add_grant(self, grant: Grant) -> None:
        """See WriteTx."""
        self._db.execute(_ADD_GRANT, codec.grant_row(grant))

    def remember(self, row: Remembered) -> None:
        """See WriteTx."""
        self._db.execute(_REMEMBER, (row.key, row.digest, row.sid, row.jti, row.until))

    def forget(self, before: int) -> None:
        """See WriteTx."""
        self._db.execute("delete from remembered where until < ?", (before,))
        self._db.execute("delete from replay where until < ?", (before,))

    def revoke(self, entry: RevocationEntry) -> None:
        """See WriteTx."""
        self._db.execute(
            self._revoke,
            (entry.kind.value, entry.id, entry.at, entry.until, entry.before, entry.seq, entry.reason),
        )

    def spend(self, issuer: str, jti: str, until: int) -> bool:
        """See WriteTx."""
        return (
            self._db.execute(
                "insert into replay (issuer, jti, until) values (?, ?, ?) on conflict do nothing", (issuer, jti, until)
            ).rowcount
            == 1
        )

    def put_key(self, row: KeyRow) -> None:
        """See WriteTx."""
        self._db.execute(
            _PUT_KEY,
            (
                row.kid,
                row.use,
                row.jwk,
                row.sign_from,
                row.sign_until,
                row.serve_until,
                row.instance,
                row.endorsement,
                row.proof,
            ),
        )

    def drop_key(self, kid: str) -> None:
        """See WriteTx."""
        self._db.execute("delete from keys where kid = ?", (kid,))

    def set_meta(self, name: str, value: str) -> None:
        """See WriteTx."""
        self._db.execute(_SET_META, (name, value))

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        """See WriteTx."""
        self._db.execute(_PUT_TILE, (level, index, data))

    def erase(self, seq: int) -> None:
        """See WriteTx."""
        done = self._db.execute(
            "update records set salt = null, body = null, agent = null, sub = null, tool = null, "
            "resource = null, call_id = null, reference = null where seq = ?",
            (seq,),
        ).rowcount
        if not done:
            raise NotFound("no such record")

    def erase_tree(self, txn: str) -> None:
        """See WriteTx."""
        if not self._db.execute("update trees set secret = null where txn = ?", (txn,)).rowcount:
            raise NotFound("no such tree")
        self._db.execute("update sessions set task = null, task_digest = null where txn = ?", (txn,))
