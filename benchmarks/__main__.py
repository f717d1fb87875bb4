"""`python -m benchmarks [--quick] [--only GROUP ...]`: see docs/performance.md."""

import argparse
import importlib
import os
from collections.abc import Sequence
from typing import Final

from rich.console import Console

from benchmarks import measure, report

GROUPS: Final = (
    "verify",
    "exchange",
    "durability",
    "revocation",
    "imports",
    "memory",
    "agent",
    "audit",
    "postgres",
    "http",
)
WIDTH: Final = 150  # of tables that go to a file


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; a run of every group in full is also kept under benchmarks/results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=report.__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke run: the figures mean nothing, nothing is kept")
    parser.add_argument("--only", action="append", choices=GROUPS, help="this group; may be repeated")
    chosen = parser.parse_args(arguments)
    os.environ["LANGSMITH_TRACING"] = "false"
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    facts = report.machine()
    done = {}
    for name in chosen.only or GROUPS:
        group = importlib.import_module(f"benchmarks.groups.{name}").build(quick=chosen.quick)
        try:
            rows = measure.run(group)
        finally:
            group.close()
        done[name] = (group, rows)
        report.show(console, group, rows)
    if not chosen.quick and not chosen.only:
        report.save(console, facts, done)


if __name__ == "__main__":
    main()
