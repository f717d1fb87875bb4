"""Which record was changed, removed, moved or put in, from the places where records and tree differ."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from deputize.audit.findings import Finding, Kind
from deputize.audit.record import made_leaf
from deputize.audit.scan import Odd, Scan

_SEARCHED: Final = 128  # rows and places that are tried against each other where nothing hints

_CHANGED = "it is not what was recorded: time, type, content or its leaf were altered"
_REMOVED = "it is gone"
_INSERTED = "it was put in later: the tree knows no such record"
_TREE = "the tree's hash of it was altered; the record itself holds"
_LEFT = "it stands where it was not written"


@dataclass(slots=True)
class _Moves:
    """Where the content of odd rows belongs: place -> the place that the tree knows it at."""

    belongs: dict[int, int] = field(default_factory=dict)

    @property
    def seen(self) -> set[int]:
        """Places whose record stands somewhere, be it elsewhere."""
        return set(self.belongs.values())


def name_records(found: Scan, *, size: int, end: int, tree_wrong: Callable[[int], bool]) -> list[Finding]:
    """Findings in order of the records. `size`: leaves of the tree; `end`: records that there must have been.

    `tree_wrong(seq)`: whether a checkpoint or the inner tree sides with the record against the tree's leaf.
    """
    moves = _moves(found.odd)
    seen = moves.seen
    named = [_place(odd, moves, seen, tree_wrong) for odd in found.odd if odd.record is not None]
    named += [
        Finding(Kind.REMOVED, _REMOVED, odd.seq)
        for odd in found.odd
        if odd.seq in moves.belongs and odd.held is not None and odd.seq not in seen
    ]
    named += _gone(found, size, seen)
    named += [Finding(Kind.REORDERED, _LEFT, seq) for seq in found.disordered]
    tail = [seq for seq in range(found.end, size) if seq not in seen] if size > found.end else []
    lost = len(tail) + max(end - max(size, found.end), 0)
    if lost:
        first = tail[0] if tail else max(size, found.end)
        named.append(Finding(Kind.TRUNCATED, "the log's tail was cut off", first, lost))
    return sorted(named, key=lambda item: item.seq or 0)


def _gone(found: Scan, size: int, seen: set[int]) -> Iterator[Finding]:
    for first, count in found.holes:
        for seq in range(first, min(first + count, size)):
            if seq not in seen:
                yield Finding(Kind.REMOVED, _REMOVED, seq)
        beyond = max(first, size)
        if first + count > beyond:
            yield Finding(Kind.REMOVED, _REMOVED, beyond, first + count - beyond)


def _place(odd: Odd, moves: _Moves, seen: set[int], tree_wrong: Callable[[int], bool]) -> Finding:
    seq, own = odd.seq, odd.record is not None and odd.made == odd.record.leaf
    belongs = moves.belongs.get(seq)
    if belongs is not None:
        return Finding(Kind.REORDERED, f"it is the record that was written {_offset(belongs - seq)}", seq)
    if own and odd.held is not None and tree_wrong(seq):
        return Finding(Kind.TREE, _TREE, seq)
    if odd.held is not None and seq in seen:
        return Finding(Kind.INSERTED, _INSERTED, seq)
    return Finding(Kind.CHANGED, _CHANGED, seq)


def _offset(places: int) -> str:
    return f"{abs(places)} place{'' if abs(places) == 1 else 's'} {'later' if places > 0 else 'earlier'}"


def _moves(odd: list[Odd]) -> _Moves:
    moves = _Moves()
    held = {item.held: item.seq for item in odd if item.held is not None and item.held != item.made}
    by_place = {seq: leaf for leaf, seq in held.items()}
    first = list(by_place)[:_SEARCHED]
    shift = 0
    for number, item in enumerate(odd):
        if item.record is None or item.made == item.held:
            continue
        hints = [held.get(item.record.leaf, -1), held.get(item.made or b"", -1), item.seq + shift]
        for place in hints + (first if number < _SEARCHED else []):
            if place != item.seq and _belongs(item, place, by_place):
                moves.belongs[item.seq] = place
                shift = place - item.seq
                break
    return moves


def _belongs(item: Odd, place: int, by_place: dict[int, bytes]) -> bool:
    held = by_place.get(place)
    if held is None or item.record is None:
        return False
    made = made_leaf(replace(item.record, seq=place))
    return held == (item.made if made is None else made)
