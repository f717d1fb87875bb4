"""Checks the locks offline: made from these pyprojects, pinned, hashed, hostless, and, the main one, installed."""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import environments
from tools.lockfile import LOCK, digest, inputs, recorded
from tools.tree import ROOT

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def findings(root: Path = ROOT, lock: Path = LOCK, *, installed: bool = True) -> list[str]:
    """All that is wrong with the main lock; with `installed`, also where the environment differs from it."""
    text = lock.read_text(encoding="utf-8")
    pins = entries(text)
    found = [*_shape(text, pins), *_unmet(root, pins)]
    if recorded(lock) != digest(root):
        found.append("a pyproject changed after the lock was made: run `make lock`")
    return [*found, *_differing(pins)] if installed else found


def all_findings() -> list[str]:
    """All that is wrong with the main lock, with what is installed, and with the locks of the tests' environments."""
    return [*findings(), *(f"{name}: {found}" for name in environments.names() for found in findings_of(name))]


def findings_of(name: str, root: Path = ROOT) -> list[str]:
    """All that is wrong with one lock of `tests/locks`."""
    lock = environments.lock_of(name, root)
    if not lock.exists():
        return ["there is no lock: run `make lock`"]
    text = lock.read_text(encoding="utf-8")
    found = list(_shape(text, entries(text)))
    if recorded(lock) != environments.digest(name, root):
        found.append("what it is made from changed: run `make lock`")
    return found


def entries(text: str) -> dict[str, list[Requirement]]:
    """The pinned requirements by canonical name; a name has one for each marker."""
    pins: dict[str, list[Requirement]] = {}
    for line in _logical(text):
        requirement = Requirement(line.partition(" --hash=")[0].strip())
        pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def _logical(text: str) -> Iterator[str]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def _shape(text: str, pins: Mapping[str, list[Requirement]]) -> Iterator[str]:
    if "://" in text:
        yield "the lock holds a URL"
    for line in _logical(text):
        if not _HASH.search(line):
            yield f"no hash: {line.split()[0]}"
    for group in pins.values():
        for pin in group:
            if pin.url or [clause.operator for clause in pin.specifier] != ["=="]:
                yield f"not pinned: {pin}"


def _unmet(root: Path, pins: Mapping[str, list[Requirement]]) -> Iterator[str]:
    projects = inputs(root)
    own = {canonicalize_name(name) for name in projects}
    for project, data in projects.items():
        grouped = [*data["extras"].values(), *data["groups"].values()]
        for text in (*data["dependencies"], *data["build"], *(item for group in grouped for item in group)):
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            if name not in own and not any(_meets(pin, wanted) for pin in pins.get(name, [])):
                yield f"{project} asks for {wanted}, which the lock does not meet"


def _meets(pin: Requirement, wanted: Requirement) -> bool:
    return all(wanted.specifier.contains(clause.version, prereleases=True) for clause in pin.specifier)


def _differing(pins: Mapping[str, list[Requirement]]) -> Iterator[str]:
    for name, group in pins.items():
        for pin in group:
            if pin.marker is None or pin.marker.evaluate():
                pinned = next(clause.version for clause in pin.specifier)
                if (present := _installed(name)) != pinned:
                    yield f"{name} {pinned} is locked, {present or 'none'} installed: `make -B .venv/.synced`"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
