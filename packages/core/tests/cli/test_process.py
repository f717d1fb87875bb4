"""`deputize` as a process of its own: its streams and its exit status."""

import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [str(Path(sys.executable).with_name("deputize"))]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, encoding="utf-8", timeout=60, check=False
    )


def test_a_negative_answer_is_1_and_goes_to_the_error_stream_without_a_traceback(project: Any) -> None:
    project.lived()
    found = run(project.folder, "session", "tree", "nothing")
    assert (found.returncode, found.stdout) == (1, "")
    assert len(found.stderr.splitlines()) == 1


def test_what_cannot_be_reached_is_3_and_a_wrong_file_2(project: Any) -> None:
    assert run(project.folder, "session", "list").returncode == 3
    project.file.write_text("[authority\n", encoding="utf-8")
    found = run(project.folder, "policy", "check")
    assert found.returncode == 2
    assert found.stderr.startswith("deputize.toml:1: ")


def test_a_reader_that_stops_reading_is_no_crash(project: Any) -> None:
    project.lived()
    line = f"{COMMAND[0]} session list --json | true; {COMMAND[0]} session list | head -c 1"
    found = subprocess.run(
        ["sh", "-c", line],
        cwd=project.folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert "Traceback" not in found.stderr
