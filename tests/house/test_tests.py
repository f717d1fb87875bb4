"""The tests keep their own rules: functions, no sleeping, no mocks, no expected failures, no matching on messages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.marks import parsed
from tools.tree import committed, relative

REFUSED_CALLS = {"time.sleep", "pytest.mark.xfail", "pytest.xfail"}
REFUSED_IMPORTS = {"unittest", "mock", "pytest_mock"}


def _breaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) if name.startswith("Test") and not node.bases:
                yield node.lineno, "a class of tests"
            case ast.Import(names=names) if any(one.name.partition(".")[0] in REFUSED_IMPORTS for one in names):
                yield node.lineno, "a mock"
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in REFUSED_IMPORTS:
                yield node.lineno, "a mock"
            case ast.Attribute() if ast.unparse(node) in REFUSED_CALLS:
                yield node.lineno, ast.unparse(node)
            case ast.Call(func=ast.Attribute(attr="raises" | "warns"), keywords=words):
                if any(word.arg == "match" for word in words):
                    yield node.lineno, "matching on a message"
            case ast.Call(func=func, args=[ast.Constant(value=int() | float() as seconds)]):
                if ast.unparse(func) in {"asyncio.sleep", "anyio.sleep"} and seconds > 0:
                    yield node.lineno, "sleeping"


def _tests() -> list[Path]:
    return [path for path in committed() if path.name == "conftest.py" or path.match("test_*.py")]


def test_every_test_keeps_the_rules() -> None:
    found = [f"{relative(path)}:{line}: {what}" for path in _tests() for line, what in _breaches(parsed(path))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "class TestThings:\n    def test_it(self): ...",
        "from unittest import mock",
        "import unittest.mock",
        "import time\ntime.sleep(1)",
        "@pytest.mark.xfail\ndef test_it(): ...",
        "with pytest.raises(ValueError, match='no'):\n    f()",
        "await asyncio.sleep(0.1)",
    ],
)
def test_a_breach_is_found(text: str) -> None:
    tree = compile(text, "test", "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert len(list(_breaches(tree))) == 1


def test_giving_way_to_others_is_no_sleep() -> None:
    assert list(_breaches(ast.parse("await asyncio.sleep(0)"))) == []
