"""One pass over the records: every leaf made anew from its record and held against the tree's.

Works tile by tile, so that a log that is as it was costs one comparison for 256 records. What a writer of the
store could have put there (sizes, numbers, kinds of columns) bounds no loop and ends none.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from deputize.audit.protocol import LogReader
from deputize.audit.record import is_erased, made_leaf
from deputize.audit.tree import HASH, TILE_BYTES, TILE_HEIGHT, TILE_WIDTH, Subtree, fold, range_hash
from deputize.model.event import Record

_FIRST: Final = -(2**63)  # a row that was slipped in under a negative number is seen too


@dataclass(frozen=True, slots=True)
class Odd:
    """A place where record, its own leaf and the tree's leaf are not one. `held`: None past the tree's end."""

    seq: int
    record: Record | None
    made: bytes | None
    held: bytes | None


@dataclass(slots=True)
class Scan:
    """What a pass found. `end`: one past the last record; `holes`: (first, count) of numbers that are missing."""

    count: int = 0
    end: int = 0
    odd: list[Odd] = field(default_factory=list)
    erased: list[tuple[int, bool]] = field(default_factory=list)  # seq, and whether its leaf could be made
    disordered: list[int] = field(default_factory=list)
    holes: list[tuple[int, int]] = field(default_factory=list)
    nodes: dict[int, bytes] = field(default_factory=dict)  # tree hashes over 256 records each
    kept: dict[int, list[bytes | None]] = field(default_factory=dict)  # leaves of the tiles at a boundary

    def root(self, size: int) -> bytes | None:
        """The root of the first `size` records as they are; None where one of them is missing."""
        try:
            return range_hash(self._subtree(), 0, size)
        except _Unknown:
            return None

    def _subtree(self) -> Subtree:
        def subtree(height: int, index: int) -> bytes:
            width = 1 << max(height - TILE_HEIGHT, 0)
            if width > len(self.nodes) + 1:
                raise _Unknown
            hashes: list[bytes | None]
            if height >= TILE_HEIGHT:
                hashes = [self.nodes.get(at) for at in range(index * width, (index + 1) * width)]
            else:
                width = 1 << height
                tile, offset = divmod(index * width, TILE_WIDTH)
                hashes = self.kept.get(tile, [])[offset : offset + width]
            known = [item for item in hashes if item is not None]
            if len(known) != width:
                raise _Unknown
            return fold(b"".join(known))

        return subtree


class _Unknown(Exception):
    """Not an error: a hash that can't be made."""


def covered(log: LogReader, size: int) -> int:
    """Of `size` leaves that the tree should hold, those that its tiles do hold, from the first on without a hole."""
    index = 0
    while index * TILE_WIDTH < size:
        data = log.tile(0, index)
        hashes = len(data) // HASH if isinstance(data, bytes) else 0
        if hashes < TILE_WIDTH:
            return min(size, index * TILE_WIDTH + hashes)
        index += 1
    return size


def scan(log: LogReader, size: int, boundaries: tuple[int, ...]) -> Scan:
    """Read every record once. `size`: leaves that the tree holds (`covered`).

    `boundaries`: sizes at which `Scan.root` will be asked, beside the end.
    """
    found = Scan()
    reader = _Tiles(log, found, size, {item // TILE_WIDTH for item in boundaries})
    for chunk in _chunks(_ordered(log.records(start=_FIRST), found)):
        reader.catch_up(chunk[0].seq // TILE_WIDTH)
        reader.take(chunk[0].seq // TILE_WIDTH, chunk)
    reader.catch_up(-(-size // TILE_WIDTH))
    return found


def _ordered(records: Iterator[Record], found: Scan) -> Iterator[Record]:
    for record in records:
        found.count += 1
        if record.seq < found.end:
            found.disordered.append(record.seq)
            continue
        if record.seq > found.end:
            found.holes.append((found.end, record.seq - found.end))
        found.end = record.seq + 1
        yield record


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    """The records of one tile at a time, tiles without any left out."""
    chunk = list(islice(records, 1))
    for record in records:
        if record.seq // TILE_WIDTH != chunk[0].seq // TILE_WIDTH:
            yield chunk
            chunk = []
        chunk.append(record)
    if chunk:
        yield chunk


class _Tiles:
    """Takes records tile by tile and holds them against the tree's own leaves."""

    def __init__(self, log: LogReader, found: Scan, size: int, boundaries: set[int]) -> None:
        self._log = log
        self._found = found
        self._size = size
        self._boundaries = boundaries
        self._next = 0

    def catch_up(self, index: int) -> None:
        """Tiles before `index` have no record left; those that the tree holds are noted."""
        for gone in range(self._next, min(index, -(-self._size // TILE_WIDTH))):
            self.take(gone, [])

    def take(self, index: int, chunk: list[Record]) -> None:
        """The records of one tile."""
        self._next = index + 1
        start = index * TILE_WIDTH
        held = self._held(index)
        leaves: list[bytes | None] = [self._leaf(record) for record in chunk]
        own = [record.leaf for record in chunk]
        dense = bool(chunk) and chunk[0].seq == start and chunk[-1].seq == start + len(chunk) - 1
        if not dense or leaves != own or leaves[: len(held)] != held:
            leaves = self._odd(start, chunk, leaves, held)
        known = [leaf for leaf in leaves if leaf is not None]
        if len(known) == TILE_WIDTH:
            self._found.nodes[index] = fold(b"".join(known))
        if len(known) < TILE_WIDTH or index in self._boundaries:
            self._found.kept[index] = leaves

    def _held(self, index: int) -> list[bytes]:
        width = max(min(self._size - index * TILE_WIDTH, TILE_WIDTH), 0)
        data = (self._log.tile(0, index) or b"")[: width * HASH] if width else b""
        return [data[at : at + HASH] for at in range(0, len(data), HASH)]

    def _leaf(self, record: Record) -> bytes | None:
        leaf = made_leaf(record)
        if record.body is not None or not is_erased(record):
            return leaf
        self._found.erased.append((record.seq, leaf is not None))
        return _hash_or_none(record.leaf) if leaf is None else leaf

    def _odd(
        self, start: int, chunk: list[Record], leaves: list[bytes | None], held: list[bytes]
    ) -> list[bytes | None]:
        """Note every place that is not as it should be; returns the leaves by place, None where there is none."""
        rows = {record.seq - start: (record, leaf) for record, leaf in zip(chunk, leaves, strict=True)}
        by_place: list[bytes | None] = []
        for place in range(max(len(held), max(rows, default=-1) + 1)):
            record, leaf = rows.get(place, (None, None))
            tree_leaf = held[place] if place < len(held) else None
            by_place.append(leaf)
            if record is None and tree_leaf is None:
                continue  # a hole past the tree's end
            if record is None or leaf != record.leaf or (tree_leaf is not None and tree_leaf != leaf):
                self._found.odd.append(Odd(start + place, record, leaf, tree_leaf))
        return by_place


def full_tile(log: LogReader, level: int, index: int) -> bytes | None:
    """A tile that has all its hashes, or None."""
    data = log.tile(level, index)
    return data if isinstance(data, bytes) and len(data) == TILE_BYTES else None


def entry(log: LogReader, level: int, index: int) -> bytes | None:
    """One hash of a level, or None."""
    data = log.tile(level, index // TILE_WIDTH)
    at = index % TILE_WIDTH * HASH
    return data[at : at + HASH] if isinstance(data, bytes) and len(data) >= at + HASH else None


def _hash_or_none(leaf: object) -> bytes | None:
    return leaf if isinstance(leaf, bytes) and len(leaf) == HASH else None
