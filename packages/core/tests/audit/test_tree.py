import base64
import json
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.audit import tree
from deputize.audit.record import leaf_hash
from deputize.model.failure import IntegrityError, InvalidRequest
from deputize.testing import vectors


class Tiles:
    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], bytes] = {}
        self.writes = 0

    def tile(self, level: int, index: int) -> bytes | None:
        return self.kept.get((level, index))

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        self.writes += 1
        self.kept[level, index] = data


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


def naive_root(hashes: list[bytes]) -> bytes:
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    return sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def naive_path(index: int, hashes: list[bytes]) -> list[bytes]:
    if len(hashes) == 1:
        return []
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    if index < k:
        return [*naive_path(index, hashes[:k]), naive_root(hashes[k:])]
    return [*naive_path(index - k, hashes[k:]), naive_root(hashes[:k])]


def naive_proof(size: int, hashes: list[bytes], *, whole: bool = True) -> list[bytes]:
    if size == len(hashes):
        return [] if whole else [naive_root(hashes)]
    k = 1
    while 2 * k < len(hashes):
        k *= 2
    if size <= k:
        return [*naive_proof(size, hashes[:k], whole=whole), naive_root(hashes[k:])]
    return [*naive_proof(size - k, hashes[k:], whole=False), naive_root(hashes[:k])]


def grown(count: int) -> Tiles:
    tiles = Tiles()
    tree.integrate(tiles, 0, leaves(count))
    return tiles


def test_the_root_of_no_leaves_is_the_hash_of_nothing() -> None:
    assert tree.root(0, Tiles()) == sha256(b"").digest()


@pytest.mark.parametrize("size", range(1, 80))
def test_roots_and_proofs_equal_those_of_a_naive_tree(size: int) -> None:
    hashes, tiles = leaves(size), grown(79)
    root = tree.root(size, tiles)
    assert root == naive_root(hashes)
    for index in range(size):
        path = tree.inclusion_proof(index, size, tiles)
        assert path == naive_path(index, hashes)
        assert tree.verify_inclusion(index, size, hashes[index], path, root)
    for older in range(1, size + 1):
        proof = tree.consistency_proof(older, size, tiles)
        assert proof == naive_proof(older, hashes)
        assert tree.verify_consistency(older, size, naive_root(hashes[:older]), root, proof)


@pytest.mark.requirement("I14")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=5))
def test_a_tree_is_the_same_in_whatever_batches_it_grew(batches: list[int]) -> None:
    hashes, tiles, size = leaves(sum(batches)), Tiles(), 0
    for batch in batches:
        before = tree.root(size, tiles)
        old = size
        size = tree.integrate(tiles, size, hashes[size : size + batch])
        assert tree.root(old, tiles) == before
        if old:
            proof = tree.consistency_proof(old, size, tiles)
            assert tree.verify_consistency(old, size, before, tree.root(size, tiles), proof)
    assert tiles.kept == grown(size).kept
    assert tree.root(size, tiles) == naive_root(hashes)


def test_tiles_have_the_widths_that_the_specification_gives_for_70000_leaves() -> None:
    tiles = grown(70_000)
    widths: dict[int, list[int]] = {}
    for (level, _), data in sorted(tiles.kept.items()):
        widths.setdefault(level, []).append(len(data) // 32)
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    hashes = leaves(70_000)
    assert tree.root(69_999, tiles) == naive_root(hashes[:69_999])
    for index in (0, 255, 256, 65_535, 65_536, 69_998):
        path = tree.inclusion_proof(index, 69_999, tiles)
        assert tree.verify_inclusion(index, 69_999, hashes[index], path, tree.root(69_999, tiles))


def test_a_batch_writes_each_tile_once() -> None:
    tiles = Tiles()
    tree.integrate(tiles, 0, leaves(1024))
    assert tiles.writes == 4 + 1


def test_a_missing_or_short_tile_is_an_integrity_error_and_not_a_wrong_root() -> None:
    tiles = grown(300)
    tiles.kept[0, 1] = tiles.kept[0, 1][:-32]
    for act in (
        lambda: tree.root(300, tiles),
        lambda: tree.integrate(tiles, 300, leaves(1)),
        lambda: tree.inclusion_proof(0, 300, tiles),
    ):
        with pytest.raises(IntegrityError) as caught:
            act()
        assert caught.value.code == "tile_missing"


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_a_proof_of_a_leaf_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(InvalidRequest):
        tree.inclusion_proof(index, size, grown(9))


@pytest.mark.parametrize(("older", "newer"), [(0, 5), (6, 5), (-1, 5)])
def test_a_proof_from_an_empty_or_larger_tree_is_refused(older: int, newer: int) -> None:
    with pytest.raises(InvalidRequest):
        tree.consistency_proof(older, newer, grown(9))


def cases(kind: str) -> list[tuple[str, dict[str, object]]]:
    folder = vectors("merkle_proofs") / "testdata" / kind
    return [(str(path.relative_to(folder)), json.loads(path.read_bytes())) for path in sorted(folder.rglob("*.json"))]


def decoded(value: object) -> bytes:
    return base64.b64decode(str(value or ""))


@pytest.mark.requirement("AU-03")
def test_every_third_party_proof_is_judged_as_its_vector_says() -> None:
    judged: dict[str, bool] = {}
    wanted: dict[str, bool] = {}
    for name, case in cases("inclusion"):
        proof = [decoded(item) for item in (case["proof"] or [])]  # type: ignore[attr-defined]  # read from JSON
        wanted[f"inclusion/{name}"] = not case["wantErr"]
        judged[f"inclusion/{name}"] = tree.verify_inclusion(
            int(str(case["leafIdx"])),
            int(str(case["treeSize"])),
            decoded(case["leafHash"]),
            proof,
            decoded(case["root"]),
        )
    for name, case in cases("consistency"):
        proof = [decoded(item) for item in (case["proof"] or [])]  # type: ignore[attr-defined]  # read from JSON
        wanted[f"consistency/{name}"] = not case["wantErr"]
        judged[f"consistency/{name}"] = tree.verify_consistency(
            int(str(case["size1"])), int(str(case["size2"])), decoded(case["root1"]), decoded(case["root2"]), proof
        )
    assert {name for name in judged if judged[name] != wanted[name]} == set()
    assert len(judged) == 196
