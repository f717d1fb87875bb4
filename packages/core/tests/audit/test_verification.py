"""Whatever a writer of the store does to it, verification says that something was done, and to which record."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.audit import checkpoint as notes
from deputize.audit.checkpoint import Checkpoint, NoteKey
from deputize.audit.findings import Kind, Report
from deputize.audit.log import CHECKPOINT, TREE_SIZE, Log, integrate_pending
from deputize.audit.record import check, leaf_bytes, leaf_hash, seal
from deputize.audit.verification import verify
from deputize.model.event import Event, Record
from deputize.model.failure import IntegrityError

T = TypeVar("T")
ORIGIN = "log.example/deputize"
KEY = notes.new_key(ORIGIN)


class Memory:
    """A log and its store in a dictionary, open to every change."""

    def __init__(self) -> None:
        self.rows: dict[int, Record] = {}
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.values: dict[str, str] = {}

    def tile(self, level: int, index: int) -> bytes | None:
        return self.tiles.get((level, index))

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        self.tiles[level, index] = data

    def size(self) -> int:
        return max(self.rows, default=-1) + 1

    def record(self, seq: int) -> Record | None:
        return self.rows.get(seq)

    def records(self, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
        chosen = [seq for seq in sorted(self.rows) if seq >= start and (end is None or seq < end)]
        return iter([self.rows[seq] for seq in chosen])

    def leaves(self, start: int, end: int) -> list[bytes]:
        return [record.leaf for record in self.records(start=start, end=end)]

    def meta(self, name: str) -> str | None:
        return self.values.get(name)

    def set_meta(self, name: str, value: str) -> None:
        self.values[name] = value

    def read(self, op: Callable[["Memory"], T]) -> T:
        return op(self)

    def write(self, op: Callable[["Memory"], T], *, sync: bool = False) -> T:  # noqa: ARG002  # the protocol
        return op(self)

    def copy(self) -> "Memory":
        other = Memory()
        other.rows, other.tiles, other.values = dict(self.rows), dict(self.tiles), dict(self.values)
        return other


def event(number: int) -> Event:
    return Event(type="tool.finished", outcome="done", time=1_750_000_000_000 + number, tool=f"tool-{number}")


def build(count: int, *, integrated: bool = True) -> Memory:
    log = Memory()
    for seq in range(count):
        log.rows[seq] = seal(event(seq), seq)
    if integrated:
        Log(log).integrate()
    return log


def signed(log: Memory, key: NoteKey = KEY) -> Checkpoint:
    return Log(log).checkpoint(key, origin=key.name, unanchored=True)


def rebuild(log: Memory) -> None:
    """What a careful forger does: leaves, tree and the store's own checkpoint made anew from the altered rows."""
    log.rows = {
        seq: replace(record, leaf=leaf_hash(leaf_bytes(record) or b"")) for seq, record in sorted(log.rows.items())
    }
    log.tiles, log.values = {}, {}
    Log(log).integrate()


def erase(log: Memory, seq: int, *, keep_digest: bool = True) -> None:
    record = log.rows[seq]
    digest = sha256((record.salt or b"") + (record.body or b"")).digest()
    log.rows[seq] = replace(record, salt=None, body=None, digest=digest if keep_digest else None)


def found(report: Report, kind: Kind) -> list[int | None]:
    return [seq for item in report.about(kind) for seq in range(item.seq or 0, (item.seq or 0) + item.count)]


WHOLE = build(700)
HEAD = signed(WHOLE)
PLACES = st.integers(0, 699)


@pytest.mark.requirement("AU-02")
def test_a_log_that_is_as_it_was_verifies_against_an_older_checkpoint() -> None:
    log = build(300)
    older = signed(log)
    for seq in range(300, 650):
        log.rows[seq] = seal(event(seq), seq)
    while log.write(integrate_pending):
        pass
    report = verify(log, against=older, trusted=notes.verifier_key(KEY), origin=ORIGIN)
    assert report.ok
    assert report.findings == ()
    assert (report.records, report.tree_size, report.unanchored) == (650, 650, False)


def test_an_empty_log_verifies() -> None:
    assert verify(Memory()).ok
    assert verify(Memory(), against=signed(Memory())).ok


def test_records_that_the_tree_has_not_taken_in_yet_are_no_fault() -> None:
    report = verify(build(5, integrated=False))
    assert report.ok
    assert found(report, Kind.PENDING) == [0, 1, 2, 3, 4]


