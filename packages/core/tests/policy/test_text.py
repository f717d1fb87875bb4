"""Text that goes into policies comes out of them unchanged, whatever it holds."""

import json

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deputize.policy.text import entity, literal
from deputize.testing import vectors


def read_back(text: str) -> str:
    parsed = cedarpy.policies_to_json_str(f"permit (principal == {entity(('User', text))}, action, resource);")
    return str(json.loads(parsed)["staticPolicies"]["policy0"]["principal"]["entity"]["id"])


def test_naughty_strings_come_back_unchanged() -> None:
    for line in json.loads((vectors("naughty_strings") / "blns.json").read_text("utf-8")):
        assert read_back(line) == line


@given(st.text(max_size=40))
def test_any_text_comes_back_unchanged(text: str) -> None:
    assert read_back(text) == text


def test_a_literal_cannot_be_left() -> None:
    assert literal('a"; forbid') == '"a\\"; forbid"'
    assert literal("a\\") == '"a\\\\"'
    assert literal("'\0\n") == '"\\\'\\0\\n"'


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError):
        literal("\ud800")
