"""`deputize policy`: check a configuration, move the store to it, ask what would be decided."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from deputize.authority.engine import Engine
from deputize.authority.explain import Explanation
from deputize.authority.operations import Operations
from deputize.authority.rules import rules_of
from deputize.cli import rollout
from deputize.cli.audit_print import data, write_out
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption
from deputize.cli.reaching import UrlOption, chosen, me, reached, remote
from deputize.config import load
from deputize.store.sqlite import open_sqlite
from deputize.system import SystemClock

app = typer.Typer(no_args_is_help=True, help="Policy: check, roll out and back, explain, suggest.")
rollout.add(app)
REFUSED = 1
_SHOWN = 12  # characters of a digest, for people


@app.command()
def check(*, config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Read and validate the configuration and its policy files; change nothing."""
    rules = rules_of(load(str(config), environ=os.environ))
    agents, resources = len(rules.registry.agents), len(rules.registry.resources)
    if json:
        data({"ok": True, "agents": agents, "resources": resources, "policy_set": rules.policy.digest})
        return
    counted = f"{_count(agents, 'agent')}, {_count(resources, 'resource')}"
    _print(f"{config}: good; {counted}, policy set {rules.policy.digest[:_SHOWN]}")


@app.command()
def explain(
    *,
    chain: Annotated[str, typer.Option(help="agents, first to last, separated by commas")],
    tool: Annotated[str | None, typer.Option(help="a tool's name")] = None,
    resource: Annotated[str | None, typer.Option(help="alias or URL")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="may repeat")] = None,
    user: Annotated[str | None, typer.Option(help="for whom; left out: the first agent itself")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    url: UrlOption = None,
    json: JsonOption = False,
) -> None:
    """Dry run, hop by hop: of this file, without a store; or of a server's set. Nothing is issued or recorded."""
    names = [name.strip() for name in chain.split(",")]
    server = chosen(url, config)
    if server is None:
        found = _dry_run(config, names, tool=tool, resource=resource, scopes=scope or (), user=user)
    else:
        with remote(server) as operator:
            found = operator.explain(chain=names, tool=tool, scopes=scope or (), resource=resource, user=user)
    if json:
        data({"allowed": found.allowed, "hops": [hop.to_dict() for hop in found.hops]})
    else:
        _print(str(found))
    raise typer.Exit(0 if found.allowed else REFUSED)


@app.command()
def suggest(*, config: ConfigOption = DEFAULT_CONFIG, url: UrlOption = None, json: JsonOption = False) -> None:
    """TOML that would have allowed every refusal in the log. To be reviewed and cut."""
    with reached(config, url) as authority:
        text = authority.suggest(None)
    if json:
        data({"toml": text})
    else:
        write_out(text)


def _dry_run(
    config: Path, names: list[str], *, tool: str | None, resource: str | None, scopes: Sequence[str], user: str | None
) -> Explanation:
    with contextlib.closing(_dry(config)) as engine:
        asked = Operations(engine, by=me())
        return asked.explain(chain=names, tool=tool, scopes=scopes, resource=resource, user=user)


def _dry(config: Path) -> Engine:
    """The file's rules over an empty store: what is asked of policy alone."""
    configuration = load(str(config), environ=os.environ)
    return Engine(configuration, store=open_sqlite(":memory:"), clock=SystemClock(), decides=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _print(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(Text(text))
