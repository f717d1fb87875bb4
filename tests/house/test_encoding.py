"""Text is read and written with its encoding named: the suites run with PYTHONWARNDEFAULTENCODING, warnings as errors.

A linter sees this only where it knows the type of a path; here the name of the call is enough.
"""

import ast
from collections.abc import Iterator

import pytest

from tools.marks import parsed
from tools.tree import committed, relative

TEXT_MODE = {"text", "universal_newlines"}
ENCODING_AT = {"read_text": 0, "write_text": 1, "open": 3, "fdopen": 3, "NamedTemporaryFile": 3}


def _bare(tree: ast.AST) -> Iterator[int]:
    """Lines of calls that leave the encoding to the machine."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        words = {word.arg for word in node.keywords}
        if words & {"encoding", None}:
            continue
        in_text = name in {"read_text", "write_text"} or (name in {"open", "fdopen"} and _opens_text(node))
        in_text |= name in {"run", "Popen", "check_output"} and bool(words & TEXT_MODE)
        if in_text and len(node.args) <= ENCODING_AT.get(name, len(node.args)):
            yield node.lineno


def _opens_text(node: ast.Call) -> bool:
    """True for the built-in open and os.fdopen without a binary mode; other things called open are not files."""
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func) != "os.fdopen":
        return False
    modes = [*node.args[1:2], *(word.value for word in node.keywords if word.arg == "mode")]
    return not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)


def test_every_text_file_and_pipe_names_its_encoding() -> None:
    bare = [f"{relative(path)}:{line}" for path in committed() if path.suffix == ".py" for line in _bare(parsed(path))]
    assert not bare, "\n".join(bare)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("path.read_text()", 1),
        ("path.read_text(encoding='utf-8')", 0),
        ("path.write_text('x')", 1),
        ("path.write_text('x', 'utf-8')", 0),
        ("open('x')", 1),
        ("open('x', 'rb')", 0),
        ("open('x', mode='wb')", 0),
        ("Authority.open('deputize.toml')", 0),
        ("subprocess.run(['x'], text=True)", 1),
        ("subprocess.run(['x'])", 0),
        ("subprocess.run(['x'], text=True, encoding='utf-8')", 0),
    ],
)
def test_a_call_that_leaves_the_encoding_open_is_found(text: str, count: int) -> None:
    assert len(list(_bare(ast.parse(text)))) == count
