"""requirements.lock and those of tests/locks: pinned, hashed, without a URL, made from what stands beside them."""

import shutil
from pathlib import Path

import pytest

from tools import environments, lockfile, pins
from tools.tree import ROOT


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A tree of the pyprojects and the lock alone."""
    for path in lockfile.members():
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(lockfile.LOCK, tmp_path / "requirements.lock")
    lockfile.stamp(tmp_path / "requirements.lock", tmp_path)
    shutil.copytree(ROOT / environments.FOLDER, tmp_path / environments.FOLDER)
    return tmp_path


def _findings(root: Path) -> list[str]:
    return pins.findings(root, root / "requirements.lock", installed=False)


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_the_lock_is_the_one_of_these_pyprojects() -> None:
    assert lockfile.recorded() == lockfile.digest()


def test_a_fresh_lock_has_no_findings_and_stamping_it_twice_changes_nothing(copied: Path) -> None:
    lock = copied / "requirements.lock"
    before = lock.read_bytes()
    lockfile.stamp(lock, copied)
    assert lock.read_bytes() == before
    assert _findings(copied) == []


def test_a_changed_dependency_is_noticed(copied: Path) -> None:
    _edit(copied / "packages/core/pyproject.toml", '"orjson>=3.10"', '"orjson>=3.9"')
    assert len(_findings(copied)) == 1


def test_a_dependency_that_the_lock_does_not_meet_is_noticed(copied: Path) -> None:
    _edit(copied / "packages/core/pyproject.toml", '"orjson>=3.10"', '"orjson>=99"')
    lockfile.stamp(copied / "requirements.lock", copied)
    assert len(_findings(copied)) == 1
    _edit(copied / "packages/core/pyproject.toml", '"orjson>=99"', '"not-in-the-lock"')
    lockfile.stamp(copied / "requirements.lock", copied)
    assert len(_findings(copied)) == 1


def test_words_that_decide_no_resolution_are_no_change(copied: Path) -> None:
    _edit(
        copied / "packages/core/pyproject.toml", "description = ", 'classifiers = ["Typing :: Typed"]\ndescription = '
    )
    assert _findings(copied) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("orjson==", "orjson>="),
        ("    --hash=sha256:", "    --hash=md5:"),
        ("orjson==", "# https://index.example/simple\norjson=="),
    ],
    ids=["not pinned", "no hash", "a url"],
)
def test_a_lock_that_was_edited_by_hand_is_noticed(copied: Path, old: str, new: str) -> None:
    lock = copied / "requirements.lock"
    if "hash" in old:
        text = lock.read_text(encoding="utf-8")
        entry = text[text.index("orjson==") :].partition("\npackaging==")[0]
        lock.write_text(text.replace(entry, entry.replace(old, new)), encoding="utf-8")
    else:
        _edit(lock, old, new)
    assert _findings(copied) != []


@pytest.mark.parametrize("name", environments.names())
def test_a_lock_of_another_environment_is_the_one_of_its_wishes(name: str) -> None:
    assert pins.findings_of(name) == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("tests/locks/floor.in", "langgraph==1.2.0", "langgraph==1.2.1"),
        ("tests/locks/common.in", "pytest>=9.2", "pytest>=9.3"),
        ("packages/langchain_plugin/pyproject.toml", '"langgraph>=1.2,<2"', '"langgraph>=1.1,<2"'),
        ("tests/locks/floor.lock", "langgraph==", "langgraph>="),
        ("tests/locks/floor.lock", "langgraph==", "# https://index.example/simple\nlanggraph=="),
        ("tests/locks/floor.lock", "    --hash=sha256:", "    --hash=md5:"),
    ],
    ids=["its wishes", "the common wishes", "a package's dependencies", "not pinned", "a url", "no hash"],
)
def test_a_change_that_the_lock_of_another_environment_does_not_know_is_noticed(
    copied: Path, file: str, old: str, new: str
) -> None:
    if "hash" in old:
        text = (copied / file).read_text(encoding="utf-8")
        (copied / file).write_text(text.replace(old, new), encoding="utf-8")
    else:
        _edit(copied / file, old, new)
    assert len(pins.findings_of("floor", copied)) >= 1


def test_wishes_without_a_lock_are_noticed(copied: Path) -> None:
    (copied / "tests/locks/floor.lock").unlink()
    assert len(pins.findings_of("floor", copied)) == 1
