"""Environments of their own for tests, each made from a lock in `tests/locks`.

`NAME.in` says what shall be in it beside our packages, `NAME.lock` is what that resolved to, pinned and hashed. A suite
of `tests/budget.toml` with `lock = "NAME"` runs in it. `make lock` makes the locks; the environments are made when
needed.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.lockfile import inputs, mark
from tools.tree import ROOT

FOLDER = "tests/locks"
COMMON = "common.in"  # what the others include
MEMBERS = ("packages/core", "packages/langchain_plugin")  # what is tested in them
NAMES = ("deputize", "langchain-deputize")  # and what those are called
UV = Path(sys.executable).parent / "uv"


def names(root: Path = ROOT) -> list[str]:
    """The locks that there are."""
    return sorted(path.stem for path in (root / FOLDER).glob("*.in") if path.name != COMMON)


def lock_of(name: str, root: Path = ROOT) -> Path:
    """Where the lock of that name lies."""
    return root / FOLDER / f"{name}.lock"


def digest(name: str, root: Path = ROOT) -> str:
    """SHA-256, in hex, of all that decides what the lock of that name holds."""
    texts = [(root / FOLDER / file).read_text(encoding="utf-8") for file in (COMMON, f"{name}.in")]
    projects = inputs(root)
    told = json.dumps([texts, [projects[project] for project in NAMES]], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def make_locks() -> None:
    """Resolve all of them anew, by the index that this machine uses; versions stay where they still fit."""
    for name in names():
        lock = lock_of(name)
        command = ["pip", "compile", "--no-config", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
        command += ["--python-version", "3.11", "--output-file", str(lock), f"{FOLDER}/{name}.in"]
        command += [option for project in NAMES for option in ("--no-emit-package", project)]
        _uv([*command, *(f"{member}/pyproject.toml" for member in MEMBERS)])
        mark(lock, digest(name))


def python(name: str) -> Path:
    """The interpreter of that environment, which is made first where it is missing or of an older lock."""
    lock = lock_of(name)
    folder = ROOT / ".venv" / "locks" / name
    interpreter, synced = folder / "bin" / "python", folder / "synced"
    made_from = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not synced.exists() or synced.read_text(encoding="utf-8") != made_from:
        _uv(["venv", "--clear", "--python", sys.executable, str(folder)])
        install = ["pip", "install", "--python", str(interpreter)]
        _uv([*install, "--require-hashes", "-r", str(lock)])
        editable = [option for member in MEMBERS for option in ("-e", member)]
        _uv([*install, "--no-deps", "--no-build-isolation", *editable])
        synced.write_text(made_from, encoding="utf-8")
    return interpreter


def _uv(arguments: Sequence[str]) -> None:
    environment = {"UV_SYSTEM_CERTS": "1", **os.environ}
    subprocess.run([str(UV), arguments[0], "-q", *arguments[1:]], cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    make_locks()
