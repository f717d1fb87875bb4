"""The test runner: what fails a suite, and what the last line says."""

import os
import sys
from pathlib import Path

import pytest

from tools import environments, suites
from tools.budget import Budget, Suite, load

LEAN = "-p no:hypothesispytest -p no:anyio -p no:xdist -p no:xdist.looponfail"  # half the time of a start

MIXED = """
import os, tempfile
import pytest

def test_passes(tmp_path):
    assert os.environ["PYTHONWARNDEFAULTENCODING"] == "1"
    assert str(tmp_path).startswith(os.environ["TMPDIR"])
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    assert "HTTPS_PROXY" not in os.environ and "LANGSMITH_API_KEY" not in os.environ
    assert os.environ["OF_THIS_SUITE"] == "yes"

def test_fails():
    assert False, "on purpose"

@pytest.mark.skip(reason="not today")
def test_is_skipped():
    pass

@pytest.mark.deep
def test_is_long():
    pass
"""


def _suite(folder: Path, text: str | None, *, seconds: int = 30, **more: object) -> Suite:
    if text is not None:
        (folder / "test_planted.py").write_text(text, encoding="utf-8")
    env = {"PYTEST_ADDOPTS": LEAN, "OF_THIS_SUITE": "yes"}
    return Suite(name="planted", paths=(str(folder),), seconds=seconds, env=env, **more)


def _budget(**skips: str) -> Budget:
    return Budget(total=1, suites=(), deep=(), skips=skips)


def test_a_suite_counts_what_passed_failed_and_was_skipped_in_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("LANGSMITH_API_KEY", "of-the-developer")
    monkeypatch.setenv("CI", "false")
    result = suites.run(_suite(tmp_path, MIXED), _budget())
    assert (result.passed, result.failed, result.skipped, result.problems) == (1, 1, 1, []), result.output
    assert not result.ok
    assert "on purpose" in result.output


def test_a_skip_fails_the_suite_in_ci_unless_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    text = "import pytest\n\n@pytest.mark.skip(reason='r')\ndef test_a(): ...\n\n"
    text += "@pytest.mark.skip(reason='r')\ndef test_b(): ...\n\ndef test_c(): ...\n"
    result = suites.run(_suite(tmp_path, text), _budget(**{"*test_planted.py::test_a": "stated"}))
    assert (result.passed, result.skipped) == (1, 1)
    assert len(result.problems) == 1
    assert "::test_b" in result.problems[0]


def test_a_suite_without_tests_fails_unless_it_says_that_it_may_be_empty(tmp_path: Path) -> None:
    assert suites.run(_suite(tmp_path, None), _budget()).problems
    assert suites.run(_suite(tmp_path, None, may_be_empty=True), _budget()).ok
    assert suites.run(_suite(tmp_path, "x = 1\n"), _budget()).problems == ["collected no test"]


def test_a_suite_that_takes_more_than_twice_its_seconds_fails_though_its_tests_pass(tmp_path: Path) -> None:
    slow = "import threading\n\ndef test_waits():\n    threading.Event().wait(2.1)\n"
    result = suites.run(_suite(tmp_path, slow, seconds=1), _budget())
    assert len(result.problems) == 1
    assert not result.ok


def test_a_suite_that_hangs_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    alive = tmp_path / "alive"  # a pipe that has a writer for as long as the grandchild lives
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    grandchild = f"import time; alive = open({str(alive)!r}, 'wb'); time.sleep(600)"
    hanging = (
        f"import subprocess, sys\n\ndef test_hangs():\n    subprocess.run([sys.executable, '-c', {grandchild!r}])\n"
    )
    try:
        result = suites.run(_suite(tmp_path, hanging, seconds=1), _budget())
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b""  # returns once nobody holds the other end
    finally:
        os.close(reader)
    assert len(result.problems) == 1
    assert result.seconds < 60


def test_a_suite_that_dies_before_it_can_count_fails(tmp_path: Path) -> None:
    result = suites.run(_suite(tmp_path, "import os\n\ndef test_dies():\n    os._exit(0)\n"), _budget())
    assert len(result.problems) == 1


def test_deep_runs_the_deep_tests_alone(tmp_path: Path) -> None:
    result = suites.run(_suite(tmp_path, MIXED), _budget(), deep=True)
    assert (result.passed, result.failed, result.skipped) == (1, 0, 0), result.output


def test_a_suite_with_a_lock_runs_what_is_not_deep_in_the_environment_of_that_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def python(name: str) -> Path:
        asked.append(name)
        return Path(sys.executable)

    monkeypatch.setattr(environments, "python", python)
    text = "import pytest\n\ndef test_a(): ...\n\n@pytest.mark.deep\ndef test_b():\n    assert False\n"
    result = suites.run(_suite(tmp_path, text, lock="other"), _budget(), deep=True)
    assert (result.passed, result.failed, asked) == (1, 0, ["other"]), result.output


def test_the_last_line_is_the_sum_and_a_suite_that_failed_by_itself_counts_as_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, other = (Suite(name=name, paths=(), seconds=1) for name in ("one", "other"))
    good = suites.Result(one, passed=3, skipped=1)
    late = suites.Result(other, passed=4, problems=["took 9 s; the limit is 2 s"])
    assert suites.report([good]) == 0
    assert suites.report([good, late]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "7 passed, 1 failed, 1 skipped"


def test_an_unknown_suite_is_told_apart_from_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert suites.main(["run", "no-such-suite"]) == 2
    assert suites.main(["deep"]) == 2
    told = capsys.readouterr().err
    assert all(suite.name in told for suite in load().suites)
