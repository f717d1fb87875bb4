"""What the log needs of a store, by shape alone: any store with these methods serves (audit imports none)."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from deputize.model.event import Record

T = TypeVar("T")


class TileReader(Protocol):
    """Where tiles are read: `docs/formats/tiles.md`."""

    def tile(self, level: int, index: int) -> bytes | None:
        """The hashes of a tile, 32 bytes each, 256 at most; None where there is none."""
        ...


class TileWriter(TileReader, Protocol):
    """Where tiles are written; a partial tile is replaced by its longer self."""

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        """Keep a tile."""
        ...


class LogReader(TileReader, Protocol):
    """One consistent view of records, tiles and the tree's own state."""

    def size(self) -> int:
        """How many records there are."""
        ...

    def record(self, seq: int) -> Record | None:
        """One record."""
        ...

    def records(self, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
        """Records with start <= seq < end, in order."""
        ...

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Leaf hashes of the records with start <= seq < end, in order."""
        ...

    def meta(self, name: str) -> str | None:
        """A named value."""
        ...


class LogWriter(LogReader, TileWriter, Protocol):
    """The same inside a transaction that may write."""

    def set_meta(self, name: str, value: str) -> None:
        """Set a named value."""
        ...


class LogStore(Protocol):
    """Runs operations, each in a transaction of its own."""

    def read(self, op: Callable[[LogReader], T]) -> T:
        """Run `op` on one consistent view."""
        ...

    def write(self, op: Callable[[LogWriter], T], *, sync: bool = False) -> T:
        """Run `op` and commit; with `sync`, also on the medium."""
        ...


class NoteSigner(Protocol):
    """An Ed25519 key that signs checkpoints (`checkpoint.NoteKey`, or a key management service)."""

    @property
    def name(self) -> str:
        """The key's name: the log's origin."""
        ...

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        ...

    def sign(self, data: bytes, /) -> bytes:
        """The signature, 64 bytes (RFC 8032 §5.1.6)."""
        ...
