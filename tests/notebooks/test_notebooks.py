"""The notebooks run from top to bottom, say what their words say, and look right in a browser."""

import re
from collections.abc import Callable
from typing import Any

import nbformat
import pytest

from tests.notebooks.conftest import NOTEBOOKS, Ran

Run = Callable[[str], Ran]
Look = Callable[[str], dict[str, Any]]
TOKEN = re.compile(r"eyJ[\w-]{8,}")  # how every token of ours begins
GREEN, RED = "rgb(46, 125, 50)", "rgb(198, 40, 40)"


def test_the_quickstart_shows_the_injection_obeyed_and_refused(run: Run) -> None:
    ran = run("quickstart")
    assert "delete_customers" in ran.html[0]
    assert "the log holds: True" in ran.text
    assert "session_revoked" in ran.text
    assert 'use = { local = ["delete_customers", "read_customers"] }' in ran.text


def test_nothing_that_the_attacker_tries_works(run: Run) -> None:
    ran = run("attacker")
    ended = re.compile(r"[\w ]+: ([a-zA-Z_]+)(, by|$)")
    tries = [found[1] for line in ran.text.splitlines() if (found := ended.match(line))]
    assert "IT WORKED" not in ran.text
    assert [word for word in tries if word != "True"] == [
        "TypeError",
        "TypeError",
        "access_denied",
        "access_denied",
        "invalid_scope",
        "access_denied",
        "wrong_audience",
        "invalid_signature",
        "invalid_signature",
        "False",
        "token_revoked",
        "session_revoked",
        "session_revoked",
    ]


@pytest.mark.requirement("I9")
@pytest.mark.parametrize("name", ["quickstart", "attacker"])
def test_no_token_is_in_what_a_notebook_puts_out(run: Run, name: str) -> None:
    assert not TOKEN.search(run(name).text + "".join(run(name).html))


@pytest.mark.parametrize("name", ["quickstart", "attacker"])
def test_a_notebook_is_committed_without_outputs(name: str) -> None:
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    nbformat.validate(book)
    assert all(cell.get("outputs", []) == [] and cell.get("execution_count") is None for cell in book.cells)


@pytest.mark.parametrize(("name", "shown"), [("quickstart", 0), ("quickstart", 1), ("attacker", 0)])
def test_a_tree_in_a_browser_is_coloured_opens_and_asks_for_nothing(
    run: Run, look: Look, name: str, shown: int
) -> None:
    seen = look(run(name).html[shown])
    assert (seen["trouble"], seen["wide"]) == ([], False)
    assert (seen["ok"] or GREEN, seen["no"]) == (GREEN, RED)
    assert "on behalf of local|alice" in seen["closed"]
    assert "policy" not in seen["closed"].split()
    assert {"policy", "reference", "record", "began"} <= set(seen["open"].split())
    assert "session opened" in seen["open"]
