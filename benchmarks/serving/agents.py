"""A server that decides for one agent with tools of its own process, and tenuo's guard around the same tools."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool

from benchmarks.serving.targets import served
from benchmarks.workplace import Workplace
from deputize import Authority


@contextlib.contextmanager
def remote(place: Workplace, tools: Sequence[str]) -> Iterator[Authority]:
    """`deputize serve` in a process of its own, SQLite NORMAL; the client reaches it over a Unix socket."""
    named = ", ".join(f'"{tool}"' for tool in tools)
    more = f"[agents.boss]\nopen = true\nuse = {{ local = [{named}] }}\n"
    with served(place, "remote.db", agent="boss", more=more) as (_, _, authority):
        yield authority


def tenuo(tools: Sequence[BaseTool]) -> tuple[list[BaseTool], Callable[[], contextlib.AbstractContextManager[Any]]]:
    """The tools under tenuo's guard, and the block in which they may be called: a warrant for them, minted anew.

    It prints a line for each call, which goes nowhere here.
    """
    from tenuo import Capability, SigningKey, configure, mint_sync  # noqa: PLC0415  # a peer, loaded for its own case
    from tenuo.langchain import guard_tools  # noqa: PLC0415  # as above

    configure(issuer_key=SigningKey.generate(), dev_mode=True)

    @contextlib.contextmanager
    def block() -> Iterator[None]:
        minted = mint_sync(*(Capability(tool.name) for tool in tools))
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere), minted:
            yield

    return list(guard_tools(list(tools))), block
