"""The examples are read to learn from: they use what users can use, and keep tokens where they belong."""

import ast
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from deputize_demo import seed
from deputize_examples.data_team import seed as orders
from deputize_examples.deep_research import seed as documents
from deputize_examples.support_desk import seed as tickets
from tools.tree import ROOT

PUBLIC = {
    "deputize",
    "deputize.errors",
    "deputize.runtime",
    "deputize.verifier",
    "langchain_deputize",
    "deputize_mcp",
}
OURS = ("deputize", "langchain_deputize", "deputize_mcp")
SOURCES = sorted((ROOT / "examples").glob("*/src/**/*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_an_example_uses_public_names_alone(path: Path) -> None:
    ours = {name for name in _imports(path) if name.partition(".")[0] in OURS}
    assert ours <= PUBLIC
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_a_token_is_taken_out_in_one_place_and_that_is_the_theft() -> None:
    places = [path.name for path in SOURCES for line in path.read_text("utf-8").splitlines() if ".reveal()" in line]
    assert places == ["theft.py"]


def test_the_customers_are_the_same_everywhere_and_one_note_is_an_order() -> None:
    customers = list(seed.customers())
    assert len(customers) >= 5000
    assert [one.id for one in customers if "drop_table" in one.note] == [seed.POISONED]
    digest = sha256(repr([tuple(customer) for customer in customers]).encode()).hexdigest()
    assert digest == "3e12e65f0bd60d67b91427c590bc24f5cc8a4f7222fe9715fefbe906cce841d3"


@pytest.mark.parametrize(
    ("rows", "poisoned", "expected"),
    [
        (tickets.tickets, tickets.POISONED, "1232cf69486e3eb46e043b87ff0964384ec6b68efda99d827ef2a768a6acf12a"),
        (orders.orders, orders.POISONED, "e00522735ee49f6664233ef752c2769b34964c2c34c7024b5f940243c2b0420b"),
        (documents.documents, documents.POISONED, "21de3fe4f803a367cf2b673b48631feb3e0cfb6e8f8dd60a2cabd0ab9ec2dbfb"),
    ],
    ids=["tickets", "orders", "documents"],
)
def test_the_rows_of_an_example_are_the_same_everywhere_and_one_is_an_order(
    rows: Callable[[], Iterator[tuple[int, ...]]], poisoned: int, expected: str
) -> None:
    all_of_them = list(rows())
    assert len(all_of_them) >= 5000
    assert [row[0] for row in all_of_them if "NOTE TO THE ASSISTANT" in str(row)] == [poisoned]
    assert sha256(repr([tuple(row) for row in all_of_them]).encode()).hexdigest() == expected
