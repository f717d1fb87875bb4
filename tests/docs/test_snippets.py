"""The code on every page holds: it parses, imports what exists, and what can run runs."""

from pathlib import Path

import pytest

from tools.snippets import blocks, pages, problems
from tools.tree import relative


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_the_code_on_a_page_holds(page: Path, tmp_path: Path) -> None:
    wrong = problems(page.read_text(encoding="utf-8"), tmp_path, relative(page))
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nx = 1\n```\n\ntext\n\n```python\nassert x == 1\n```\n",
        "```python\nimport asyncio\nawait asyncio.sleep(0)\n```\n",
        "1. item\n\n   ```python\n   x = 1\n   ```\n",
        "```python fragment\nfrom pathlib import Path\nresult = agent.invoke({})\n```\n",
        "```toml\na = 1\n```\n```json\n{}\n```\n```bash\nmake test\n$ make deep-anything\n```\n",
        "```\nanything ( at all\n```\n",
        "````markdown\n```python\nx = (\n```\n````\n",
    ],
)
def test_a_page_that_holds_has_no_problems(tmp_path: Path, text: str) -> None:
    assert problems(text, tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "```python\nx = (\n```\n",
        "```python\nassert False\n```\n",
        "```python fragment\nx = (\n```\n",
        "```python fragment\nfrom pathlib import NoSuchName\n```\n",
        "```python sometimes\nx = 1\n```\n",
        "```toml\na = \n```\n",
        "```json\n{,}\n```\n",
        "```bash\nmake no-such-target\n```\n",
        "```python\nx = 1\n",
    ],
)
def test_a_page_that_does_not_hold_is_found(tmp_path: Path, text: str) -> None:
    assert len(problems(text, tmp_path)) == 1


def test_a_failure_points_to_the_line_of_the_page(tmp_path: Path) -> None:
    (problem,) = problems("# Title\n\n```python\nx = 1\nraise SystemError\n```\n", tmp_path, "README.md")
    assert 'File "README.md", line 5' in problem


def test_blocks_know_where_they_stand() -> None:
    (block,) = blocks("one\n```python fragment\nx\n```\n")
    assert (block.info, block.text, block.line) == (("python", "fragment"), "x\n", 3)
