"""tests/budget.toml tells the truth: nothing is forgotten, and nothing is listed that is not there."""

from pathlib import Path

import pytest

from tools import environments
from tools.budget import Suite, load
from tools.marks import marks, sources
from tools.tree import ROOT

BUDGET = load()


def _inside(file: Path, paths: tuple[str, ...]) -> bool:
    return any(file.is_relative_to(ROOT / path) for path in paths)


def test_every_test_file_belongs_to_exactly_one_suite_or_to_another_lock_alone() -> None:
    homes = {
        file.relative_to(ROOT).as_posix(): [suite.name for suite in BUDGET.suites if _inside(file, suite.paths)]
        or [piece.name for piece in BUDGET.deep if piece.lock is not None and _inside(file, piece.paths)]
        for file in sources()
    }
    assert {file: names for file, names in homes.items() if len(names) != 1} == {}


def test_every_lock_is_used_and_every_lock_that_is_used_is_there() -> None:
    used = {suite.lock for suite in (*BUDGET.suites, *BUDGET.deep)} - {None}
    assert used == set(environments.names())


@pytest.mark.parametrize("suite", [*BUDGET.suites, *BUDGET.deep], ids=lambda suite: suite.name)
def test_a_suite_names_only_what_exists(suite: Suite) -> None:
    for path in suite.paths:
        assert any(_inside(file, (path,)) for file in sources()) is not suite.may_be_empty, path


def test_every_deep_test_belongs_to_a_deep_piece() -> None:
    deep = {file for file in sources() if any(mark.name == "deep" for mark in marks(file))}
    pieces = [piece for piece in BUDGET.deep if piece.lock is None]  # those run the deep tests
    homeless = [str(file) for file in deep if not any(_inside(file, piece.paths) for piece in pieces)]
    assert homeless == []


def test_every_deep_piece_has_a_deep_test_or_a_lock_of_its_own() -> None:
    for piece in BUDGET.deep:
        if piece.lock is not None:
            continue
        files = [file for file in sources() if _inside(file, piece.paths)]
        assert any(mark.name == "deep" for file in files for mark in marks(file)), piece.name


@pytest.mark.parametrize(
    "text",
    [
        'total = 1\n[suites.a]\npaths = ["a"]\nseconds = 2\n',
        'total = 9\n[suites.a]\npaths = ["a"]\nseconds = 2\n[deep.b]\npaths = ["b"]\nseconds = 1201\n',
        'total = 9\n[suites.a]\npaths = ["a"]\nseconds = 2\n[skips]\n"test" = " "\n',
        'total = 9\n[suites.a]\npaths = ["a"]\nseconds = 2\nspeed = "high"\n',
        "total = 9\n[suites.a]\nseconds = 2\n",
    ],
    ids=[
        "over the total",
        "a deep piece over 20 minutes",
        "a skip without a reason",
        "unknown key",
        "no paths",
    ],
)
def test_a_budget_that_contradicts_itself_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "budget.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):
        load(file)
