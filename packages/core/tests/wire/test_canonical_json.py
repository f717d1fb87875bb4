"""RFC 8785: the published examples byte for byte, and agreement with another implementation."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidRequest
from deputize.testing import vectors
from deputize.wire import canonical_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.text(max_size=8)
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.requirement("A2-02")
def test_the_published_examples_come_out_byte_for_byte() -> None:
    folder = vectors("jcs") / "testdata"
    names = sorted(path.name for path in (folder / "input").iterdir())
    assert names
    for name in names:
        value = json.loads((folder / "input" / name).read_bytes())
        assert canonical_json.dumps(value) == (folder / "output" / name).read_bytes(), name


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_another_implementation_comes_to_the_same_bytes(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        with pytest.raises(InvalidRequest):
            canonical_json.dumps(value)
        return
    assert canonical_json.dumps(value) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (123.456, "123.456"),
        (-1.5e300, "-1.5e+300"),
        (5e-324, "5e-324"),
        (333333333.33333329, "333333333.3333333"),
        (4.5, "4.5"),
        (2**53, "9007199254740992"),
    ],
)
def test_numbers_are_written_as_ecmascript_writes_them(number: float, text: str) -> None:
    assert canonical_json.dumps(number).decode() == text


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**53 + 1, 10**400, "\ud800", {"\udfff": 1}, {1: 2}, object(), b"x", {1, 2}],
    ids=["nan", "inf", "2**53+1", "10**400", "surrogate", "surrogate name", "number as name", "object", "bytes", "set"],
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest):
        canonical_json.dumps({"member": value})


def test_endless_nesting_is_refused() -> None:
    value: Any = []
    for _ in range(100):
        value = [value]
    with pytest.raises(InvalidRequest):
        canonical_json.dumps(value)
