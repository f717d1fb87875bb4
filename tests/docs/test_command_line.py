"""docs/command-line.md against the commands that there are, both ways."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from deputize.cli.main import app
from tools.tree import ROOT

PAGE = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
OWN_OPTIONS = "deputize demo"  # passes them on


def commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by the words that one types."""
    below = getattr(command, "commands", None)
    if not below:
        yield path, command
        return
    for name, inner in below.items():
        yield from commands(inner, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app), "deputize"))


def rows(command: str) -> dict[str, str]:
    """Option or argument -> its default, as the page has them."""
    found = re.search(rf"^## `{re.escape(command)}`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    lines = [line.split("|")[1:-1] for line in found[1].splitlines() if line.startswith("| `")]
    return {cells[0].strip().strip("`"): cells[1].strip().strip("`") for cells in lines}


def parameters(command: Any) -> dict[str, str]:
    """The same of the command itself."""
    found = {}
    for item in command.params:
        argument = item.param_type_name == "argument"
        name = (item.metavar or item.name).strip("[]").upper() if argument else item.opts[0]
        plain = item.default is None or item.default is False
        found[name] = "required" if item.required else "" if plain else str(item.default)
    return found


def test_every_command_is_documented_and_no_other() -> None:
    assert set(re.findall(r"^## `(deputize [a-z ]+)`$", PAGE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_and_defaults_of_a_command_are_those_of_its_page(command: str) -> None:
    assert rows(command) == parameters(COMMANDS[command])


def test_the_options_of_the_demonstration_are_named() -> None:
    source = (ROOT / "examples/demo/src/deputize_demo/main.py").read_text(encoding="utf-8")
    taken = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', source))
    found = re.search(rf"^## `{OWN_OPTIONS}`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert set(re.findall(r"`(--[a-z-]+)", found[1])) == taken


def both(parameter: Any) -> list[str]:
    """Its names, and those that say no."""
    return [*parameter.opts, *parameter.secondary_opts]


def test_no_option_is_spoken_of_that_is_not_there() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--help"}
    source = (ROOT / "examples/demo/src/deputize_demo/main.py").read_text(encoding="utf-8")
    there = {opt for command in COMMANDS.values() for item in command.params for opt in both(item)}
    assert named <= there | set(re.findall(r'"(--[a-z-]+)"', source))
