"""Whoever switches a check off says why, in the same line."""

import io
import re
import tokenize
import tomllib
from collections.abc import Iterator

import pytest

from tools.tree import ROOT, committed, relative

SWITCHED_OFF = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover|ruff:\s*noqa|mypy:|pyright:)", re.IGNORECASE)
# A noqa that names its rule, or an ignore that names its error, and behind a second `#` the reason.
CODES = r"(?:ruff:\s*)?noqa:\s*[A-Z]+[0-9]+(?:[,\s]+[A-Z]+[0-9]+)*|type:\s*ignore\[[a-z, -]+\]|pragma:\s*no cover"
WITH_REASON = re.compile(rf"#\s*(?:{CODES})\s+#\s*\S.{{2}}")


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """(line, comment) of Python source; strings that hold a `#` are not comments."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _without_reason(text: str) -> list[int]:
    return [
        line for line, comment in _comments(text) if SWITCHED_OFF.search(comment) and not WITH_REASON.search(comment)
    ]


@pytest.mark.parametrize(
    ("comment", "sound"),
    [
        ("# noqa: E501  # a table reads better whole", True),
        ("# noqa: E501, S105 # both of them here", True),
        ("# type: ignore[arg-type]  # the framework types it as Any", True),
        ("# noqa: E501", False),
        ("# noqa", False),
        ("# noqa: E501  #", False),
        ("# type: ignore", False),
        ("# type: ignore[arg-type]", False),
        ("# ruff: noqa: E501  # the signatures are the framework's", True),
        ("# ruff: noqa", False),
        ("# ruff: noqa: E501", False),
        ("# mypy: ignore-errors", False),
    ],
)
def test_a_reason_is_told_from_none(comment: str, sound: bool) -> None:
    assert (_without_reason(f"x = 1  {comment}\n") == []) is sound


def test_a_string_that_speaks_of_noqa_is_no_switch() -> None:
    assert _without_reason('x = "# noqa"\n') == []


def test_every_check_that_is_switched_off_in_code_has_its_reason() -> None:
    bare = [
        f"{relative(path)}:{line}"
        for path in committed()
        if path.suffix in {".py", ".pyi"}
        for line in _without_reason(path.read_text(encoding="utf-8"))
    ]
    assert not bare, "\n".join(bare)


def test_every_rule_that_pyproject_ignores_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    ignored = {*lint["ignore"], *(code for codes in lint["per-file-ignores"].values() for code in codes)}
    section = text[text.index("[tool.ruff.lint]") :].partition("[tool.ruff.lint.pydocstyle]")[0]
    reasoned = set()
    for line in section.splitlines():
        codes, _, reason = line.partition("#")
        if reason.strip():
            reasoned |= set(re.findall(r'"([A-Z]+[0-9]*)"', codes))
    assert ignored - reasoned == set()


def test_types_are_strict_everywhere() -> None:
    mypy = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert mypy["strict"] is True
    assert "ignore-without-code" in mypy["enable_error_code"]
    assert not mypy.get("overrides")
