import itertools
import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.__main__ import GROUPS, main
from benchmarks.measure import shared
from benchmarks.report import RESULTS
from benchmarks.serving.process import cpu_of


@pytest.mark.parametrize("group", [name for name in GROUPS if name != "imports"])
def test_a_benchmark_still_runs_and_a_smoke_run_keeps_nothing(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = set(RESULTS.glob("*"))
    main(["--quick", "--only", group])
    assert "target" in capsys.readouterr().out
    assert set(RESULTS.glob("*")) == kept


def test_the_groups_that_can_be_asked_for_are_those_that_exist() -> None:
    groups = Path(__file__).parents[2] / "benchmarks" / "groups"
    assert sorted(GROUPS) == sorted(path.stem for path in groups.glob("[a-z]*.py"))


def test_cases_that_share_a_run_read_the_same_one_in_each_round_in_any_order() -> None:
    reading = shared(itertools.count(1).__next__)
    ones, tens = reading(float), reading(lambda run: run * 10.0)
    assert [ones(), tens(), tens(), ones(), ones(), tens()] == [1, 10, 20, 2, 3, 30]


@pytest.mark.skipif(sys.platform != "linux", reason="the clock of another process is Linux's")
def test_the_cpu_time_of_a_server_is_that_of_its_whole_process() -> None:
    before = time.process_time()
    asked = cpu_of(os.getpid())
    assert before <= asked
    assert cpu_of(os.getpid()) > asked
