"""What went wrong elsewhere, by CVE: it works on a copy of ours without the rule in its way, and is refused by ours."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deputize.model.revocation import Kind, RevocationEntry
from deputize.verifier import MemoryRevocations
from deputize.verifier.hashed import HashedRevocationSet
from tests.security.replays import REPLAYS, Replay, taken
from tools.tree import ROOT

SOURCES = ROOT / "packages" / "core" / "src"
RUN = (
    "import runpy, sys, deputize; assert deputize.__file__.startswith(sys.argv.pop(1)); "
    "runpy.run_module('tests.security.replays', run_name='__main__')"
)
by_cve = pytest.mark.parametrize("replay", REPLAYS, ids=lambda replay: replay.cve)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library's sources, to be broken and mended."""
    folder = tmp_path_factory.mktemp("cves") / "src"
    shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def over(copy: Path, replay: Replay) -> str:
    """What the verifier of this copy does."""
    found = subprocess.run(
        [sys.executable, "-B", "-c", RUN, str(copy), replay.cve],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return found.stdout or found.stderr


@pytest.mark.requirement("JW-01", "JW-02", "JW-05", "AT-02", "AT-08")
@by_cve
def test_a_forgery_that_worked_elsewhere_is_refused(replay: Replay) -> None:
    assert not taken(replay)


@by_cve
def test_it_works_where_the_rule_is_taken_out(copy: Path, replay: Replay) -> None:
    before = {}
    try:
        for name, text, other in replay.breaks:
            path = copy / "deputize" / name
            whole = path.read_text(encoding="utf-8")
            before.setdefault(path, whole)
            assert whole.count(text) == 1, (replay.cve, name, text)
            path.write_text(whole.replace(text, other), encoding="utf-8")
        assert over(copy, replay) == "taken"
    finally:
        for path, whole in before.items():
            path.write_text(whole, encoding="utf-8")


def test_the_copy_that_is_whole_refuses(copy: Path) -> None:
    assert over(copy, REPLAYS[0]) == "refused"


@pytest.mark.requirement("I7")
def test_a_later_or_narrower_revocation_hides_no_other() -> None:
    """CVE-2026-8922 (Keycloak): a client's not-before took the place of the realm's."""
    told = {"sids": ("S" * 16,), "jti": "j" * 22, "agents": ("agent-1",), "sub": "alice", "iat": 100, "kid": "k"}
    wide = RevocationEntry(kind=Kind.USER, id="alice", at=200, until=900, before=150)
    narrow = RevocationEntry(kind=Kind.USER, id="alice", at=300, until=900, before=50)
    others = [RevocationEntry(kind=kind, id="another", at=300, until=900, before=None) for kind in Kind]
    for order in ([wide, narrow, *others], [narrow, wide, *others], [*others, narrow, wide]):
        revocations, hashed = MemoryRevocations(), HashedRevocationSet(lambda name: name + "#")
        for entry in order:
            revocations.add(entry)
            hashed.add(replace(entry, id=entry.id + "#"))
        assert revocations.view().refuses(**told) is Kind.USER  # type: ignore[arg-type]  # by name
        assert hashed.refuses(**told) is Kind.USER  # type: ignore[arg-type]  # by name
    assert MemoryRevocations([narrow, *others]).view().refuses(**told) is None  # type: ignore[arg-type]  # by name
