"""What a reader of the feed believes, without a network: order, completeness, and the log's head."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deputize import DeputizeError
from deputize.audit.checkpoint import NoteKey, sign, verifier_key
from deputize.client.feed_state import FeedState
from deputize.model.revocation import Kind
from deputize.testing import FakeClock
from deputize.wire.feed import FeedEntry, Head, Heartbeat, Page

ISSUER = "https://sts.example"
KEY = NoteKey("sts.example", Ed25519PrivateKey.from_private_bytes(bytes(32)))
ANOTHER = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
CUT = FeedEntry(kind=Kind.SESSION, id="S", until=1_750_000_100, seq=1)
WHOLE = Page(entries=(CUT,), cursor=5, first=True, last=True)


def beat(size: int = 5, root: bytes = b"r" * 32, key: NoteKey = KEY) -> Heartbeat:
    note = sign(origin=key.name, size=size, root=root, key=key, unanchored=False)
    return Heartbeat(cursor=size, as_of=1, checkpoint=str(note))


@pytest.fixture
def state() -> FeedState:
    return FeedState(ISSUER, FakeClock(), log_key=verifier_key(KEY))


def refused(state: FeedState, sid: str = "S") -> bool:
    asked: Any = {"sids": (sid,), "jti": "", "agents": (), "sub": "", "iat": 0, "kid": ""}
    return state.view().refuses(**asked) is not None


def code(call: Any) -> str:
    with pytest.raises(DeputizeError) as found:
        call()
    return found.value.code


def test_a_heartbeat_counts_only_behind_a_whole_snapshot(state: FeedState) -> None:
    assert code(lambda: state.take_heartbeat(beat())) == "feed_malformed"
    assert code(lambda: state.take_entry(CUT, 2)) == "feed_malformed"
    assert code(lambda: state.take_page(replace(WHOLE, first=False))) == "feed_malformed"
    state.take_page(replace(WHOLE, last=False))
    assert code(lambda: state.take_heartbeat(beat())) == "feed_malformed"
    assert state.place() == {"after": "0"}  # half a snapshot is none
    assert not state.heard.is_set()
    state.take_page(replace(WHOLE, first=False))
    state.take_heartbeat(beat())
    assert state.place() == {"after": "5", "head": str(Head(5, b"r" * 32))}
    assert state.heard.is_set()


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (beat(4), "log_inconsistent"),
        (beat(5, b"s" * 32), "log_inconsistent"),
        (beat(6, key=NoteKey("sts.example", ANOTHER)), "checkpoint_unknown_key"),
        (beat(6, key=NoteKey("other.example", KEY.private)), "checkpoint_unknown_key"),
        (replace(beat(6), checkpoint=beat(6).checkpoint.replace("\n6\n", "\n7\n")), "checkpoint_forged"),
        (replace(beat(6), checkpoint=""), "checkpoint_malformed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_head_that_is_not_to_be_believed_makes_nothing_fresh(later: Heartbeat, expected: str) -> None:
    clock = FakeClock()
    state = FeedState(ISSUER, clock, log_key=verifier_key(KEY))
    state.take_page(WHOLE)
    state.take_heartbeat(beat())
    before = state.heard_at
    clock.advance(3)
    assert code(lambda: state.take_heartbeat(later)) == expected
    assert state.heard_at == before


@pytest.mark.requirement("I7")
def test_what_a_later_snapshot_leaves_out_stays_revoked(state: FeedState) -> None:
    state.take_page(WHOLE)
    state.take_page(Page(entries=(), cursor=2, first=True, last=True))
    assert refused(state)
    assert state.cursor == 2


def test_the_later_until_counts() -> None:
    clock = FakeClock()
    state = FeedState(ISSUER, clock, log_key=None)
    state.take_page(WHOLE)
    state.take_entry(replace(CUT, until=1, seq=7), 8)
    clock.advance(200)
    state.take_heartbeat(beat(8))
    assert refused(state)
    clock.advance(200)
    state.take_heartbeat(beat(9))
    assert not refused(state)


def test_a_reader_comes_back_behind_no_entry_that_no_head_has_covered(state: FeedState) -> None:
    state.take_page(WHOLE)
    state.take_heartbeat(beat())
    state.take_entry(replace(CUT, seq=8), 9)
    assert (state.cursor, state.place()["after"]) == (9, "5")


@pytest.mark.parametrize("keyed", [True, False])
def test_a_snapshot_in_place_of_what_followed_is_of_another_log(keyed: bool) -> None:
    state = FeedState(ISSUER, FakeClock(), log_key=verifier_key(KEY) if keyed else None)
    state.place()
    state.take_page(WHOLE)
    state.take_heartbeat(beat())
    state.place()
    other = replace(WHOLE, entries=(replace(CUT, id="T"),), cursor=9)
    state.take_page(replace(other, last=False))
    state.place()  # the connection broke
    state.take_page(other)
    assert refused(state, "T")
    if not keyed:
        state.take_heartbeat(beat(9))
        return
    assert code(lambda: state.take_heartbeat(beat(9))) == "log_inconsistent"
    state.place()  # and this time it goes on as it was asked to
    state.take_heartbeat(beat(9))
