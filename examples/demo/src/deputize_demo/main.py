"""`deputize demo`: a churn report by three agents, and six attempts to make them do more than they may."""

import argparse
import asyncio
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console

from deputize_demo.failures import ModelFailed, NoModel, ServerFailed
from deputize_demo.screen import Screen
from deputize_demo.setting import Setting

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from deputize_demo.story import Outcome

DONE: Final = 0
WRONG: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130


def run(argv: Sequence[str]) -> int:
    """Play the demo and return the exit status: 0 only if everything came out as it should."""
    options = _options(argv)
    _keep_quiet()
    screen = Screen(Console(highlight=False, quiet=options.json))
    try:
        model = _chat_model(options.model) if options.model is not None else None
        with Setting(rules=not options.without_rules) as setting:
            screen.title()
            outcome = _play(setting, screen, model)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (NoModel, ServerFailed, ModelFailed) as failure:
        Console(stderr=True, highlight=False).print(str(failure), markup=False)
        return USAGE if isinstance(failure, NoModel) else UNREACHABLE
    if options.json:
        data = {"checks": [check.to_dict() for check in outcome.checks.done]}
        sys.stdout.write(json.dumps({**data, "tree": outcome.tree.to_dict(), "records": outcome.records}) + "\n")
    screen.summary(outcome.tree, outcome.checks.done, outcome.records)
    return DONE if outcome.checks.ok else WRONG


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="deputize demo", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print data instead of words")
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model for the report, as LangChain names it")
    parser.add_argument(
        "--without-rules", action="store_true", help="leave out policies/house.cedar, and see what breaks"
    )
    return parser.parse_args(list(argv))


def _keep_quiet() -> None:
    """Nothing but the story is printed, none of it leaves this machine, and being stopped is the same as Ctrl-C."""
    os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no arrows still gets the words
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _play(setting: Setting, screen: Screen, model: "BaseChatModel | None") -> "Outcome":
    """LangChain is imported here, while the servers start."""
    from deputize_demo.story import play  # noqa: PLC0415  # see above

    setting.analytics.wait()
    return asyncio.run(play(setting, screen, model))


def _chat_model(name: str) -> "BaseChatModel":
    from langchain.chat_models import init_chat_model  # noqa: PLC0415  # only for who asks for a real model

    try:
        return init_chat_model(name)
    except (ImportError, ValueError) as error:
        raise NoModel(f"--model {name}: {error}") from error
