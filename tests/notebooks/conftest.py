"""The notebooks as Jupyter runs them, and a browser that needs no root to look at what they show."""

import json
import os
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import nbclient
import nbformat
import pytest

from tools.node import BIN, environment, script
from tools.tree import ROOT

NOTEBOOKS: Final = ROOT / "examples" / "notebooks"
BROWSER: Final = Path(__file__).parent / "browser"
PATIENCE: Final = 120  # seconds


@dataclass(frozen=True)
class Ran:
    """A notebook that was run from its first cell to its last: what its code cells put out."""

    outputs: list[Any]

    @property
    def text(self) -> str:
        """All that was printed or shown as text."""
        parts = [found.get("text", "") or found.get("data", {}).get("text/plain", "") for found in self.outputs]
        return "\n".join(parts)

    @property
    def html(self) -> list[str]:
        """What was shown as HTML."""
        return [found["data"]["text/html"] for found in self.outputs if "text/html" in found.get("data", {})]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Ran]:
    kept: dict[str, Ran] = {}

    def ran(name: str) -> Ran:
        if name not in kept:
            book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
            folder = str(tmp_path_factory.mktemp(name))
            client = nbclient.NotebookClient(book, timeout=PATIENCE, resources={"metadata": {"path": folder}})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", EncodingWarning)  # of Jupyter's own files
                client.execute()
            kept[name] = Ran([found for cell in book.cells for found in cell.get("outputs", [])])
        return kept[name]

    return ran


@pytest.fixture
def look(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """What the browser says of a piece of HTML on a page of its own."""

    def looked(html: str) -> dict[str, Any]:
        page, picture = tmp_path / "page.html", tmp_path / "page.png"
        page.write_text(f'<!doctype html><meta charset="utf-8"><title>t</title><body>{html}', encoding="utf-8")
        done = subprocess.run(
            [str(BIN / "node"), str(script(BROWSER, BROWSER / "look.mjs")), str(page), str(picture)],
            # the browser brings libraries that a small machine lacks, and unpacks them where it is told to
            env=environment() | {"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x", "TMPDIR": os.fspath(tmp_path)},
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert picture.stat().st_size > 10_000  # bytes; an empty page is smaller
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return looked
