"""Black-box attacks: each works on a copy of ours without the rule in its way, and is refused by the default server.

`make deep-peers` turns them on another product too, and writes docs/attacks.md with what was found.
"""

import datetime as dt
import importlib.metadata
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.http.attacks import ATTACKS, ELSEWHERE, Attack, Target
from tests.http.raw import World
from tests.http.targets import Authgent, Ours, environment_with
from tools.tree import ROOT

SOURCES = ROOT / "packages" / "core" / "src"
PAGE = ROOT / "docs" / "attacks.md"
BEGIN, END = "<!-- found: begin -->", "<!-- found: end -->"
by_name = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.id} {attack.what}")


def broken(folder: Path, attacks: Iterable[Attack]) -> Path:
    """A copy of the library without the rules that stand in the way of these attacks."""
    copy = folder / "src"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for attack in attacks:
        for name, text, other in attack.breaks:
            path = copy / "deputize" / name
            whole = path.read_text(encoding="utf-8")
            assert whole.count(text) == 1, (attack.what, name)
            path.write_text(whole.replace(text, other), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    folder = tmp_path_factory.mktemp("weak")
    world = World.begin(folder, sources=broken(folder, ATTACKS))
    yield Ours(world)
    world.end()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ours]:
    world = World.begin(tmp_path_factory.mktemp("ours"))
    yield Ours(world)
    world.end()


@by_name
def test_an_attack_works_where_the_rules_are_taken_out(weak: Ours, attack: Attack) -> None:
    assert attack.run(weak)


@pytest.mark.requirement("A-01", "A-03", "A-04", "A-05", "A-06", "A-08", "A-10", "A-11", "A-17", "I7")
@by_name
def test_it_is_refused_by_the_default_server(ours: Ours, attack: Attack) -> None:
    assert not attack.run(ours)


def test_what_is_attacked_works_when_it_is_asked_honestly(ours: Ours) -> None:
    _honest(ours)


def test_the_page_has_a_row_for_every_attack() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| {attack.id} | {attack.what} |" in text for attack in ATTACKS)
    assert all(f"| {name} |" in text for name in ELSEWHERE)


@pytest.mark.deep
@by_name
def test_one_rule_taken_out_alone_lets_its_attack_through(tmp_path: Path, attack: Attack) -> None:
    world = World.begin(tmp_path, sources=broken(tmp_path, [attack]))
    assert attack.run(Ours(world))
    world.end()


@pytest.mark.deep
def test_another_product_under_the_same_attacks(ours: Ours, tmp_path: Path) -> None:
    environment = environment_with(tmp_path / "peer", "authgent-server")
    asked = [str(environment / "bin" / "python"), "-m", "pip", "show", "authgent-server"]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    version = next(line.partition(": ")[2] for line in shown.splitlines() if line.startswith("Version"))
    rows = []
    for attack in ATTACKS:
        folder = tmp_path / f"{len(rows)}"
        folder.mkdir()
        target = Authgent(environment, folder)
        try:
            _honest(target)
            rows.append((attack, attack.run(ours), attack.run(target)))
        finally:
            target.end()
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    found = _table(rows, version)
    PAGE.write_text(f"{head}{BEGIN}\n{found}{END}{rest.partition(END)[2]}", encoding="utf-8")
    assert not any(worked for _, worked, _ in rows)


def _honest(target: Target) -> None:
    root = target.root("boss")
    child = target.hand_on("boss", root, "writer")
    assert child is not None
    access = target.access("writer", child)
    assert access is not None
    assert (target.introspect("writer", access) or {})["active"] is True


def _table(rows: list[tuple[Attack, bool, bool]], version: str) -> str:
    today = dt.datetime.now(dt.UTC).date().isoformat()
    ours = importlib.metadata.version("deputize")
    lines = [f"Run on {today}: deputize {ours}, authgent-server {version}.", ""]
    lines += ["| id | attack | deputize | authgent-server |", "|---|---|---|---|"]
    said = {True: "**works**", False: "refused"}
    lines += [f"| {attack.id} | {attack.what} | {said[mine]} | {said[theirs]} |" for attack, mine, theirs in rows]
    return "\n".join(lines) + "\n"
