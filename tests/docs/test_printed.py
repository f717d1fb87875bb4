"""What a page says that its code prints, it prints: blocks fenced as `text printed`, all of a page together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.snippets import RUN_LIMIT, RUNNER, blocks, pages
from tools.tree import relative

PRINTED = ("text", "printed")
SHOWING = [page for page in pages() if any(block.info == PRINTED for block in blocks(page.read_text("utf-8")))]


@pytest.mark.parametrize("page", SHOWING, ids=relative)
def test_a_page_shows_what_its_code_prints(page: Path, tmp_path: Path) -> None:
    found = list(blocks(page.read_text(encoding="utf-8")))
    code = [(block.line, block.text) for block in found if block.info == ("python",)]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([relative(page), code]),
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=RUN_LIMIT,
        check=True,
    )
    assert done.stdout == "".join(block.text for block in found if block.info == PRINTED)


def test_there_are_pages_that_show_what_they_print() -> None:
    assert "docs/how-it-decides.md" in {relative(page) for page in SHOWING}
