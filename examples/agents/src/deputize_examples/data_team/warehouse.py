"""The warehouse: SQL over HTTP. What a statement may do depends on the token that came with it, not on its text."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from deputize.verifier import Caller
from deputize_examples.service import Arguments, NotEnough, Operation, Service

READ: Final = "warehouse:read"
WRITE: Final = "warehouse:write"
_READING: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_WRITING: Final = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_TRANSACTION}
_MOST: Final = 100  # rows of an answer


def warehouse(database: Path) -> Service:
    """Two operations over one table."""

    def run(caller: Caller, arguments: Arguments) -> object:
        return _run(database, str(arguments["sql"]), writes=WRITE in caller.scopes)

    operations = {
        "query": Operation(frozenset({READ}), run),
        "execute": Operation(frozenset({WRITE}), run),
    }
    return Service("warehouse", "http://127.0.0.1:8421", operations)


def _run(database: Path, sql: str, *, writes: bool) -> object:
    """SQLite itself asks what each step of a statement does; without the scope it may do nothing but read."""
    permitted = _READING | _WRITING if writes else _READING
    beyond: set[int] = set()

    def authorize(action: int, *_: object) -> int:
        if action in permitted:
            return sqlite3.SQLITE_OK
        beyond.add(action)
        return sqlite3.SQLITE_DENY

    with closing(sqlite3.connect(database)) as db, db:
        db.row_factory = sqlite3.Row
        db.set_authorizer(authorize)
        try:
            done = db.execute(sql)
        except (sqlite3.Error, sqlite3.Warning) as error:  # of several statements: Python 3.11 warns
            if beyond and not writes:
                raise NotEnough(f"{sql.split(maxsplit=1)[0]} needs {WRITE}") from error
            raise ValueError("no such statement") from error
        rows = [dict(row) for row in done.fetchmany(_MOST)]
        return rows or {"changed": max(done.rowcount, 0)}


def count(database: Path) -> int:
    """How many orders there are."""
    with closing(sqlite3.connect(database)) as db:
        (found,) = db.execute("select count(*) from orders").fetchone()
        return int(found)
