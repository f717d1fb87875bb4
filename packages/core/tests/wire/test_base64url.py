"""Base64url: one spelling for each value."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidToken
from deputize.wire import base64url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize(
    "text", ["ab+c", "ab/c", "abc=", "ab!!", "AB", "a", "AAAA====", "AA A", " AAA", "AAB", "AAAA\n", "=", "A?AA"]
)
def test_a_spelling_that_is_not_the_canonical_one_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        base64url.decode(text.encode())
    assert caught.value.code == "malformed_token"


@given(st.binary(max_size=70))
@settings(max_examples=100)
def test_bytes_come_back_from_their_text(raw: bytes) -> None:
    text = base64url.encode(raw)
    assert base64url.decode(text.encode()) == raw
    assert "=" not in text


@given(st.text(ALPHABET, max_size=9))
@settings(max_examples=200)
def test_no_two_texts_are_read_as_the_same_bytes(text: str) -> None:
    try:
        raw = base64url.decode(text.encode())
    except InvalidToken:
        return
    assert base64url.encode(raw) == text


@given(st.binary(max_size=24))
@settings(max_examples=150)
def test_no_bytes_raise_anything_but_our_error(raw: bytes) -> None:
    with contextlib.suppress(InvalidToken):
        base64url.decode(raw)


@pytest.mark.parametrize("member", [None, 1, True, ["AQ"], "é", {}])
def test_a_member_that_is_not_text_is_refused(member: str) -> None:
    with pytest.raises(InvalidToken):
        base64url.decode_text(member)


def test_a_member_of_another_size_is_refused() -> None:
    assert base64url.decode_text("AAAA", size=3) == bytes(3)
    with pytest.raises(InvalidToken):
        base64url.decode_text("AAAA", size=4)
