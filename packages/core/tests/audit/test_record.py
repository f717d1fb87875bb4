"""Records: what is sealed can be opened and proved, and text is data whatever it says."""

import base64
import enum
import json
import uuid
from collections import OrderedDict
from dataclasses import fields, replace
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.audit.canonical import MAX_BODY, MAX_TEXT, _tamed, canonical
from deputize.audit.record import check, leaf_bytes, leaf_hash, open_body, rec_claim, seal
from deputize.model.event import Event
from deputize.model.failure import IntegrityError
from deputize.testing import vectors

FULL = Event(
    type="exchange.permitted",
    outcome="permitted",
    time=1_750_000_000_123,
    txn="t" * 16,
    sid="s" * 16,
    jti="j" * 16,
    sub="local|alice",
    agent="spiffe://example.org/agent/researcher",
    chain=("spiffe://example.org/agent/researcher", "spiffe://example.org/agent/supervisor"),
    workload="spiffe://example.org/workload/churn",
    tool="read_customers",
    call_id="call_1",
    resource="https://crm.example/mcp",
    scopes=("crm:read",),
    code="ok",
    policies=("agent.researcher.use",),
    policy_set="7f3c91",
    reference="D-4KQ2M",
    detail={"ttl": 60, "bound": False, "nothing": None, "rights": ["crm:read"], "inner": {"b": 1, "a": [[]]}},
)
HOSTILE = [
    "\x00",
    "a\x00b",
    "\x1b[2J\x1b[31mroot\x1b]0;title\x07",
    "line\r\nforged=1 outcome=permitted\u2028\u2029\x85",
    "\ud800",
    "\udfff tail",
    "\ud83d\ude00",
    "\u202ereversed",
    "\ufeff",
    '"},{"seq":0',
    "\\ud800",
    "x" * 1_000_000,
    "\U0010ffff" * 10_000,
]


def bare(**given: object) -> Event:
    return replace(Event(type="tool.finished", outcome="done", time=1), **given)  # type: ignore[arg-type]  # wrong types too


@pytest.mark.requirement("AU-01")
def test_a_sealed_event_comes_back_member_by_member() -> None:
    record = seal(FULL, 7)
    body = open_body(record)
    for field in fields(Event):
        value = getattr(FULL, field.name)
        if field.name in {"type", "time"}:
            assert getattr(record, field.name) == value
        else:
            assert body[field.name] == (list(value) if isinstance(value, tuple) else value)
    assert body["v"] == 1
    assert record.event is FULL
    check(record)


def test_absent_members_are_left_out() -> None:
    assert open_body(seal(bare(), 0)) == {"outcome": "done", "v": 1}


@pytest.mark.requirement("AU-02")
def test_the_leaf_is_the_rfc_6962_hash_of_canonical_json_over_the_salted_body() -> None:
    record = seal(FULL, 7)
    assert record.body is not None
    assert record.salt is not None
    digest = sha256(record.salt + record.body).hexdigest()
    leaf = rfc8785.dumps({"seq": 7, "time": FULL.time, "type": FULL.type, "body": digest})
    assert leaf_bytes(record) == leaf
    assert record.leaf == sha256(b"\x00" + leaf).digest() == leaf_hash(leaf)


def test_every_record_has_a_salt_of_its_own() -> None:
    one, other = seal(FULL, 7), seal(FULL, 7)
    assert one.salt is not None
    assert len(one.salt) == 16
    assert one.leaf != other.leaf


def test_the_rec_claim_is_the_leaf_hash_in_43_characters() -> None:
    record = seal(FULL, 7)
    claim = rec_claim(record)
    assert len(claim) == 43
    assert base64.urlsafe_b64decode(claim + "=") == record.leaf


@pytest.mark.parametrize("part", ["seq", "time", "type", "leaf", "salt", "body"])
def test_a_record_of_which_any_part_was_changed_is_refused(part: str) -> None:
    record = seal(FULL, 7)
    value = getattr(record, part)
    changed = value + 1 if isinstance(value, int) else value + type(value)(b"x" if isinstance(value, bytes) else "x")
    with pytest.raises(IntegrityError) as caught:
        check(replace(record, **{part: changed}))
    assert caught.value.code == "record_changed"


def test_an_erased_record_opens_empty_and_still_checks() -> None:
    record = seal(FULL, 7)
    assert record.body is not None
    assert record.salt is not None
    gone = replace(record, body=None, salt=None)
    assert open_body(gone) == {}
    check(gone)
    check(replace(gone, digest=sha256(record.salt + record.body).digest()))
    for digest in (b"\0" * 32, "text"):
        with pytest.raises(IntegrityError):
            check(replace(gone, digest=digest))  # type: ignore[arg-type]  # what a writer of the store may put there


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_a_body_that_is_no_object_is_an_integrity_error(body: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        open_body(replace(seal(FULL, 7), body=body))
    assert caught.value.code == "record_changed"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(max_codepoint=127, exclude_characters="\\"), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.requirement("AU-02")
@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=6))
def test_the_body_is_canonical_json_as_rfc_8785_has_it(detail: dict[str, object]) -> None:
    raw, kept = canonical({"detail": detail, "v": 1})
    assert raw == rfc8785.dumps({"detail": detail, "v": 1})  # type: ignore[dict-item]  # plain JSON
    assert json.loads(raw)["detail"] == detail
    assert kept == {"detail": detail, "v": 1}


def nested(levels: int) -> dict[str, object]:
    inner: dict[str, object] = {}
    for _ in range(levels - 1):
        inner = {"in": inner}
    return inner


