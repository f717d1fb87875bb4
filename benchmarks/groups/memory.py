"""How much memory live sessions take: of an authority on a store that holds them, and of a program that holds them."""

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Case, Group, Sample
from benchmarks.trees import grow, spine
from benchmarks.workplace import Workplace, session_of


def build(*, quick: bool) -> Group:
    """Each sample is a process: it opens the store, walks every session, and says by how much it grew."""
    place = Workplace()
    size = 1000 if quick else 100_000
    authority = place.authority("memory.db", policies=50)
    nodes = spine(session_of(authority), 1)
    grown = grow(authority, nodes[-1], size)
    path = place.file("memory.db")
    Path(f"{path}.sids").write_text("\n".join(node.sid for node in grown), encoding="ascii")
    held = 200 if quick else 2000
    return Group(
        name="memory",
        title=f"Memory for {size:,} live sessions",
        clock="growth of the resident set of a process",
        unit="MB",
        cases=(
            Case(
                name=f"a store with {size:,}, opened, every one looked at",
                sample=_grown("store", path, str(size)),
                at_most=100.0,
            ),
            Case(
                name=f"{held:,} Session objects of 100 users, held by a program", sample=_grown("held", path, str(held))
            ),
        ),
        rounds=1 if quick else 3,
        close=place.close,
    )


def _grown(*arguments: str) -> Sample:
    def sample() -> float:
        command = [sys.executable, "-m", "benchmarks.resident", *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")  # noqa: S603  # our own module
        return float(done.stdout)

    return sample
