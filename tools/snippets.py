"""The code on the pages: finds fenced blocks, and runs or checks them.

A `python` block runs, in the order of its page, in one namespace and an empty folder; one that cannot stand alone says
`python fragment`, and then only has to compile and to import what exists. `toml` and `json` blocks are parsed. In shell
blocks every `make` target must exist.
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.tree import ROOT, committed

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^\n`]*)$")
RUN_LIMIT = 60  # seconds a page may take
SHELLS = {"bash", "console", "sh", "shell"}

# Compiles each block at its line of the page, so that a traceback points there; top-level `await` is allowed.
RUNNER = """
import ast, asyncio, inspect, json, sys
page, blocks = json.load(sys.stdin)
space = {"__name__": "__main__"}
for line, source in blocks:
    code = compile("\\n" * (line - 1) + source, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, space)
    if inspect.iscoroutine(result):
        asyncio.run(result)
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the words behind the fence, its text, and the line where the text begins."""

    info: tuple[str, ...]
    text: str
    line: int

    @property
    def language(self) -> str:
        """The first word of the fence, or nothing."""
        return self.info[0] if self.info else ""


def pages() -> list[Path]:
    """Every committed page."""
    return [path for path in committed() if path.suffix == ".md"]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page. Raises ValueError for one that is never closed."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        opening = FENCE.match(lines[at])
        at += 1
        if opening is None:
            continue
        start, indent = at, len(opening["indent"])
        while at < len(lines) and lines[at].strip() != opening["ticks"]:
            at += 1
        if at == len(lines):
            raise ValueError(f"line {start}: a block is not closed")
        body = [line[indent:] if not line[:indent].strip() else line for line in lines[start:at]]
        yield Block(tuple(opening["info"].split()), "\n".join(body) + "\n", start + 1)
        at += 1


def problems(text: str, folder: Path, name: str = "page") -> list[str]:
    """What is wrong with the code on a page; its python blocks run in `folder`."""
    try:
        found = list(blocks(text))
    except ValueError as error:
        return [str(error)]
    wrong = [f"line {block.line}: {problem}" for block in found for problem in _static(block)]
    runnable = [(block.line, block.text) for block in found if block.info == ("python",)]
    if wrong or not runnable:
        return wrong
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([name, runnable]),
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=RUN_LIMIT,
        check=False,
    )
    return [f"{done.stderr}\n(a block that cannot stand alone says `python fragment`)"] if done.returncode else []


def _static(block: Block) -> Iterator[str]:
    if block.language == "python":
        yield from _python(block)
    elif block.language in {"toml", "json"}:
        try:
            (tomllib if block.language == "toml" else json).loads(block.text)
        except ValueError as error:
            yield f"{block.language}: {error}"
    elif block.language in SHELLS:
        yield from _shell(block.text)


def _python(block: Block) -> Iterator[str]:
    if block.info not in {("python",), ("python", "fragment")}:
        yield f"say `python` or `python fragment`, not `{' '.join(block.info)}`"
    try:
        tree = compile(block.text, "block", "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        yield f"does not compile: {error.msg}"
        return
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    if "fragment" in block.info and imports:
        lines = "\n".join(ast.unparse(node) for node in imports)
        done = subprocess.run([sys.executable, "-c", lines], capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            yield done.stderr.splitlines()[-1]


def _shell(text: str) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for target in re.findall(r"^(?:\$ )?make ([a-z][\w-]*)", text, re.MULTILINE):
        if target not in targets and not target.startswith("deep-"):
            yield f"no such target: make {target}"
