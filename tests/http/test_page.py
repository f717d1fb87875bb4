"""docs/http.md: every command is run by bash and curl against a real server, and answers as the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from deputize.authority.joining import enroll
from tests.http.raw import World
from tools.tree import ROOT

BLOCK = re.compile(r"^```(python fragment|bash|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- block"
ANY = "..."


def agrees(shown: Any, got: Any) -> bool:
    """Whether what the page shows is in what came; a refusal that is shown to strangers is shown whole."""
    if shown == ANY:
        return got is not None
    if isinstance(shown, dict):
        whole = set(shown) == {"error"}
        return (
            isinstance(got, dict)
            and all(name in got and agrees(value, got[name]) for name, value in shown.items())
            and (not whole or set(got) == {"error"})
        )
    if isinstance(shown, list):
        return isinstance(got, list) and len(shown) == len(got) and all(map(agrees, shown, got))
    return bool(shown == got)


def test_every_command_on_the_page_answers_as_it_says(world: World, tmp_path: Path) -> None:
    blocks = BLOCK.findall((ROOT / "docs" / "http.md").read_text(encoding="utf-8"))
    (tmp_path / "sign.py").write_text(
        next(text for kind, text in blocks if kind == "python fragment"), encoding="utf-8"
    )
    commands = [text for kind, text in blocks if kind == "bash"]
    script = "set -eu\n" + "".join(f"{text}\necho; echo '{MARK}'\n" for text in commands)
    bash, curl = shutil.which("bash"), shutil.which("curl")
    assert bash is not None
    assert curl is not None
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "AUTHORITY": world.base,
        "JOIN_TOKEN": enroll(world.engine.parts, "churn", by="test").token,
    }
    done = subprocess.run(
        [bash, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split(MARK)
    number, checked = -1, 0
    for kind, text in blocks:
        if kind == "bash":
            number += 1
        elif kind == "json":
            got = json.loads(outputs[number])
            assert agrees(json.loads(text), got), (commands[number], got)
            checked += 1
    assert checked > 15