def test_without_a_checkpoint_from_outside_the_report_says_unanchored() -> None:
    report = verify(WHOLE)
    assert report.ok
    assert report.unanchored
    assert any(note.startswith("unanchored") for note in report.notes)


def _flip(data: bytes, at: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


CHANGES: dict[str, Callable[[Record, int], Record]] = {
    "body": lambda record, at: replace(record, body=_flip(record.body or b"", at)),
    "salt": lambda record, at: replace(record, salt=_flip(record.salt or b"", at)),
    "leaf": lambda record, at: replace(record, leaf=_flip(record.leaf, at)),
    "time": lambda record, at: replace(record, time=record.time ^ (1 << (at % 40))),
    "type": lambda record, at: replace(record, type=_flip(record.type.encode(), at).decode("latin-1")),
}


@pytest.mark.requirement("I14")
@settings(max_examples=60, deadline=None)
@given(seq=PLACES, part=st.sampled_from(sorted(CHANGES)), at=st.integers(0, 4000), careful=st.booleans())
def test_any_changed_byte_of_a_record_is_found_and_the_record_named(
    seq: int, part: str, at: int, careful: bool
) -> None:
    log = WHOLE.copy()
    record = CHANGES[part](log.rows[seq], at)
    if careful and part != "leaf":
        record = replace(record, leaf=leaf_hash(leaf_bytes(record) or b""))
    log.rows[seq] = record
    for report in (verify(log, against=HEAD), verify(log)):
        assert not report.ok
        assert found(report, Kind.CHANGED) == [seq]
        assert {item.kind for item in report.findings} == {Kind.CHANGED}


@pytest.mark.requirement("I14")
@settings(max_examples=30, deadline=None)
@given(seq=st.integers(0, 698), renumber=st.booleans(), careful=st.booleans())
def test_a_removed_record_is_found_and_named_also_when_the_rest_closed_up(
    seq: int, renumber: bool, careful: bool
) -> None:
    log = WHOLE.copy()
    del log.rows[seq]
    if renumber:
        rows = [log.rows[place] for place in sorted(log.rows)]
        log.rows = {place: replace(record, seq=place) for place, record in enumerate(rows)}
        if careful:
            log.rows = {
                place: replace(record, leaf=leaf_hash(leaf_bytes(record) or b"")) for place, record in log.rows.items()
            }
    report = verify(log, against=HEAD)
    assert not report.ok
    assert found(report, Kind.REMOVED) == [seq]
    if not renumber:
        assert {item.kind for item in report.findings} == {Kind.REMOVED}
    assert not report.about(Kind.CHANGED)
    assert not report.about(Kind.TRUNCATED)


@pytest.mark.requirement("I14")
@settings(max_examples=30, deadline=None)
@given(one=PLACES, other=PLACES, careful=st.booleans())
def test_swapped_records_are_found_and_named(one: int, other: int, careful: bool) -> None:
    log = WHOLE.copy()
    log.rows[one], log.rows[other] = (
        replace(log.rows[other], seq=one),
        replace(log.rows[one], seq=other),
    )
    if careful:
        for seq in (one, other):
            log.rows[seq] = replace(log.rows[seq], leaf=leaf_hash(leaf_bytes(log.rows[seq]) or b""))
    report = verify(log, against=HEAD)
    assert report.ok == (one == other)
    assert found(report, Kind.REORDERED) == ([] if one == other else sorted((one, other)))
    assert {item.kind for item in report.findings} <= {Kind.REORDERED}


@pytest.mark.requirement("I14")
@settings(max_examples=30, deadline=None)
@given(left=st.integers(0, 699), tiles_too=st.booleans())
def test_a_cut_tail_is_found_and_measured_against_a_checkpoint(left: int, tiles_too: bool) -> None:
    log = WHOLE.copy()
    log.rows = {seq: record for seq, record in log.rows.items() if seq < left}
    if tiles_too:
        rebuild(log)
    report = verify(log, against=HEAD)
    assert [(item.kind, item.seq, item.count) for item in report.findings] == [(Kind.TRUNCATED, left, 700 - left)]


def test_a_record_that_was_put_in_is_named() -> None:
    log = WHOLE.copy()
    rows = [log.rows[seq] for seq in sorted(log.rows)]
    rows.insert(40, seal(event(4711), 40))
    log.rows = {seq: replace(record, seq=seq) for seq, record in enumerate(rows)}
    report = verify(log, against=HEAD)
    assert found(report, Kind.INSERTED) == [40]
    assert found(report, Kind.REORDERED) == list(range(41, 701))


@pytest.mark.requirement("I14")
def test_a_consistent_rewrite_is_seen_by_a_checkpoint_from_outside_alone() -> None:
    log = WHOLE.copy()
    log.rows[33] = seal(event(9999), 33)
    rebuild(log)
    assert verify(log).ok
    assert verify(log).unanchored
    report = verify(log, against=HEAD)
    assert [item.kind for item in report.findings] == [Kind.REWRITTEN]


def test_a_rewrite_that_left_the_stores_own_checkpoint_is_seen_without_one_from_outside() -> None:
    log = WHOLE.copy()
    log.rows[33] = seal(event(9999), 33)
    kept = log.values[CHECKPOINT]
    rebuild(log)
    log.values[CHECKPOINT] = kept
    assert [item.kind for item in verify(log).findings] == [Kind.REWRITTEN]


@pytest.mark.requirement("I14")
@settings(max_examples=30, deadline=None)
@given(
    place=st.sampled_from(sorted(WHOLE.tiles)), at=st.integers(0, 8191), how=st.sampled_from(["flip", "cut", "drop"])
)
def test_any_change_to_the_tree_is_found_and_no_record_is_blamed(place: tuple[int, int], at: int, how: str) -> None:
    log = WHOLE.copy()
    data = log.tiles[place]
    if how == "flip":
        log.tiles[place] = _flip(data, at)
    elif how == "cut":
        log.tiles[place] = data[: at % len(data)]
    else:
        del log.tiles[place]
    report = verify(log, against=HEAD)
    assert not report.ok
    assert {item.kind for item in report.findings} <= {Kind.TREE, Kind.PENDING}


def test_a_changed_hash_in_the_tree_is_named_by_its_record() -> None:
    log = WHOLE.copy()
    log.tiles[0, 1] = _flip(log.tiles[0, 1], 32 * 10)
    assert found(verify(log), Kind.TREE)[:1] == [266]


@pytest.mark.requirement("AU-02")
@pytest.mark.parametrize("keep_digest", [True, False])
def test_an_erased_record_is_erased_and_not_broken(keep_digest: bool) -> None:
    log = WHOLE.copy()
    erase(log, 5, keep_digest=keep_digest)
    erase(log, 6, keep_digest=keep_digest)
    check(log.rows[5])
    report = verify(log, against=HEAD)
    assert report.ok
    assert [(item.kind, item.seq, item.count) for item in report.findings] == [(Kind.ERASED, 5, 2)]


def test_place_time_and_type_of_an_erased_record_stay_proved() -> None:
    log = WHOLE.copy()
    erase(log, 5)
    log.rows[5] = replace(log.rows[5], time=1)
    assert found(verify(log, against=HEAD), Kind.CHANGED) == [5]


def test_an_erased_record_whose_leaf_was_changed_is_not_taken_for_erased_alone() -> None:
    log = WHOLE.copy()
    erase(log, 5, keep_digest=False)
    log.rows[5] = replace(log.rows[5], leaf=b"\0" * 32)
    assert found(verify(log, against=HEAD), Kind.CHANGED) == [5]


@pytest.mark.parametrize("lost", ["body", "salt"])
def test_half_of_an_erasure_is_a_change(lost: str) -> None:
    log = WHOLE.copy()
    log.rows[5] = replace(log.rows[5], body=None) if lost == "body" else replace(log.rows[5], salt=None)
    assert found(verify(log, against=HEAD), Kind.CHANGED) == [5]
    with pytest.raises(IntegrityError) as caught:
        check(log.rows[5])
    assert caught.value.code == "record_changed"


def test_a_checkpoint_of_another_log_is_foreign_and_not_held_against_this_one() -> None:
    other = signed(build(3), notes.new_key("other.example"))
    report = verify(WHOLE, against=other, origin=ORIGIN)
    assert [item.kind for item in report.findings] == [Kind.FOREIGN]
    assert any(note.startswith("unanchored") for note in report.notes)


def test_a_checkpoint_by_a_key_that_is_not_trusted_is_foreign() -> None:
    report = verify(WHOLE, against=signed(WHOLE.copy(), notes.new_key(ORIGIN)), trusted=notes.verifier_key(KEY))
    assert [item.kind for item in report.findings] == [Kind.FOREIGN]
    assert report.unanchored


def test_a_checkpoint_with_a_false_signature_is_forged() -> None:
    line = HEAD.signatures[0]
    forged = replace(HEAD, signatures=(replace(line, value=_flip(line.value, 3)),))
    report = verify(WHOLE, against=forged, trusted=notes.verifier_key(KEY))
    assert [item.kind for item in report.findings] == [Kind.FORGED]


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda log: log.rows.update({2**62: replace(log.rows[3], seq=2**62)}),
        lambda log: log.rows.update({-7: replace(log.rows[3], seq=-7)}),
        lambda log: log.rows.update({3: replace(log.rows[3], body="text")}),
        lambda log: log.rows.update({3: replace(log.rows[3], salt=5)}),
        lambda log: log.rows.update({3: replace(log.rows[3], time="late")}),
        lambda log: log.rows.update({3: replace(log.rows[3], time=2.5)}),
        lambda log: log.rows.update({3: replace(log.rows[3], type=b"\xff")}),
        lambda log: log.rows.update({3: replace(log.rows[3], leaf=None)}),
        lambda log: log.tiles.update({(0, 0): "text"}),
        lambda log: log.tiles.update({(1, 0): 5}),
        lambda log: log.values.update({TREE_SIZE: "9" * 18}),
        lambda log: log.values.update({TREE_SIZE: "9" * 400}),
        lambda log: log.values.update({TREE_SIZE: "-1"}),
        lambda log: log.values.update({TREE_SIZE: "\u0665"}),
        lambda log: log.values.update({CHECKPOINT: "nonsense"}),
    ],
)
def test_no_value_in_the_store_crashes_or_stalls_a_verification(spoil: Callable[[Memory], None]) -> None:
    log = WHOLE.copy()
    spoil(log)
    for against in (HEAD, None, replace(HEAD, size=10**17)):
        report = verify(log, against=against)
        assert not report.ok
        assert report.to_dict()["ok"] is False


