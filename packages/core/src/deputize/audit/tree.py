"""The Merkle tree of the log: RFC 6962 §2.1 over tiles of 256 hashes (C2SP tlog-tiles).

Hash `i` of level `l` is the tree hash of the leaves [i * 256^l, (i + 1) * 256^l). All sizes are numbers of leaves.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

from deputize.audit.protocol import TileReader, TileWriter
from deputize.model.failure import IntegrityError, InvalidRequest

HASH: Final = 32  # bytes
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT  # hashes
TILE_BYTES: Final = TILE_WIDTH * HASH
EMPTY_ROOT: Final = sha256(b"").digest()
NODE_PREFIX: Final = b"\x01"

Subtree = Callable[[int, int], bytes]  # (height, index) -> hash of a complete subtree


def node_hash(left: bytes, right: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of an inner node."""
    return sha256(NODE_PREFIX + left + right).digest()


def fold(hashes: bytes) -> bytes:
    """The tree hash over 2^n concatenated hashes."""
    while len(hashes) > HASH:
        hashes = b"".join(
            [sha256(NODE_PREFIX + hashes[at : at + 2 * HASH]).digest() for at in range(0, len(hashes), 2 * HASH)]
        )
    return hashes


def integrate(tiles: TileWriter, size: int, leaves: Sequence[bytes]) -> int:
    """Append leaf hashes to a tree of `size` leaves and return the new size.

    Costs one rewrite of the partial tile of each level, so hand over many at once. Raises IntegrityError
    (`tile_missing`) where the tiles do not hold a tree of `size` leaves.
    """
    level, at, fresh = 0, size, b"".join(leaves)
    while fresh:
        start = at - at % TILE_WIDTH
        data = _head(tiles, level, start // TILE_WIDTH, at - start) + fresh
        full: list[bytes] = []
        for offset in range(0, len(data), TILE_BYTES):
            tile = data[offset : offset + TILE_BYTES]
            tiles.put_tile(level, start // TILE_WIDTH + offset // TILE_BYTES, tile)
            if len(tile) == TILE_BYTES:
                full.append(fold(tile))
        level, at, fresh = level + 1, start // TILE_WIDTH, b"".join(full)
    return size + len(leaves)


def _head(tiles: TileReader, level: int, index: int, width: int) -> bytes:
    """The first `width` hashes of a tile."""
    data = b"" if width == 0 else tiles.tile(level, index) or b""
    if len(data) < width * HASH:
        raise IntegrityError(f"tile {level}/{index} of the log is missing or short", code="tile_missing")
    return data[: width * HASH]


def subtrees(tiles: TileReader) -> Subtree:
    """Complete subtrees as the tiles have them. Each tile is read once."""
    seen: dict[tuple[int, int], bytes] = {}

    def subtree(height: int, index: int) -> bytes:
        level, inner = divmod(height, TILE_HEIGHT)
        tile, offset = divmod(index << inner, TILE_WIDTH)
        end = (offset + (1 << inner)) * HASH
        data = seen.get((level, tile), b"")
        if len(data) < end:
            data = seen[level, tile] = tiles.tile(level, tile) or b""
        if len(data) < end:
            raise IntegrityError(f"tile {level}/{tile} of the log is missing or short", code="tile_missing")
        return fold(data[offset * HASH : end])

    return subtree


def root(size: int, tiles: TileReader) -> bytes:
    """The root of the first `size` leaves. Raises IntegrityError (`tile_missing`)."""
    return range_hash(subtrees(tiles), 0, size)


def range_hash(subtree: Subtree, start: int, end: int) -> bytes:
    """MTH(D[start:end]) where `start` is a multiple of the largest power of two below the range's length."""
    count = end - start
    if count == 0:
        return EMPTY_ROOT
    split = _split(count)
    if split == count:
        return subtree(count.bit_length() - 1, start // count)
    return node_hash(range_hash(subtree, start, start + split), range_hash(subtree, start + split, end))


def _split(count: int) -> int:
    """The largest power of two that is not above `count`."""
    return 1 << (count.bit_length() - 1)


def _below(count: int) -> int:
    """The largest power of two that is below `count` (RFC 6962's k)."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, tiles: TileReader) -> list[bytes]:
    """PATH(index, D[0:size]), RFC 6962 §2.1.1. Raises InvalidRequest where index is not below size."""
    if not 0 <= index < size:
        raise InvalidRequest("an inclusion proof is of a leaf inside the tree", code="invalid_proof")
    subtree = subtrees(tiles)
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _below(end - start)
        if index < middle:
            path.append(range_hash(subtree, middle, end))
            end = middle
        else:
            path.append(range_hash(subtree, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(size1: int, size2: int, tiles: TileReader) -> list[bytes]:
    """PROOF(size1, D[0:size2]), RFC 6962 §2.1.2. Raises InvalidRequest unless 0 < size1 <= size2."""
    if not 0 < size1 <= size2:
        raise InvalidRequest("a consistency proof is from a smaller, non-empty tree", code="invalid_proof")
    subtree = subtrees(tiles)
    proof: list[bytes] = []
    start, end = 0, size2
    while end != size1:
        middle = start + _below(end - start)
        if size1 <= middle:
            proof.append(range_hash(subtree, middle, end))
            end = middle
        else:
            proof.append(range_hash(subtree, start, middle))
            start = middle
    if start > 0:  # RFC 6962: the old tree is no left edge of itself, so its right part is told
        proof.append(range_hash(subtree, start, end))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes) -> bool:
    """True if `proof` leads from the leaf hash to the root `expected` (RFC 9162 §2.1.3.2). Never raises."""
    if not 0 <= index < size or any(len(item) != HASH for item in (leaf, expected, *proof)):
        return False
    at, last, made = index, size - 1, leaf
    for item in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            made = node_hash(item, made)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            made = node_hash(made, item)
        at, last = at >> 1, last >> 1
    return last == 0 and made == expected


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]) -> bool:
    """True if the tree of `size1` is the beginning of the tree of `size2` (RFC 9162 §2.1.4.2). Never raises.

    An empty first tree proves nothing and is refused.
    """
    if not 0 < size1 <= size2:
        return False
    if size1 == size2:
        return not proof and root1 == root2
    steps = [root1, *proof] if size1 == _split(size1) else list(proof)
    if not steps or any(len(item) != HASH for item in steps):
        return False
    at, last = size1 - 1, size2 - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = steps[0]
    for item in steps[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(item, old), node_hash(item, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, item)
        at, last = at >> 1, last >> 1
    return last == 0 and old == root1 and new == root2