def test_a_name_that_holds_a_backslash_is_escaped_also_where_all_is_ascii() -> None:
    assert canonical({"detail": {"\\xe9": 1}})[0] == rb'{"detail":{"\\\\xe9":1}}'


@pytest.mark.parametrize("levels", [7, 8, 9, 10])
@pytest.mark.parametrize("beside", ["plain", "é", "x" * 5000, "\ud800"])
def test_the_same_rules_hold_on_every_road_through_the_writer(levels: int, beside: str) -> None:
    members = {"detail": nested(levels), "tool": beside}
    raw, _ = canonical(members)
    assert raw == _tamed(members)[0]
    assert (b"not recorded" in raw) is (levels > 8)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_needs_no_change_is_the_same_where_something_else_does(detail: dict[str, object]) -> None:
    assert canonical({"detail": detail, "v": 1})[0] == _tamed({"detail": detail, "v": 1})[0]


@pytest.mark.requirement("AU-02")
def test_the_published_rfc_8785_examples_come_out_byte_for_byte_where_they_apply() -> None:
    folder = vectors("jcs") / "testdata"
    same = set()
    for path in sorted((folder / "input").iterdir()):
        members = json.loads(path.read_bytes())
        members = members if isinstance(members, dict) else {"list": members}
        expected = (folder / "output" / path.name).read_bytes()
        raw, _ = canonical(members)
        if raw in (expected, b'{"list":' + expected + b"}"):
            same.add(path.stem)
    # `values` and `structures` hold floats, `weird` names that are not ASCII: neither stands in a body as it is.
    assert same == {"arrays", "french", "unicode"}


@pytest.mark.requirement("I10")
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_breaks_a_record_or_crosses_into_another_member(text: str) -> None:
    event = bare(
        type=text,
        outcome=text,
        sub=text,
        agent=text,
        tool=text,
        call_id=text,
        chain=(text, text),
        scopes=(text,),
        detail={text: text, "list": [text, {text: [text]}]},
    )
    record = seal(event, 3)
    check(record)
    body = open_body(record)
    assert set(body) == {"outcome", "sub", "agent", "tool", "call_id", "chain", "scopes", "detail", "v"}
    assert record.body == rfc8785.dumps(body)  # type: ignore[arg-type]  # plain JSON
    assert len(record.body) <= MAX_BODY
    assert b"\n" not in record.body
    assert record.event is not None
    for kept in (record.type, record.event.type, str(record.event.sub), *record.event.chain):
        kept.encode("utf-8")
        assert len(kept) < 6 * MAX_TEXT + 100
    assert record.event.sub == body["sub"]


@pytest.mark.requirement("I10")
def test_naughty_strings_are_kept_as_they_are() -> None:
    for text in json.loads((vectors("naughty_strings") / "blns.json").read_bytes()):
        record = seal(bare(tool=text, detail={"text": text}), 0)
        check(record)
        assert open_body(record).get("tool", "") == text
        assert record.body == rfc8785.dumps(json.loads(record.body or b""))


class Colour(enum.Enum):
    RED = 0.5


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "another"


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


def circle() -> list[object]:
    items: list[object] = []
    items.append(items)
    return items


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0.5, "0.5"),
        (float("nan"), "nan"),
        (1e300, "1e+300"),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**64), "-18446744073709551616"),
        (10**5000, "[not recorded: integer of 16610 bits]"),
        (b"bytes", "[not recorded: bytes]"),
        (Colour.RED, "[not recorded: Colour]"),
        (uuid.UUID(int=0), "[not recorded: UUID]"),
        (datetime(2026, 1, 1, tzinfo=UTC), "[not recorded: datetime]"),
        (Hostile(), "[not recorded: Hostile]"),
        (Text("text"), "text"),
        (OrderedDict(a=1), {"a": 1}),
        ({"b", "a"}, ["a", "b"]),
        ((1, (2,)), [1, [2]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_not_is_recorded_by_a_stated_rule(value: object, kept: object) -> None:
    record = seal(bare(detail={"value": value}), 0)
    check(record)
    assert open_body(record)["detail"] == {"value": kept}


@pytest.mark.requirement("I10")
def test_depth_length_and_circles_are_cut() -> None:
    deep: object = "end"
    for _ in range(5000):
        deep = [deep]
    for value in (deep, circle(), list(range(100_000)), {str(number): number for number in range(100_000)}):
        record = seal(bare(detail={"value": value}), 0)
        check(record)
        assert record.body is not None
        assert len(record.body) <= MAX_BODY


def test_a_body_that_is_too_large_says_what_was_left_out_and_keeps_the_rest() -> None:
    detail = {"small": 1, "large": ["x" * 4000] * 4000, "other": ["y" * 4000] * 10}
    record = seal(bare(tool="drop_table", detail=detail), 0)
    body = open_body(record)
    assert body["tool"] == "drop_table"
    kept = body["detail"]
    assert isinstance(kept, dict)
    assert (kept["small"], kept["other"]) == (1, detail["other"])
    assert kept["large"] == ["[cut: 16012001 bytes]"]


def test_long_fields_beside_detail_are_bounded_too() -> None:
    record = seal(bare(scopes=tuple("s" * 4000 for _ in range(4000)), tool="t"), 0)
    assert record.body is not None
    assert len(record.body) <= MAX_BODY
    assert open_body(record)["tool"] == "t"


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=6))
def test_names_that_are_not_plain_ascii_are_escaped_and_never_fall_together(detail: dict[str, int]) -> None:
    raw, _ = canonical({"detail": detail})
    kept = json.loads(raw)["detail"]
    assert len(kept) == len(detail)
    assert raw == rfc8785.dumps({"detail": kept})
    assert all(name.isascii() for name in kept)
