"""The embedded store: SQLite in write-ahead mode, in memory or in a file that several processes share."""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Literal, TypeVar

from deputize.model.failure import StoreError
from deputize.store import connection, fork
from deputize.store.entry import Entry
from deputize.store.group import Group
from deputize.store.protocol import ReadTx, WriteTx
from deputize.store.readers import Readers, Watch
from deputize.store.writer import Writer

T = TypeVar("T")
Durability = Literal["full", "normal"]


def open_sqlite(
    url: str | os.PathLike[str],
    *,
    durability: Durability = "full",
    create: bool = True,
    readonly: bool = False,
) -> "SqliteStore":
    """Open `sqlite:<path>`, `sqlite::memory:`, a path or `:memory:`; raises StoreError.

    `full`: a write is on disk when it returns; concurrent ones share a sync. `normal`: a power cut may take
    back the last moments, a kill never. `create=False` refuses a missing file; `readonly` refuses writes and
    never changes the file's schema.
    """
    path = connection.path_of(url)
    if path != connection.MEMORY:
        if create and not readonly:
            connection.create(path)
        elif not os.path.exists(path):  # noqa: PTH110  # os.PathLike in, one call
            raise StoreError(
                "the store's file does not exist; an authority makes it when it first opens", code="store_unreachable"
            )
    elif readonly:
        raise StoreError("a store in memory has nothing to read", code="store_unreachable")
    return SqliteStore(path, full=durability == "full", readonly=readonly)


class SqliteStore(Entry):
    """Implements `Store`. Made by `open_sqlite`."""

    def __init__(self, path: str, *, full: bool, readonly: bool) -> None:
        super().__init__()
        memory = path == connection.MEMORY
        self._writer = Writer(path, full=full, readonly=readonly)
        self._readers = None if memory else Readers(path)
        self._watch = None if self._readers is None else Watch(self._readers)
        self._grouped = full and not memory
        self._make_locks()
        self._finalizer = weakref.finalize(self, _close_all, self._writer, self._readers, self._watch)
        fork.register(self)
        me = self._enter()
        try:
            if not readonly:
                self._writer.open()
            if self._readers is not None:
                self._readers.give(self._readers.take(), sound=True)
        except BaseException:
            self._finalizer()
            raise
        finally:
            self._inside.discard(me)

    def _make_locks(self) -> None:
        self._turn = threading.Lock()
        self._watching = threading.Lock()
        self._group = Group(self._turn, self._writer.batch)

    def write(self, op: Callable[[WriteTx], T], *, sync: bool = False) -> T:
        """See Store."""
        me = self._enter()
        try:
            if self._grouped:
                return self._group.submit(op)
            with self._turn:
                return self._writer.alone(op, sync=sync)
        finally:
            self._inside.discard(me)

    def read(self, op: Callable[[ReadTx], T]) -> T:
        """See Store."""
        me = self._enter()
        try:
            if self._readers is not None:
                return self._readers.run(op)
            with self._turn:
                return self._writer.read(op)
        finally:
            self._inside.discard(me)

    def change_count(self) -> int:
        """See Store."""
        if self._watch is None:
            return self._writer.commits()
        me = self._enter()
        try:
            with self._watching:
                return self._watch.count()
        finally:
            self._inside.discard(me)

    def close(self) -> None:
        """See Store."""
        me = self._enter()
        try:
            with self._turn, self._watching:
                self._finalizer()
        finally:
            self._inside.discard(me)

    def _let_go(self) -> None:
        if self._readers is not None and self._watch is not None:
            self._watch.close()
            self._readers.drain()
            self._writer.close()

    def resume_in_child(self, *, rested: bool) -> list[object]:
        """See `fork.Forked`. What was in memory stays with the parent."""
        self._resting = None
        if rested and self._readers is not None:
            return []
        self._inside = set()
        self._make_locks()
        left: list[object] = [*self._writer.leave()]
        if self._readers is not None:
            left += self._readers.leave()
        return left


def _close_all(writer: Writer, readers: Readers | None, watch: Watch | None) -> None:
    """Not a method: it must not keep the store alive until the interpreter ends."""
    if watch is not None:
        watch.close()
    if readers is not None:
        readers.finish()
    writer.finish()
