"""Opening SQLite files, and what its errors mean to a caller."""

import os
import sqlite3
import stat
import threading
import time
from typing import Final
from urllib.parse import quote

from deputize.model.failure import InvalidRequest, StoreError

MEMORY: Final = ":memory:"
BUSY_TIMEOUT: Final = 10.0  # seconds that one process waits for another's transaction
_LOOK: Final = 0.001  # seconds between two tries
_CREATING: Final = threading.Lock()
_OLDEST_SQLITE: Final = (3, 35, 0)  # `returning`
_WAL_BYTES: Final = 64 * 1024 * 1024  # what is kept of the log's file after a long reader let it grow
_WAL_PAGES: Final = 4000  # between checkpoints: a busy page is then written back once for many commits

_CODES: Final = {
    sqlite3.SQLITE_FULL: ("store_full", "the disk or the file's page limit is full"),
    sqlite3.SQLITE_BUSY: ("store_busy", "another process holds the store for too long"),
    sqlite3.SQLITE_LOCKED: ("store_busy", "another connection holds the store for too long"),
    sqlite3.SQLITE_READONLY: ("store_readonly", "the store's file or folder is read-only"),
    sqlite3.SQLITE_PERM: ("store_readonly", "the store's file or folder may not be used by this user"),
    sqlite3.SQLITE_CANTOPEN: ("store_unreachable", "the store's file can't be opened"),
    sqlite3.SQLITE_IOERR: ("store_io", "the disk failed"),
    sqlite3.SQLITE_CORRUPT: ("store_corrupt", "the store's file is damaged"),
    sqlite3.SQLITE_NOTADB: ("store_corrupt", "the file is no SQLite database"),
    sqlite3.SQLITE_CONSTRAINT: ("store_conflict", "the row exists"),
}

# What sqlite3 raises before SQLite sees the value: lone surrogates, integers over 64 bits.
UNSTORABLE: Final = (UnicodeEncodeError, OverflowError)
Refusal = tuple[str, str]  # message, code
READONLY: Final = ("the store was opened for reading only", "store_readonly")
CLOSED: Final = ("the store is closed", "store_closed")
LEFT_MEMORY: Final = ("a store in memory stays with the process that made it; this is its child", "store_forked")
LEFT_BUSY: Final = ("the process was forked while the store was in use: open it anew in the child", "store_forked")


def refuse(why: Refusal | None) -> None:
    """Raises StoreError if there is a reason."""
    if why is not None:
        message, code = why
        raise StoreError(message, code=code)


def store_error(error: sqlite3.Error) -> StoreError:
    """What went wrong, in our words; SQLite's own follow, which name columns but no values."""
    number = getattr(error, "sqlite_errorcode", 0) & 0xFF
    code, words = _CODES.get(number, ("store_error", "the store failed"))
    return StoreError(f"{words} ({str(error)[:120]})", code=code)


def unstorable() -> InvalidRequest:
    """The refusal of a value that no column holds, whoever gave it."""
    return InvalidRequest("a text has characters, or a number digits, that a store cannot hold")


def path_of(url: str | os.PathLike[str]) -> str:
    """An absolute path or `:memory:`, from `sqlite:<path>`, `sqlite::memory:`, a path or `:memory:`."""
    text = os.fspath(url).removeprefix("sqlite:")
    if text == MEMORY:
        return MEMORY
    if not text or "\0" in text:
        raise StoreError("a store is named sqlite:<path>, a path or :memory:", code="store_unreachable")
    return os.path.abspath(text)  # noqa: PTH100  # Path.resolve would follow links, which may change under us


def create(path: str) -> None:
    """Make an empty file that only its owner may read, if there is none.

    SQLite gives its side files the mode of the main one. Under a lock of ours: closing a descriptor of a file
    drops all POSIX locks that the process holds on it, so no connection may be opened in between.
    """
    with _CREATING:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR))
        except FileExistsError:
            return
        except OSError as error:
            raise StoreError(
                f"the store's file can't be created ({error.strerror})", code="store_unreachable"
            ) from error


def connect(path: str, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection without implicit transactions. Never creates a file. Raises sqlite3.Error."""
    with _CREATING:
        db = sqlite3.connect(
            MEMORY if path == MEMORY else f"file:{quote(path)}?mode={'ro' if readonly else 'rw'}",
            uri=path != MEMORY,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    db.execute("pragma trusted_schema = off")
    db.execute("pragma cell_size_check = on")
    return db


def prepare_writer(db: sqlite3.Connection, *, full: bool) -> None:
    """Write-ahead log, sync level, and overwriting of what is erased. Raises sqlite3.Error."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; 3.35 is needed")
    _use_wal(db)
    set_sync(db, full=full)
    db.execute(f"pragma wal_autocheckpoint = {_WAL_PAGES:d}")
    db.execute(f"pragma journal_size_limit = {_WAL_BYTES:d}")
    db.execute("pragma secure_delete = on")
    db.execute("pragma temp_store = memory")


def set_sync(db: sqlite3.Connection, *, full: bool) -> None:
    """FULL: a commit is on disk when it returns. NORMAL: only a power cut can take it back."""
    db.execute("pragma synchronous = full" if full else "pragma synchronous = normal")


def begin_immediate(db: sqlite3.Connection, patience: float) -> None:
    """Take the one write lock, waiting up to `patience` seconds for other processes. Raises sqlite3.Error.

    SQLite's own waiting sleeps longer and longer, up to 0.1 s, so that a process which writes without a pause
    starves all others; looking every millisecond finds the gaps between its transactions.
    """
    deadline = None
    while True:
        try:
            db.execute("begin immediate")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            now = time.monotonic()
            deadline = deadline or now + patience
            if now >= deadline:
                raise
            time.sleep(_LOOK)
        else:
            return


def is_busy(error: sqlite3.Error) -> bool:
    """True where another process or connection is in the way, and nothing is wrong."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _use_wal(db: sqlite3.Connection) -> None:
    """Several processes that create one file at once get SQLITE_BUSY here without SQLite's own waiting."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            db.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(_LOOK)
        else:
            return
