"""`deputize demo`: a churn report by three agents, and six attempts to make them do more than they may."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console

from deputize_demo.screen import Screen
from deputize_demo.servers import ServerFailed
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
        with Setting(rules=not options.without_rules) as setting:
            screen.title()
            outcome = _play(setting, screen, options.model)
    except KeyboardInterrupt:
        return INTERRUPTED
    except _NoModel as refusal:
        Console(stderr=True, highlight=False).print(str(refusal), markup=False)
        return USAGE
    except ServerFailed as failure:
        Console(stderr=True, highlight=False).print(str(failure), markup=False)
        return UNREACHABLE
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
    """Nothing leaves this machine, nothing but the story is printed, and being stopped is the same as Ctrl-C."""
    os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")
    logging.getLogger().addHandler(logging.NullHandler())
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _play(setting: Setting, screen: Screen, model: str | None) -> "Outcome":
    """LangChain is imported here, while the servers start."""
    from deputize_demo.story import play  # noqa: PLC0415  # see above

    chosen = _chat_model(model) if model is not None else None
    setting.analytics.wait()
    return asyncio.run(play(setting, screen, chosen))


class _NoModel(Exception):
    """LangChain knows no such model, or its package is not installed."""


def _chat_model(name: str) -> "BaseChatModel":
    from langchain.chat_models import init_chat_model  # noqa: PLC0415  # imported while the servers start

    try:
        return init_chat_model(name)
    except (ImportError, ValueError) as error:
        raise _NoModel(f"--model {name}: {error}") from error
