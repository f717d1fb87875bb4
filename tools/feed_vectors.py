"""Vectors of the revocation feed and of proofs for outsiders; `tools.format_vectors` writes them with the others."""

from dataclasses import replace
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deputize.audit import checkpoint as notes
from deputize.audit import proofs, tree
from deputize.audit.record import seal
from deputize.model.event import Event, Record
from deputize.model.revocation import Kind
from deputize.wire import feed

ISSUER: Final = "https://sts.example"
ORIGIN: Final = "sts.example"
SEED: Final = bytes(range(32))  # of a key that signs nothing but these examples
RECORDS: Final = 11
AT: Final = 3

NAMES: Final = ("local|alice", "okta|00u1", "spiffe://example.org/agent/researcher", "local|zoë", "")
ENTRIES: Final = (
    feed.FeedEntry(kind=Kind.SESSION, id="AAAAAAAAAAAAAAAA", until=1_750_003_600, seq=4),
    feed.FeedEntry(kind=Kind.CLOSE, id="BBBBBBBBBBBBBBBB", until=1_750_000_300, seq=5),
    feed.FeedEntry(kind=Kind.TOKEN, id="CCCCCCCCCCCCCCCC", until=1_750_000_060, seq=6),
    feed.FeedEntry(kind=Kind.AGENT, id=feed.name_digest(ISSUER, NAMES[2]), until=1_750_028_800, seq=7),
    feed.FeedEntry(kind=Kind.SESSION, id="DDDDDDDDDDDDDDDD", until=1_750_003_600, seq=7),
    feed.FeedEntry(
        kind=Kind.USER, id=feed.name_digest(ISSUER, NAMES[0]), until=1_750_028_800, seq=8, before=1_750_000_000
    ),
    feed.FeedEntry(kind=Kind.KEY, id="NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", until=1_750_000_900, seq=9),
)


class _Tiles:
    def __init__(self, leaves: list[bytes]) -> None:
        self._kept: dict[tuple[int, int], bytes] = {}
        tree.integrate(self, 0, leaves)

    def tile(self, level: int, index: int) -> bytes | None:
        return self._kept.get((level, index))

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        self._kept[level, index] = data


def feeds() -> dict[str, object]:
    """Digests of names, a snapshot of two pages, entries, a heartbeat, and what is refused."""
    note = notes.sign(origin=ORIGIN, size=RECORDS, root=sha256(b"root").digest(), key=_key(), unanchored=False)
    beat = feed.Heartbeat(cursor=RECORDS, as_of=1_750_000_000_123, checkpoint=str(note))
    pages = (
        feed.Page(entries=ENTRIES[:3], cursor=7, first=True, last=False),
        feed.Page(entries=ENTRIES[3:], cursor=RECORDS, first=False, last=True),
    )
    whole = feed.Page(entries=ENTRIES, cursor=RECORDS, first=True, last=True)
    good = feed.entry_members(ENTRIES[0])
    bad: dict[str, object] = {
        "a kind that is not known": {**good, "kind": "weather"},
        "no id": {name: value for name, value in good.items() if name != "id"},
        "an empty id": {**good, "id": ""},
        "an id over 256 characters": {**good, "id": "x" * 257},
        "a time that is no whole number": {**good, "until": 1.5},
        "a time before the epoch": {**good, "until": -1},
        "a number that is a truth value": {**good, "seq": True},
        "no object": [],
    }
    return {
        "issuer": ISSUER,
        "digests": [{"name": name, "digest": feed.name_digest(ISSUER, name)} for name in NAMES],
        "snapshot": [feed.page_event(page).decode() for page in pages],
        "entries": {
            "cursor_behind": RECORDS,
            "events": b"".join(feed.entry_events(ENTRIES, RECORDS)).decode(),
            "cursors": [
                event.cursor for event in feed.EventReader().feed(b"".join(feed.entry_events(ENTRIES, RECORDS)))
            ],
        },
        "heartbeat": feed.heartbeat_event(beat).decode(),
        "vkey": str(notes.verifier_key(_key())),
        "answer": feed.answer_json(ISSUER, whole, beat).decode(),
        "bad_entries": [{"name": name, "entry": entry, "code": "feed_malformed"} for name, entry in bad.items()],
    }


def outsiders() -> dict[str, object]:
    """A log of eleven records, two heads of it, and proofs between them."""
    records = [_record(number) for number in range(RECORDS)]
    tiles = _Tiles([record.leaf for record in records])
    size, older = RECORDS, AT * 2
    heads = {
        at: notes.sign(origin=ORIGIN, size=at, root=tree.root(at, tiles), key=_key(), unanchored=False)
        for at in (older, size)
    }
    inclusion = proofs.Inclusion(
        seq=AT,
        size=size,
        root=tree.root(size, tiles),
        leaf=records[AT].leaf,
        proof=tuple(tree.inclusion_proof(AT, size, tiles)),
    )
    consistency = proofs.Consistency(
        first=older,
        second=size,
        first_root=tree.root(older, tiles),
        second_root=tree.root(size, tiles),
        proof=tuple(tree.consistency_proof(older, size, tiles)),
    )
    erased = replace(records[AT], salt=None, body=None)
    return {
        "vkey": str(notes.verifier_key(_key())),
        "older": str(heads[older]),
        "newer": str(heads[size]),
        "record": proofs.record_members(records[AT], body=True),
        "record_without_body": proofs.record_members(records[AT], body=False),
        "record_erased": proofs.record_members(erased, body=True),
        "inclusion": proofs.inclusion_members(inclusion),
        "consistency": proofs.consistency_members(consistency),
    }


def _record(number: int) -> Record:
    event = Event(type="tool.finished", outcome="done", time=1_750_000_000_000 + number, tool=f"tool-{number}")
    return seal(event, number, salt=bytes([number]) * 16)


def _key() -> notes.NoteKey:
    return notes.NoteKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(SEED))
