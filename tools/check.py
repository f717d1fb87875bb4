"""What `make check` runs: `python -m tools.check [NAME...]`. The checks are independent and run at once."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tools import hygiene, pins
from tools.tree import ROOT

BIN = Path(sys.executable).parent
Findings = Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one check ended. `output` is empty, or what a reader needs to mend it."""

    name: str
    ok: bool
    seconds: float
    output: str


def _typed() -> list[str]:
    sources = [*ROOT.glob("packages/*/src"), *ROOT.glob("examples/*/src"), ROOT / "tools"]
    return [
        str(BIN / "mypy"),
        "--no-error-summary",
        *(str(path.relative_to(ROOT)) for path in sorted(sources)),
    ]


# The slowest first: they decide how long the whole takes.
CHECKS: dict[str, Sequence[str] | Findings] = {
    "types": _typed(),
    "layers": [str(BIN / "lint-imports"), "--no-logo", "--cache-dir", ".import_linter_cache"],
    "lint": [str(BIN / "ruff"), "check", "--quiet", "--output-format=concise", "."],
    "format": [str(BIN / "ruff"), "format", "--check", "--output-format=concise", "."],
    "lines": [str(BIN / "loq"), "check", "--no-cache"],
    "lock": pins.all_findings,
    "environment": [str(BIN / "uv"), "pip", "check", "--quiet", "--offline"],
    "hosts": hygiene.registry_hosts,
    "secrets": hygiene.secrets,
    "paths": hygiene.machine_paths,
}


def main(names: Sequence[str]) -> int:
    """Run all checks, or those named; 0 if all are well, 1 if one is not, 2 for a name that is not there."""
    if unknown := set(names) - set(CHECKS):
        print(f"no such check: {', '.join(sorted(unknown))}; there are: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    chosen = [name for name in CHECKS if not names or name in names]
    failed = []
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for future in as_completed([pool.submit(run, name) for name in chosen]):
            outcome = future.result()
            print(
                f"{'ok' if outcome.ok else 'FAILED':<8}{outcome.name:<14}{outcome.seconds:>6.1f} s",
                flush=True,
            )
            if not outcome.ok:
                failed.append(outcome.name)
                print(outcome.output.rstrip(), flush=True)
    print(
        f"check: {len(chosen) - len(failed)} of {len(chosen)} passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


def run(name: str) -> Outcome:
    """Run one check to its end."""
    started = time.monotonic()
    check = CHECKS[name]
    if callable(check):
        found = check()
        ok, output = not found, "\n".join(found)
    else:
        quiet = {**os.environ, "NO_COLOR": "1"}
        done = subprocess.run(check, cwd=ROOT, env=quiet, capture_output=True, text=True, encoding="utf-8", check=False)
        ok, output = done.returncode == 0, done.stdout + done.stderr
    return Outcome(name, ok, time.monotonic() - started, output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
