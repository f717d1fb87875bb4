"""What makes an example a program: its options, its folder, its Authority, its exit status."""

import argparse
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel

from deputize import Authority, SessionTree
from deputize_examples.screen import Screen
from deputize_examples.scripted import Part, ScriptedModel
from deputize_examples.service import Service

DONE: Final = 0
WRONG: Final = 1
USAGE: Final = 2
_SOURCES: Final = ("__pycache__", "*.py")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `facts`: sentences that the example looked up in its own data, and whether they hold."""

    answer: str
    tree: SessionTree
    heard: Mapping[str, Sequence[str]] = field(default_factory=dict)
    facts: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Example:
    """A program. `order`: what stands in its data for a model to read. `play` is given a model and a folder."""

    name: str
    about: str
    asked: str
    where: str
    order: str
    parts: Mapping[str, Part]
    play: Callable[[BaseChatModel, Path], Outcome]


def run(example: Example, argv: Sequence[str] | None = None) -> int:
    """Play an example and return the exit status: 0 if every fact holds, 1 if one does not, 2 for a wrong model."""
    parser = argparse.ArgumentParser(prog=f"python -m deputize_examples.{example.name}", description=example.about)
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model, as LangChain names it")
    parser.add_argument("--json", action="store_true", help="print data instead of words")
    options = parser.parse_args(argv)
    os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")  # nothing leaves this machine
    try:
        model = ScriptedModel(parts=example.parts) if options.model is None else init_chat_model(options.model)
    except (ImportError, ValueError) as error:
        parser.exit(USAGE, f"--model {options.model}: {error}\n")
    screen = Screen(quiet=options.json)
    screen.title(example.name.replace("_", " "), example.about)
    screen.asked(example.asked, example.where, example.order)
    with tempfile.TemporaryDirectory(prefix="deputize-example-") as folder, _refusals() as refusals:
        outcome = example.play(model, Path(folder))
    if options.json:
        sys.stdout.write(json.dumps(_data(outcome)) + "\n")
    screen.story(outcome.tree)
    screen.refusal(refusals)
    screen.heard(outcome.heard)
    screen.tree(outcome.tree)
    screen.end(outcome.answer, outcome.facts)
    return DONE if all(outcome.facts.values()) else WRONG


@contextmanager
def opened(example: str, folder: Path, services: Sequence[Service]) -> Iterator[Authority]:
    """The Authority of an example, and its services, for as long as the block runs.

    Its configuration is copied into `folder`, with the ports that are free here.
    """
    with resources.as_file(resources.files("deputize_examples") / example) as source:
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_SOURCES))
    config = folder / "deputize.toml"
    text = config.read_text(encoding="utf-8")
    for service in services:
        text = text.replace(service.written, service.url)
    config.write_text(text, encoding="utf-8")
    with ExitStack() as stack:
        authority = stack.enter_context(Authority.open(config))
        for service in services:
            stack.enter_context(service.trust(authority.issuer, folder))
        yield authority


def _data(outcome: Outcome) -> dict[str, object]:
    heard = {name: list(lines) for name, lines in outcome.heard.items()}
    return {"answer": outcome.answer, "tree": outcome.tree.to_dict(), "heard": heard, "facts": dict(outcome.facts)}


@contextmanager
def _refusals() -> Iterator[list[str]]:
    """What the plugin tells developers of each refusal while the block runs."""
    told: list[str] = []
    keeper = logging.Handler()
    keeper.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]  # all that it does
    logger = logging.getLogger("langchain_deputize")
    logger.addHandler(keeper)
    try:
        yield told
    finally:
        logger.removeHandler(keeper)
