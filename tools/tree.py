"""The files of this repository, as git sees them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def committed() -> list[Path]:
    """Files that are committed or would be by `git add .`. Raises CalledProcessError without git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout.decode()
    return sorted(path for name in set(listing.split("\0")) if name and (path := ROOT / name).is_file())


def relative(path: Path) -> str:
    """The path as people write it, seen from the root."""
    return path.relative_to(ROOT).as_posix()


def text_of(paths: list[Path]) -> Iterator[tuple[str, str]]:
    """(relative name, text) of each file that is UTF-8 text; binary files are passed over."""
    for path in paths:
        try:
            yield relative(path), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
