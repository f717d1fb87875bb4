"""The test runner: `python -m tools.suites run [NAME...]`, `deep NAME...`, `list`.

Each suite is a pytest process of its own with its own temporary folder. A suite fails if a test fails, if it
has no test, if it takes more than twice its seconds, or, where CI=true, if a test is skipped that `[skips]`
does not name. All suites run, whatever the first ones did; the last line is the sum.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools import environments
from tools.budget import DEEP_LIMIT, Budget, Suite, load
from tools.tree import ROOT

PATIENCE = 2  # a suite may take this many times its seconds
STOP = 4  # and is stopped at this many
NO_TESTS = 5  # pytest's exit status
# What a developer's shell sets for other programs must not change what a test sees.
FOREIGN_PREFIXES = ("LANGSMITH_", "LANGCHAIN_", "DEPUTIZE_", "PYTEST_")
FOREIGN_SUFFIXES = ("_PROXY", "_proxy")
KEPT = "DEPUTIZE_VECTORS"


@dataclass(slots=True)
class Result:
    """What one suite did. `problems` are failures of the suite itself, beside those of single tests."""

    suite: Suite
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    output: str = ""

    @property
    def ok(self) -> bool:
        """True if nothing went wrong."""
        return not self.failed and not self.problems


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; 0 if all is well, 1 if something failed, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m tools.suites", description=__doc__)
    parser.add_argument("command", choices=("run", "deep", "list"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args(argv)
    budget = load()
    if options.command == "list":
        for kind, members in (("run", budget.suites), ("deep", budget.deep)):
            for suite in members:
                print(f"{kind:<5}{suite.name:<12}{suite.seconds:>5} s  {' '.join(suite.paths)}")
        return 0
    deep = options.command == "deep"
    known = {suite.name: suite for suite in (budget.deep if deep else budget.suites)}
    if (deep and not options.names) or set(options.names) - set(known):
        print(f"there are: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in options.names] or list(known.values())
    return report([_announced(suite, budget, deep=deep) for suite in chosen])


def report(results: Sequence[Result]) -> int:
    """Print the closing line. A failure of a suite itself counts as one."""
    failed = sum(result.failed + len(result.problems) for result in results)
    passed = sum(result.passed for result in results)
    skipped = sum(result.skipped for result in results)
    if wrong := [result.suite.name for result in results if not result.ok]:
        print(f"failed: {', '.join(wrong)}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def _announced(suite: Suite, budget: Budget, *, deep: bool) -> Result:
    result = run(suite, budget, deep=deep)
    if not result.ok:
        print(result.output)
    line = f"{result.passed} passed"
    line += f", {result.failed} failed" if result.failed else ""
    line += f", {result.skipped} skipped" if result.skipped else ""
    print(f"{suite.name:<12}{line:<36}{result.seconds:>7.1f} s of {suite.seconds}", flush=True)
    for problem in result.problems:
        print(f"{'':<12}{problem}", flush=True)
    return result


def run(suite: Suite, budget: Budget, *, deep: bool = False) -> Result:
    """Run one suite to its end, or until it is stopped."""
    result = Result(suite)
    if not any(_has_tests(ROOT / path) for path in suite.paths):
        if not suite.may_be_empty:
            result.problems.append(f"no tests under {' '.join(suite.paths)}")
        return result
    folder = Path(tempfile.mkdtemp(prefix=f"dt-{suite.name[:8]}-"))  # short: Unix socket paths live in it
    started = time.monotonic()
    try:
        status = _pytest(suite, folder, result, deep=deep)
        result.seconds = time.monotonic() - started
        _judge(result, status, folder / "tally.json", budget, limit=_limit(suite, deep=deep))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return result


def _limit(suite: Suite, *, deep: bool) -> int:
    return DEEP_LIMIT if deep else PATIENCE * suite.seconds


def _has_tests(path: Path) -> bool:
    return path.is_file() or any(path.rglob("test_*.py"))


def _pytest(suite: Suite, folder: Path, result: Result, *, deep: bool) -> int | None:
    """The exit status, or None if it had to be stopped."""
    limit = _limit(suite, deep=deep)
    paths = [path for path in suite.paths if (ROOT / path).exists()]
    python = sys.executable if suite.lock is None else str(environments.python(suite.lock))
    command = [python, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "tools.tally"]
    command += ["-m", "deep" if deep and suite.lock is None else "not deep", "--durations=10", "--durations-min=1"]
    command += ["-o", f"faulthandler_timeout={limit}"]
    command += ["-n", str(suite.workers), "--dist=worksteal"] if suite.workers else []
    log = folder / "output"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, *paths],
            cwd=ROOT,
            env=environment(suite, folder),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(timeout=limit if deep else STOP * suite.seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # the session that was started above, with all its children
                process.wait()
    result.output = log.read_text(encoding="utf-8", errors="replace")
    return status


def environment(suite: Suite, folder: Path) -> dict[str, str]:
    """This environment without settings for other programs, and with the suite's own temporary folder."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == KEPT or not (name.startswith(FOREIGN_PREFIXES) or name.endswith(FOREIGN_SUFFIXES))
    }
    own = {
        "DEPUTIZE_TALLY": str(folder / "tally.json"),
        "LANGSMITH_TRACING": "false",
        "PYTHONWARNDEFAULTENCODING": "1",
        "TMPDIR": str(folder),
    }
    return kept | own | dict(suite.env)


def _judge(result: Result, status: int | None, tally: Path, budget: Budget, *, limit: int) -> None:
    if not tally.exists() and status in {0, NO_TESTS}:
        result.problems.append("pytest ended without a word of its outcome")
    if tally.exists():
        counts = json.loads(tally.read_text(encoding="utf-8"))
        result.passed, result.failed = counts["passed"], counts["failed"]
        for skip in counts["skipped"]:
            _count_skip(result, skip["test"], skip["reason"], budget)
    if status is None:
        result.problems.append(f"stopped after {result.seconds:.0f} s")
    elif result.seconds > limit:
        result.problems.append(f"took {result.seconds:.0f} s; the limit is {limit} s")
    if status == NO_TESTS and not result.suite.may_be_empty:
        result.problems.append("collected no test")
    elif status not in {0, NO_TESTS, None} and not result.failed:
        result.problems.append(f"pytest ended with status {status}")


def _count_skip(result: Result, test: str, reason: str, budget: Budget) -> None:
    if os.environ.get("CI") == "true" and not budget.may_skip(test):
        result.problems.append(f"skipped, which CI does not allow: {test}: {reason}")
    else:
        result.skipped += 1


if __name__ == "__main__":
    sys.exit(main())
