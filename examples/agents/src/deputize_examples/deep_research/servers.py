"""A library that is read, and a press that publishes for good. Each verifies the token of every request."""

import sqlite3
from contextlib import closing
from pathlib import Path

from deputize.verifier import Caller
from deputize_examples.service import Arguments, Operation, Service


def library(database: Path) -> Service:
    """Documents."""

    def search(caller: Caller, arguments: Arguments) -> object:
        del caller
        query = "select id, title, cited from documents where topic = ? order by cited desc, id limit 3"
        return _rows(database, query, arguments["topic"])

    def read(caller: Caller, arguments: Arguments) -> object:
        del caller
        return _rows(database, "select * from documents where id = ?", arguments["document"])

    reads = frozenset({"documents:read"})
    operations = {"search": Operation(reads, search), "read_document": Operation(reads, read)}
    return Service("library", "http://127.0.0.1:8431", operations)


class Press:
    """`published`: the titles that are out, in order."""

    def __init__(self) -> None:
        self.published: list[str] = []

        def publish(caller: Caller, arguments: Arguments) -> object:
            del caller
            self.published.append(str(arguments["title"]))
            return {"published": len(self.published)}

        operations = {"publish": Operation(frozenset({"reports:publish"}), publish)}
        self.service = Service("press", "http://127.0.0.1:8432", operations)


def _rows(database: Path, query: str, *values: object) -> list[dict[str, object]]:
    with closing(sqlite3.connect(database)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values)]
