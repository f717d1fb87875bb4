"""What both MCP servers of the demo share: how they are started, how they end, and what they print."""

import argparse
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from deputize_demo.words import name
from deputize_mcp import AgentGuard, get_caller


@dataclass(frozen=True, slots=True)
class Options:
    """What a server is told. `socket`: an open listening socket, inherited, so that no port is guessed."""

    authority: Path
    url: str
    database: Path
    socket: int


def options() -> Options:
    """From the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--authority", type=Path, required=True, help="the deputize.toml that it trusts")
    parser.add_argument("--url", required=True, help="what clients call it")
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--socket", type=int, required=True, help="number of an inherited listening socket")
    return Options(**vars(parser.parse_args()))


def serve(make: Callable[[], AgentGuard], listening: int) -> None:
    """Run until standard input ends: when the demo goes away, however that happens, so does its server."""
    server = uvicorn.Server(uvicorn.Config(make(), log_level="error", access_log=False, timeout_graceful_shutdown=1))

    def wait() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=wait, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=listening)])


def tell_who_calls(tool: str) -> None:
    """One line on standard output: who called, for whom, through whom, with which scopes."""
    caller = get_caller()
    through = ", ".join(name(actor) for actor in caller.chain[1:]) or "nobody"
    scopes = " ".join(sorted(caller.scopes))
    sys.stdout.write(f"{name(caller.agent)} calls {tool} for {caller.subject} via {through} with {scopes}\n")
    sys.stdout.flush()
