"""Reads `tests/budget.toml`: which suites there are, and how many seconds each may take."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tools.tree import ROOT

BUDGET = ROOT / "tests" / "budget.toml"
DEEP_LIMIT = 20 * 60  # seconds; a deep piece that needs more is two pieces


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One pytest process. `seconds` is what it should take on 2 cores; `env` is added to its environment.

    `lock`: it runs in the environment made of that lock of `tests/locks`. A deep piece with one runs the tests that are
    not deep: what `make test` runs, or could not run, against other releases.
    """

    name: str
    paths: tuple[str, ...]
    seconds: int
    workers: int = 0
    may_be_empty: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    lock: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """All suites, the deep pieces, the seconds of the whole run, and the skips that CI lets pass."""

    total: int
    suites: tuple[Suite, ...]
    deep: tuple[Suite, ...]
    skips: Mapping[str, str]

    def may_skip(self, test: str) -> bool:
        """True if a pattern of `[skips]` matches the test's id."""
        return any(fnmatchcase(test, pattern) for pattern in self.skips)


def load(path: Path = BUDGET) -> Budget:
    """Read the file. Raises ValueError where it contradicts itself."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    suites = tuple(_suite(name, entry) for name, entry in data["suites"].items())
    deep = tuple(_suite(name, {"seconds": DEEP_LIMIT, **entry}) for name, entry in data.get("deep", {}).items())
    skips = data.get("skips", {})
    if (planned := sum(suite.seconds for suite in suites)) > data["total"]:
        raise ValueError(f"the suites are planned for {planned} s, more than the total of {data['total']} s")
    if slow := [piece.name for piece in deep if piece.seconds > DEEP_LIMIT]:
        raise ValueError(f"a deep piece takes {DEEP_LIMIT} s at most: {', '.join(slow)}")
    if bare := [pattern for pattern, reason in skips.items() if not reason.strip()]:
        raise ValueError(f"a skip needs a reason: {', '.join(bare)}")
    return Budget(total=data["total"], suites=suites, deep=deep, skips=skips)


def _suite(name: str, entry: Mapping[str, object]) -> Suite:
    try:
        return Suite(name=name, **{**entry, "paths": tuple(entry["paths"])})  # type: ignore[arg-type]  # TypeError below
    except (KeyError, TypeError) as error:
        raise ValueError(f"suite {name}: {error}") from error
