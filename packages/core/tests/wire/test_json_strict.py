"""JSON: the parsing corpus, and what we refuse beyond it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.testing import vectors
from deputize.wire import json_strict

# Texts that the corpus accepts and we don't: RFC 8259 §4 lets a reader choose, and we choose to refuse.
DUPLICATES = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}


def corpus(prefix: str) -> Any:
    return sorted(vectors("json_parsing").joinpath("test_parsing").glob(f"{prefix}_*.json"))


def outcome(raw: bytes) -> str:
    """The code of our error, or nothing; any other error fails the test."""
    try:
        json_strict.parse(raw)
    except InvalidToken as error:
        return error.code
    return ""


def test_every_valid_text_is_read_save_those_with_duplicate_members() -> None:
    refused = set()
    for path in corpus("y"):
        if outcome(path.read_bytes()) == "malformed_token":
            refused.add(path.name)
    assert refused == DUPLICATES


def test_every_invalid_text_is_refused() -> None:
    for path in corpus("n"):
        with pytest.raises(InvalidToken) as caught:
            json_strict.parse(path.read_bytes())
        assert caught.value.code == "malformed_token", path.name


def test_texts_left_open_by_the_standard_are_read_or_refused_without_any_other_error() -> None:
    for path in corpus("i"):
        assert outcome(path.read_bytes()) in {"", "malformed_token"}


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'{"x":{"a":1,"b":2,"a":3}}',
        b'[{"a":[{"b":1,"b":1}]}]',
        b'{"sub":"alice" , "sub":"mallory"}',
        b'{"n":1e5,"a":1,"a":2}',
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"",
        b"{}{}",
    ],
)
def test_a_text_with_two_meanings_or_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        json_strict.parse(text)
    assert caught.value.code == "malformed_token"


@pytest.mark.parametrize("text", [b"[]", b'"a"', b"1", b"null", b"true"])
def test_only_an_object_is_loaded(text: str) -> None:
    with pytest.raises(InvalidToken):
        json_strict.loads(text)


def test_depth_is_bounded_at_its_limit_exactly() -> None:
    for depth in (31, 32):
        assert json_strict.parse(b"[" * depth + b"]" * depth) is not None
    for depth in (33, 500, 1023, 5000, 100_000):
        with pytest.raises(InvalidToken):
            json_strict.parse(b"[" * depth + b"]" * depth)


def test_many_brackets_that_are_not_deep_are_no_depth() -> None:
    text = json.dumps([{"a": ["[[[[{{{{"] * 20}] * 40, separators=(",", ":")).encode()
    assert json_strict.parse(text) == json.loads(text)


def test_the_callers_own_error_is_raised_for_a_body() -> None:
    with pytest.raises(InvalidRequest) as caught:
        json_strict.loads(b'{"a":1,"a":2}', refuse=InvalidRequest)
    assert caught.value.code == "invalid_request"
    assert not isinstance(caught.value, InvalidToken)


def test_what_has_no_json_form_is_our_error() -> None:
    with pytest.raises(InvalidRequest):
        json_strict.dumps({"a": object()})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(JSON_VALUES, st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=80)
def test_what_was_written_is_read_in_every_layout(value: Any, indent: Any, ascii_only: Any) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert json_strict.parse(text) == value
    assert json_strict.parse(json_strict.dumps(value)) == value


@given(st.binary(max_size=40))
@settings(max_examples=150)
def test_no_bytes_raise_anything_but_our_error(raw: bytes) -> None:
    assert outcome(raw) in {"", "malformed_token"}
