"""Seeded bugs: each patch here breaks one rule in a copy of the library, and the test that it names must notice.

A suite that passes over a broken library proves nothing. Head of a patch: `Broken:` what, `Breaks:` which invariant or
step of the exchange (SEMANTICS, "Exchange"), `Test:` what must fail, one line each; then the diff, from the root.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.tree import ROOT

FOLDER = Path(__file__).parent
SOURCES = "packages/core/src"
PACKAGES = (SOURCES, "packages/langchain_plugin/src")
SAMPLE = (
    "05-presenter",
    "14-ancestors",
    "33-record",
    "63-second-root",
)  # of the patches below, in every run; the others in `make deep-seeded`
PLUGINS = ("cacheprovider", "xdist", "anyio", "langsmith_plugin", "schemathesis")  # what these tests can do without
LEAN = (
    "-q",
    "--tb=no",
    "--override-ini=addopts=--import-mode=importlib",
    *(part for name in PLUGINS for part in ("-p", f"no:{name}")),
)
# The copy must be what is tested: an installed library would pass whatever was done to it.
RUN = (
    "import sys, deputize, langchain_deputize, pytest; root = sys.argv[1]; "
    "assert deputize.__file__.startswith(root) and langchain_deputize.__file__.startswith(root); "
    "sys.exit(pytest.main(sys.argv[2:]))"
)
FAILED = 1  # pytest's exit status; 2 to 5 are errors in collecting or calling it
MEMBER = re.compile(r"^(Broken|Breaks|Test): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Patch:
    """One seeded bug."""

    path: Path
    broken: str
    breaks: frozenset[str]
    test: str

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> "Patch":
        head, _, diff = path.read_text(encoding="utf-8").partition("\ndiff --git ")
        said = dict(MEMBER.findall(head))
        assert diff, f"{path.name} has no diff"
        return cls(path, said["Broken"], frozenset(said["Breaks"].split(", ")), said["Test"])


PATCHES = [Patch.read(path) for path in sorted(FOLDER.glob("*.patch"))]
Copy = Callable[[], Path]


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    """Fresh copies of the library's sources, at the place that they have in the repository."""
    made: list[Path] = []

    def fresh() -> Path:
        root = tmp_path / f"copy{len(made)}"
        for sources in PACKAGES:  # with what is compiled: it goes by the time of its source
            shutil.copytree(ROOT / sources, root / sources)
        made.append(root)
        return root

    yield fresh
    for root in made:
        shutil.rmtree(root)


def apply(patch: Patch, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Apply it there. Needs git, and no repository: one that the folder might lie in is not looked for."""
    quiet = {"GIT_CEILING_DIRECTORIES": str(root.parent), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        ["git", "apply", *more, str(patch.path)],
        cwd=root,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def outcome(root: Path, tests: list[str]) -> subprocess.CompletedProcess[str]:
    """Run tests of the repository against the library under `root`."""
    sources = os.pathsep.join(str(root / sources) for sources in PACKAGES)
    return subprocess.run(
        [sys.executable, "-c", RUN, str(root), *LEAN, *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )


def caught(patch: Patch, copy: Copy) -> None:
    """Break a copy, and see the named test fail; it has passed over a copy that is whole."""
    root = copy()
    applied = apply(patch, root)
    assert applied.returncode == 0, applied.stderr
    result = outcome(root, [patch.test])
    assert result.returncode == FAILED, f"not caught: {patch.broken}\n{result.stdout}{result.stderr}"
    assert re.search(r"\b\d+ failed", result.stdout), result.stdout


def test_every_patch_applies_and_names_a_test_that_exists(copy: Copy) -> None:
    root = copy()
    for patch in PATCHES:
        applied = apply(patch, root, "--check")
        assert applied.returncode == 0, f"{patch.name}: {applied.stderr}"
        file, _, function = patch.test.partition("::")
        name = function.partition("[")[0]
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), (
            patch.test
        )


def test_every_invariant_and_every_step_of_the_exchange_has_a_seeded_bug() -> None:
    seeded = {broken for patch in PATCHES for broken in patch.breaks}
    invariants = {f"I{number}" for number in (*range(1, 15), 16)}
    steps = {f"step {number}" for number in range(1, 15)}
    assert invariants | steps <= seeded
    assert len(PATCHES) >= 20
    assert len({patch.broken for patch in PATCHES}) == len(PATCHES)


def test_a_change_that_breaks_nothing_is_told_from_one_that_was_caught(copy: Copy, tmp_path: Path) -> None:
    """The runner itself: a harmless patch passes, and so counts as not caught."""
    harmless = tmp_path / "harmless.patch"
    text = "Broken: nothing\nBreaks: nothing\nTest: tests/house/test_ci.py::test_nothing\n\n"
    text += f"diff --git a/{SOURCES}/deputize/system.py b/{SOURCES}/deputize/system.py\n"
    first = (ROOT / SOURCES / "deputize" / "system.py").read_text(encoding="utf-8").splitlines()[0]
    text += (
        f"--- a/{SOURCES}/deputize/system.py\n+++ b/{SOURCES}/deputize/system.py\n@@ -1 +1 @@\n-{first}\n+{first} \n"
    )
    harmless.write_text(text, encoding="utf-8")
    patch = Patch.read(harmless)
    root = copy()
    assert apply(patch, root, "--unidiff-zero").returncode == 0
    assert outcome(root, ["packages/core/tests/wire/test_base64url.py"]).returncode == 0
    assert outcome(root, ["packages/core/tests/wire/test_base64url.py::test_that_is_not_there"]).returncode not in {
        0,
        FAILED,
    }


def test_the_sample_is_caught(copy: Copy) -> None:
    sample = [patch for patch in PATCHES if patch.name in SAMPLE]
    assert len(sample) == len(SAMPLE)
    for patch in sample:
        caught(patch, copy)


@pytest.mark.deep
def test_over_a_library_that_is_whole_every_named_test_passes(copy: Copy) -> None:
    result = outcome(copy(), sorted({patch.test for patch in PATCHES}))
    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout, "a test that may be skipped proves nothing"


@pytest.mark.deep
@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_every_seeded_bug_is_caught(patch: Patch, copy: Copy) -> None:
    caught(patch, copy)
