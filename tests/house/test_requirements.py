"""tests/requirements.toml and the tests agree, both ways. Marks are read from the source, not by importing it."""

import tomllib
from functools import cache
from pathlib import Path

import pytest

from tools.marks import Mark, marks, sources
from tools.tree import ROOT

MANIFEST = tomllib.loads((ROOT / "tests" / "requirements.toml").read_text(encoding="utf-8"))
LATER = MANIFEST["later"]
GROUPS = [MANIFEST[group] for group in ("invariants", "standards", "attacks")]
REQUIREMENTS = {name: meaning for group in GROUPS for name, meaning in group.items()}


@cache
def _named() -> list[Mark]:
    return [mark for path in sources() for mark in marks(path) if mark.name == "requirement"]


def test_every_requirement_has_a_test() -> None:
    shown = {name for mark in _named() for name in mark.arguments}
    missing = [f"{name}: {meaning}" for name, meaning in REQUIREMENTS.items() if name not in shown | set(LATER)]
    assert not missing, "no test for\n" + "\n".join(missing)


def test_every_requirement_that_a_test_names_is_known() -> None:
    unknown = [f"{mark.place}: {name}" for mark in _named() for name in mark.arguments if name not in REQUIREMENTS]
    assert not unknown, "not in tests/requirements.toml\n" + "\n".join(unknown)


def test_a_mark_names_its_requirements_as_plain_text() -> None:
    assert [mark.place for mark in _named() if not mark.arguments] == []


def test_an_id_stands_once_with_a_meaning_and_what_is_later_has_a_reason() -> None:
    assert len(REQUIREMENTS) == sum(len(group) for group in GROUPS)
    assert all(meaning.strip().endswith(".") for meaning in REQUIREMENTS.values())
    assert set(LATER) <= set(REQUIREMENTS)
    assert all(reason.strip() for reason in LATER.values())


def test_all_invariants_of_the_design_are_listed() -> None:
    assert set(MANIFEST["invariants"]) == {f"I{number}" for number in range(1, 17)}


def test_marks_are_found_wherever_they_may_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.tree.ROOT", tmp_path)
    file = tmp_path / "test_planted.py"
    file.write_text(
        "import pytest\n"
        "pytestmark = [pytest.mark.requirement('AA-01')]\n"
        "@pytest.mark.requirement('AA-02', 'AA-03')\n"
        "@pytest.mark.deep\n"
        "def test_one(): ...\n"
        "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.requirement('AA-04'))])\n"
        "async def test_two(x): ...\n"
        "# @pytest.mark.requirement('AA-05')\n"
        "also = [pytest.mark.requirement(row) for row in ('AA-07', 'AA-08')]\n"
        "TEXT = \"@pytest.mark.requirement('AA-06')\"\n",
        encoding="utf-8",
    )
    found = list(marks(file))
    named = {name for mark in found if mark.name == "requirement" for name in mark.arguments}
    assert named == {"AA-01", "AA-02", "AA-03", "AA-04", "AA-07", "AA-08"}
    assert [mark.place for mark in found if mark.name == "deep"] == ["test_planted.py:4"]
