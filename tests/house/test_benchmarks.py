from pathlib import Path

import pytest

from benchmarks.__main__ import GROUPS, main
from benchmarks.report import RESULTS


@pytest.mark.parametrize("group", [name for name in GROUPS if name != "imports"])
def test_a_benchmark_still_runs_and_a_smoke_run_keeps_nothing(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = set(RESULTS.glob("*"))
    main(["--quick", "--only", group])
    assert "target" in capsys.readouterr().out
    assert set(RESULTS.glob("*")) == kept


def test_the_groups_that_can_be_asked_for_are_those_that_exist() -> None:
    groups = Path(__file__).parents[2] / "benchmarks" / "groups"
    assert sorted(GROUPS) == sorted(path.stem for path in groups.glob("[a-z]*.py"))
