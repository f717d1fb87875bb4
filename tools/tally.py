"""A pytest plugin (`-p tools.tally`) that writes the outcome as JSON where DEPUTIZE_TALLY says."""

import json
import os
from pathlib import Path

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write counts, and each skip with its reason. Runs in the controlling process only, also under xdist."""
    stats = terminalreporter.stats
    skipped = [
        {"test": report.nodeid, "reason": _reason(report)}
        for outcome in ("skipped", "xfailed")
        for report in stats.get(outcome, [])
    ]
    tally = {
        "passed": len(stats.get("passed", [])),
        "failed": sum(len(stats.get(outcome, [])) for outcome in ("failed", "error", "xpassed")),
        "skipped": skipped,
    }
    Path(os.environ["DEPUTIZE_TALLY"]).write_text(json.dumps(tally), encoding="utf-8")


def _reason(report: pytest.TestReport) -> str:
    where = report.longrepr
    return str(where[2]) if isinstance(where, tuple) else "expected failure"
