"""Keys and revocations from the store file of an embedded authority on the same machine, read-only.

Who can write that file is the authority; it is opened so that this process cannot. Every use looks whether
somebody committed (`PRAGMA data_version`, a few microseconds), so a revocation is seen at once; promised is 1 s.
"""

import os
import sqlite3
import weakref
from pathlib import Path
from typing import Final
from urllib.parse import quote

from deputize.model.clock import Clock
from deputize.model.failure import StoreError
from deputize.model.revocation import Kind, RevocationEntry, RevocationView
from deputize.system import SystemClock
from deputize.verifier.process import ProcessLock
from deputize.verifier.sources import RevocationSet
from deputize.wire.alg import VerifyingKey
from deputize.wire.published_key import proved_key

LAG: Final = 1.0  # seconds
FILE_NAME: Final = "deputize.db"

# All that is known here of the store's tables. A file of a newer schema is refused.
SCHEMA: Final = 1
APPLICATION_ID: Final = 0x44505459
# A row that an anchor endorsed needs the anchor to be checked; this reader knows none.
_KEYS: Final = (
    "select kid, jwk, instance, sign_from, proof, sign_until, serve_until from keys "
    "where use = 'sig' and endorsement is null"
)
_REVOCATIONS: Final = (
    "select kind, id, at, until, before, seq, reason from revocations where seq > ? order by seq, kind, id"
)
# A suspended agent or a revoked user is one row; what hangs below is found by the sessions that it kills.
_OF_AGENT: Final = "select sid from sessions where agent = ? and json_extract(data, '$.created') <= ? and exp > ?"
_OF_USER: Final = (
    "select sid from sessions where sub = ? and sid = txn and json_extract(data, '$.created') <= ? and exp > ?"
)
_END_OF_TIME: Final = 2**62

_BUSY: Final = 1.0  # seconds
_REST: Final = 0.5  # seconds that a fork waits for a look at the file to end
_inherited: list[sqlite3.Connection] = []  # of a parent process: neither used nor closed here
_SOURCES: "weakref.WeakSet[FileSource]" = weakref.WeakSet()


class FileSource:
    """A KeySource and a RevocationSource in one, over a store file or the folder that holds `deputize.db`.

    `bound` is how long (seconds) an unreadable file is bridged by what was read last; then all is refused.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock | None = None, bound: float = LAG) -> None:
        self.bound = bound
        self._path = Path(path)
        self._clock = clock or SystemClock()
        self._lock = ProcessLock()
        self._db: sqlite3.Connection | None = None
        self._opened_by = 0
        self._file = (0, 0)
        self._looked = float("-inf")
        self._start_over()
        _SOURCES.add(self)

    def key(self, kid: str) -> VerifyingKey | None:
        """See KeySource. Raises StoreError where the file cannot be read."""
        self._refresh()
        found = self._keys.get(kid)
        return found[0] if found is not None and self._clock.now() < found[1] else None

    def view(self) -> RevocationView:
        """See RevocationSource. An unreadable file leaves the last state standing, and `age` growing."""
        try:
            self._refresh()
        except StoreError:
            return self._revoked
        return self._revoked

    def age(self) -> float:
        """See RevocationSource."""
        return self._clock.monotonic() - self._read

    def close(self) -> None:
        """Let go of the file; the next use opens it again."""
        with self._lock:
            self._let_go()

    def rest(self) -> None:
        """Before a fork: let go of the file, unless another thread stays in it longer than a moment."""
        if self._lock.take(_REST):
            try:
                self._let_go()
            finally:
                self._lock.give()

    def _start_over(self) -> None:
        self._keys: dict[str, tuple[VerifyingKey, int]] = {}
        self._revoked = RevocationSet()
        self._version = -1
        self._newest = -1
        self._read = float("-inf")

    def _refresh(self) -> None:
        with self._lock:
            now = self._clock.monotonic()
            try:
                db = self._connection(now)
                (version,) = db.execute("pragma data_version").fetchone()
                if version != self._version:
                    self._load(db)
                    self._version = version
            except (sqlite3.Error, OSError, ValueError) as error:
                self._let_go()
                raise StoreError("the authority's store file cannot be read", code="store_unreachable") from error
            self._read = now

    def _connection(self, now: float) -> sqlite3.Connection:
        if self._db is None or self._opened_by != os.getpid() or self._replaced(now):
            self._let_go()
            self._db = self._open(now)
        return self._db

    def _open(self, now: float) -> sqlite3.Connection:
        path = self._where()
        identity = _identity(path)
        db = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro",
            uri=True,
            timeout=_BUSY,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            _refuse_foreign(db)
        except BaseException:
            db.close()
            raise
        if identity != self._file:
            self._start_over()
        self._version = -1  # counted by connection
        self._file, self._looked, self._opened_by = identity, now, os.getpid()
        self._closer = weakref.finalize(self, _end, db, self._opened_by)
        return db

    def _where(self) -> Path:
        return self._path / FILE_NAME if self._path.is_dir() else self._path

    def _replaced(self, now: float) -> bool:
        """A restored backup is another file under the same name; the open one would look fresh for ever."""
        if now - self._looked < LAG:
            return False
        self._looked = now
        return _identity(self._where()) != self._file

    def _let_go(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            self._closer.detach()
            _end(db, self._opened_by)

    def _load(self, db: sqlite3.Connection) -> None:
        db.execute("begin")
        try:
            keys = db.execute(_KEYS).fetchall()
            rows = db.execute(_REVOCATIONS, (self._newest,)).fetchall()
            for kind, name, at, until, before, seq, reason in rows:
                entry = RevocationEntry(
                    kind=Kind(kind), id=name, at=at, until=until, before=before, seq=seq, reason=reason
                )
                self._revoked.add(entry)
                self._revoked.end(_sessions_of(db, entry), entry.kind)
        finally:
            db.execute("rollback")
        self._newest = max([self._newest, *(row[5] for row in rows)])
        served: dict[str, tuple[VerifyingKey, int]] = {}
        for kid, jwk, instance, sign_from, proof, sign_until, serve_until in keys:
            known = self._keys.get(kid)
            key = known[0] if known is not None else proved_key(kid, jwk, instance, sign_from, proof)
            if key is not None:
                served[kid] = (key.until(sign_until), serve_until)
        self._keys = served


def _refuse_foreign(db: sqlite3.Connection) -> None:
    (mark,) = db.execute("pragma application_id").fetchone()
    (schema,) = db.execute("pragma user_version").fetchone()
    if (mark, schema) != (APPLICATION_ID, SCHEMA):
        raise StoreError("the file is no store, or a store of another version", code="store_foreign")


def _end(db: sqlite3.Connection, opened_by: int) -> None:
    """Close what this process opened; what it inherited is only put aside."""
    if opened_by == os.getpid():
        db.close()
    else:
        _inherited.append(db)


def _sessions_of(db: sqlite3.Connection, entry: RevocationEntry) -> list[str]:
    query = {Kind.AGENT: _OF_AGENT, Kind.USER: _OF_USER}.get(entry.kind)
    if query is None:
        return []
    before = _END_OF_TIME if entry.before is None else entry.before
    return [sid for (sid,) in db.execute(query, (entry.id, before, entry.at)).fetchall()]


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _before_fork() -> None:
    """A child inherits SQLite's table of locks but not the locks: nothing may be open while the process forks."""
    for source in list(_SOURCES):
        source.rest()


os.register_at_fork(before=_before_fork)
