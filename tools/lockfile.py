"""Ties `requirements.lock` to the pyprojects it was made from. `python -m tools.lockfile` stamps it.

The lock is an export without hosts; the resolver's own lock names them on every line and is not committed.
So that a pyproject which changed without `make lock` is noticed offline, the first line of the lock holds a
digest of all that decides a resolution. Standard library only: it runs before anything is installed.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from tools.tree import ROOT

LOCK = ROOT / "requirements.lock"
MARK = "# made by `make lock` from pyprojects with sha256:"


def members(root: Path = ROOT) -> list[Path]:
    """The root pyproject and those of the workspace's members."""
    workspace = _read(root / "pyproject.toml")["tool"]["uv"]["workspace"]["members"]
    return [root / "pyproject.toml", *(root / member / "pyproject.toml" for member in workspace)]


def inputs(root: Path = ROOT) -> dict[str, dict[str, Any]]:
    """What decides a resolution, by package name. Raises KeyError where a pyproject lacks its name."""
    found = {}
    for path in members(root):
        data = _read(path)
        project = data["project"]
        found[project["name"]] = {
            "version": project["version"],
            "requires-python": project["requires-python"],
            "dependencies": project.get("dependencies", []),
            "extras": project.get("optional-dependencies", {}),
            "groups": data.get("dependency-groups", {}),
            "build": data.get("build-system", {}).get("requires", []),
        }
    return found


def digest(root: Path = ROOT) -> str:
    """SHA-256 of the inputs, in hex."""
    return hashlib.sha256(json.dumps(inputs(root), sort_keys=True).encode()).hexdigest()


def recorded(lock: Path = LOCK) -> str | None:
    """The digest in the lock's first line, or None."""
    first = lock.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix(MARK) if first.startswith(MARK) else None


def stamp(lock: Path = LOCK, root: Path = ROOT) -> None:
    """Write the digest into the lock's first line, in place of an older one."""
    mark(lock, digest(root))


def mark(lock: Path, made_from: str) -> None:
    """Write `made_from`, a digest, into a lock's first line, in place of an older one."""
    text = lock.read_text(encoding="utf-8")
    if text.startswith(MARK):
        text = text.partition("\n")[2]
    lock.write_text(f"{MARK}{made_from}\n{text}", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    stamp()
