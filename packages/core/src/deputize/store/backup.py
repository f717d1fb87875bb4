"""A copy of a SQLite store while it is used, and SQLite's own check of one."""

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from deputize.model.failure import InvalidRequest, StoreError
from deputize.store import connection

_PAGES: Final = 1024  # copied at a time; writers go on in between
_PAUSE: Final = 0.001  # seconds
_WHOLE: Final = "ok"


def back_up(url: str, target: Path) -> None:
    """Copy the store to a file that does not exist yet (mode 0600), by SQLite's online backup.

    The copy is one moment of the store. Raises InvalidRequest where the file exists, StoreError.
    """
    source = connection.path_of(url)
    if target.exists():
        raise InvalidRequest("the file exists already; nothing was copied", code="file_exists")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    connection.create(str(beside))
    try:
        _copied(source, str(beside))
        _synced(beside)
        os.link(beside, target)
    except FileExistsError:
        raise InvalidRequest("the file exists already; nothing was copied", code="file_exists") from None
    except OSError as error:
        raise StoreError(f"the copy cannot be written: {error.strerror}", code="store_io") from None
    finally:
        for name in (beside, Path(f"{beside}-wal"), Path(f"{beside}-shm"), Path(f"{beside}-journal")):
            name.unlink(missing_ok=True)


def quick_check(url: str) -> list[str]:
    """What SQLite finds wrong with the file; empty where it is whole. Raises StoreError."""
    try:
        with contextlib.closing(connection.connect(connection.path_of(url), readonly=True)) as db:
            found = [str(row[0]) for row in db.execute("pragma quick_check").fetchall()]
    except sqlite3.Error as error:
        raise connection.store_error(error) from None
    return [] if found == [_WHOLE] else found


def _copied(source: str, target: str) -> None:
    try:
        with (
            contextlib.closing(connection.connect(source, readonly=True)) as old,
            contextlib.closing(connection.connect(target)) as new,
        ):
            old.backup(new, pages=_PAGES, sleep=_PAUSE)
            new.execute("pragma journal_mode = delete")
    except sqlite3.Error as error:
        raise connection.store_error(error) from None


def _synced(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