@pytest.mark.requirement("I14")
def test_nothing_is_signed_that_contradicts_the_last_checkpoint() -> None:
    log = build(20)
    signed(log)
    kept = log.values[CHECKPOINT]
    log.rows[3] = seal(event(99), 3)
    rebuild(log)
    log.values[CHECKPOINT] = kept
    with pytest.raises(IntegrityError) as caught:
        signed(log)
    assert caught.value.code == "log_inconsistent"


@pytest.mark.requirement("I14")
def test_nothing_is_signed_over_a_log_that_lost_its_tail() -> None:
    log = build(20)
    before = signed(log)
    log.rows = {seq: record for seq, record in log.rows.items() if seq < 10}
    rebuild(log)
    with pytest.raises(IntegrityError) as caught:
        Log(log).checkpoint(KEY, origin=ORIGIN, unanchored=True, before=before)
    assert caught.value.code == "log_inconsistent"
    assert CHECKPOINT not in log.values


@pytest.mark.requirement("I14")
def test_a_checkpoint_that_was_overtaken_does_not_replace_the_later_one() -> None:
    log = build(20)

    class Slow:
        name, public = KEY.name, KEY.public

        def sign(self, data: bytes, /) -> bytes:
            log.rows[20] = seal(event(20), 20)
            signed(log)
            return KEY.sign(data)

    assert Log(log).checkpoint(Slow(), origin=ORIGIN, unanchored=True).size == 20
    assert notes.parse(log.values[CHECKPOINT]).size == 21


def test_a_record_that_was_moved_out_of_its_place_is_not_called_removed() -> None:
    log = WHOLE.copy()
    log.rows[700] = replace(log.rows.pop(5), seq=700)
    report = verify(log, against=HEAD)
    assert found(report, Kind.REORDERED) == [700]
    assert found(report, Kind.REMOVED) == []


def test_a_hole_is_not_integrated() -> None:
    log = build(20, integrated=False)
    del log.rows[7]
    with pytest.raises(IntegrityError) as caught:
        Log(log).integrate()
    assert caught.value.code == "record_missing"


def test_the_log_gives_head_and_proofs_that_lead_to_it() -> None:
    from deputize.audit import tree

    log = Log(WHOLE)
    size, root = log.head()
    assert (size, root) == (HEAD.size, HEAD.root)
    assert tree.verify_inclusion(77, size, WHOLE.rows[77].leaf, log.inclusion_proof(77)[2], root)
    older = tree.root(123, WHOLE)
    assert tree.verify_consistency(123, size, older, root, log.consistency_proof(123)[2])
