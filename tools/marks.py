"""Finds pytest marks by reading the source, so that a file which fails to import is counted too."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.tree import committed, relative


@dataclass(frozen=True, slots=True)
class Mark:
    """One use of `pytest.mark.<name>(...)`: where, and its string arguments."""

    name: str
    place: str
    arguments: tuple[str, ...]


def sources() -> list[Path]:
    """All committed `test_*.py` files."""
    return [path for path in committed() if path.suffix == ".py" and path.name.startswith("test_")]


@cache
def parsed(path: Path) -> ast.Module:
    """The file's syntax tree, read once."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def marks(path: Path) -> Iterator[Mark]:
    """The marks of a file, on tests, in `pytestmark` and in `pytest.param(marks=...)` alike."""
    listed = _listed(parsed(path))
    seen: set[int] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and (name := _marked(node.func)):
            seen.add(id(node.func))
            words = [word for argument in node.args for word in _words(argument, listed)]
            yield Mark(name, f"{relative(path)}:{node.lineno}", tuple(words))
        elif isinstance(node, ast.Attribute) and id(node) not in seen and (name := _marked(node)):
            yield Mark(name, f"{relative(path)}:{node.lineno}", ())


def _marked(node: ast.AST) -> str | None:
    """`name` of the expression `pytest.mark.name`, else None."""
    match node:
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="pytest"), attr="mark"), attr=name):
            return name
        case _:
            return None


def _words(argument: ast.expr, listed: dict[str, list[str]]) -> list[str]:
    match argument:
        case ast.Constant(value=str(word)):
            return [word]
        case ast.Name(id=name):
            return listed.get(name, [])
        case _:
            return []


def _listed(tree: ast.AST) -> dict[str, list[str]]:
    """Strings by the name that runs over them in a comprehension: `for row in ("AA-01", "AA-02")`."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.comprehension(target=ast.Name(id=name), iter=ast.Tuple(elts=items) | ast.List(elts=items)):
                strings = [item.value for item in items if isinstance(item, ast.Constant)]
                found.setdefault(name, []).extend(word for word in strings if isinstance(word, str))
            case _:
                pass
    return found
