"""`deputize`: the commands, and where their errors become words and an exit status."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deputize.cli import agent, audit, login, policy, serve, session, store
from deputize.cli.audit_print import data, write_out
from deputize.cli.open_store import JsonOption
from deputize.cli.scaffolding import scaffolded
from deputize.config import starter
from deputize.errors import AuthorityUnavailable, Denied, DeputizeError, IntegrityError, NotFound, StoreError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Identity and delegated authority for multi-agent AI: who did what, for whom, and how to cut it off.",
)
app.add_typer(session.app, name="session")
app.add_typer(agent.app, name="agent")
login.add(app)
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")
app.add_typer(store.app, name="store")
app.command(name="serve")(serve.serve)

NEGATIVE, USAGE, UNREACHABLE, NOT_PERMITTED = 1, 2, 3, 4
# What a server says to whoever is no operator of it, or not of that role; and what is said before it is asked.
_NOT_PERMITTED = frozenset({"insufficient_role", "invalid_token", "no_operator_token", "login_refused"})
DEMO_GROUP = "deputize.demo"
COMMANDS_GROUP = "deputize.commands"


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="the file to write")] = Path("deputize.toml"),
    *,
    source: Annotated[str | None, typer.Option("--from", help="a graph of your program: module:name")] = None,
    json: JsonOption = False,
) -> None:
    """Write a commented deputize.toml to start from, or what a graph of yours would need."""
    text = starter() if source is None else scaffolded(source)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{path} exists already; nothing was written") from None
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from None
    if json:
        data({"path": str(path)})
    else:
        Console(highlight=False, soft_wrap=True).print(Text(f"wrote {path}; next: Authority.open({str(path)!r})"))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def demo(context: typer.Context) -> None:
    """Run the demonstration: a supervisor, two sub-agents, a guarded MCP server, and six attacks."""
    found = importlib.metadata.entry_points(group=DEMO_GROUP)
    if not found:
        Console(stderr=True).print("the demonstration is not installed here; in the repository: make demo")
        raise typer.Exit(UNREACHABLE)
    run = next(iter(found)).load()
    raise typer.Exit(int(run(list(context.args))))


@app.command()
def version(*, json: JsonOption = False) -> None:
    """Print the version."""
    found = importlib.metadata.version("deputize")
    if json:
        data({"version": found})
    else:
        write_out(f"{found}\n")


def main() -> None:
    """Run the command line; our errors are printed without a traceback."""
    for plugin in importlib.metadata.entry_points(group=COMMANDS_GROUP):
        app.add_typer(plugin.load(), name=plugin.name)
    try:
        app()
    except DeputizeError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(str(error), markup=False)
        sys.exit(status_of(error))


def status_of(error: DeputizeError) -> int:
    """The exit status: 1 a negative answer, 2 usage, 3 unreachable, 4 not permitted."""
    if error.code in _NOT_PERMITTED:
        return NOT_PERMITTED
    if isinstance(error, (AuthorityUnavailable, StoreError)):
        return UNREACHABLE
    return NEGATIVE if isinstance(error, (Denied, NotFound, IntegrityError)) else USAGE
