"""A server that decides for one agent with tools of its own process, and tenuo's guard around the same tools."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from langchain_core.tools import BaseTool

from benchmarks.serving.client import HOST
from benchmarks.serving.process import environment, running
from benchmarks.serving.targets import SERVE
from benchmarks.workplace import Workplace
from deputize import Authority
from deputize.client.evidence import Unix
from deputize.server.listening import listen

_CONFIGURATION: Final = """
version = 1
[authority]
issuer = "http://{host}:{port}"
users = "unrestricted"
[store]
url = "sqlite:{store}"
durability = "normal"
[server]
port = {port}
rate = "1000000/s"
unix_socket = "{socket}"
[policy]
files = ["load.cedar"]
[agents.boss]
open = true
use = {{ local = [{tools}] }}
[[attestation]]
method = "unix"
workload = "load"
agents = ["boss"]
match = {{ uid = "{uid}" }}
"""
_POLICY: Final = """
@id("load-names-its-users")
permit (principal, action == Action::"grant", resource)
when { context.evidence == "asserted" && context.agent.workload.contains(Workload::"spiffe://local/workload/load") };
"""


@contextlib.contextmanager
def remote(place: Workplace, tools: Sequence[str]) -> Iterator[Authority]:
    """`deputize serve` in a process of its own, SQLite NORMAL; the client reaches it over a Unix socket."""
    with listen(HOST, 0) as found:
        port = int(found.getsockname()[1])
    socket, file = place.file(f"{port}.sock"), place.file(f"{port}.toml")
    named = ", ".join(f'"{tool}"' for tool in tools)
    text = _CONFIGURATION.format(
        host=HOST, port=port, store=place.file(f"{port}.db"), socket=socket, tools=named, uid=os.getuid()
    )
    Path(file).write_text(text, encoding="utf-8")
    Path(place.file("load.cedar")).write_text(_POLICY, encoding="utf-8")
    with (
        running([*SERVE, "--config", file], environ=environment()),
        Authority.connect(f"unix:{socket}", attestor=Unix()) as authority,
    ):
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
