"""The feed's bytes: what is written is read back, however it was cut; what is no feed is our error."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.model.failure import InvalidRequest
from deputize.wire import base64url, feed, json_strict

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "requirements.lock").exists())
VECTORS: Any = json.loads((ROOT / "docs" / "formats" / "vectors" / "feed.json").read_text(encoding="ascii"))


def test_a_digest_is_that_of_issuer_nul_and_name() -> None:
    for item in VECTORS["digests"]:
        raw = sha256(VECTORS["issuer"].encode() + b"\0" + item["name"].encode()).digest()
        assert item["digest"] == base64url.encode(raw) == feed.name_digest(VECTORS["issuer"], item["name"])


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_names_have_two_digests(one: str, other: str) -> None:
    same = feed.name_digest("https://a", one) == feed.name_digest("https://a", other)
    assert same == (one == other)
    assert feed.name_digest("https://a", one) != feed.name_digest("https://ab", one)


@given(st.lists(st.integers(1, 60), max_size=80), st.booleans())
def test_a_stream_is_read_however_it_is_cut(cuts: list[int], carriage_returns: bool) -> None:
    whole = "".join([*VECTORS["snapshot"], ": a comment\n\n", VECTORS["entries"]["events"], VECTORS["heartbeat"]])
    raw = whole.replace("\n", "\r\n").encode() if carriage_returns else whole.encode()
    reader, found, at = feed.EventReader(), [], 0
    for width in [*cuts, len(raw)]:
        found += list(reader.feed(raw[at : at + width]))
        at += width
    names = [event.name for event in found]
    assert names == ["snapshot", "snapshot", *["entry"] * 7, "heartbeat"]
    assert [event.cursor for event in found[2:-1]] == VECTORS["entries"]["cursors"]
    pages = [feed.parse_page(event.data) for event in found[:2]]
    entries = tuple(feed.parse_entry_event(event.data) for event in found[2:-1])
    assert pages[0].entries + pages[1].entries == entries
    assert (pages[0].first, pages[0].last, pages[1].first, pages[1].last) == (True, False, False, True)
    assert feed.parse_heartbeat(found[-1].data).cursor == 11


def test_one_answer_holds_the_same_as_the_stream() -> None:
    page, beat = feed.parse_answer(VECTORS["answer"].encode(), VECTORS["issuer"])
    assert len(page.entries) == 7
    assert beat is not None
    with pytest.raises(InvalidRequest):
        feed.parse_answer(VECTORS["answer"].encode(), "https://other.example")


@pytest.mark.parametrize("case", VECTORS["bad_entries"], ids=lambda case: case["name"])
def test_an_entry_that_cannot_be_applied_is_refused_and_not_passed_over(case: Any) -> None:
    for parse, value in (
        (feed.parse_entry, case["entry"]),
        (feed.parse_page, json_strict.dumps({"first": True, "last": True, "cursor": 1, "entries": [case["entry"]]})),
    ):
        with pytest.raises(InvalidRequest) as refused:
            parse(value)
        assert refused.value.code == case["code"]


@pytest.mark.parametrize("raw", [b"data: " + b"x" * (1 << 20) + b"y", b"data: " + b"x" * 600_000 + b"\n"], ids=len)
def test_an_event_without_end_is_refused(raw: bytes) -> None:
    reader = feed.EventReader()
    with pytest.raises(InvalidRequest):
        [event for _ in range(3) for event in reader.feed(raw)]


@given(st.binary(max_size=200))
def test_whatever_comes_only_our_error_comes_of_it(raw: bytes) -> None:
    for event in feed.EventReader().feed(raw + b"\n\n"):
        for parse in (feed.parse_page, feed.parse_entry_event, feed.parse_heartbeat):
            with pytest.raises(InvalidRequest):
                parse(event.data)
