"""`deputize store migrate | check | backup`: looking after the store itself."""

import os
from pathlib import Path
from typing import Annotated

import typer

from deputize.audit.verification import verify
from deputize.authority.stores import store_of
from deputize.cli.audit_print import data, write_out
from deputize.cli.open_store import DEFAULT_CONFIG, ConfigOption, JsonOption
from deputize.config import Configuration, load
from deputize.model.failure import ConfigurationError
from deputize.store.backup import back_up, quick_check
from deputize.store.opening import is_postgres

app = typer.Typer(no_args_is_help=True, help="The store itself: its schema, its soundness, a copy of it.")
_BROKEN = 1


@app.command()
def migrate(*, config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Make the store, or bring its schema to this release; nothing is lost."""
    configuration = _loaded(config)
    store_of(configuration).close()
    _say({"migrated": True}, "the store has the schema of this release", json=json)


@app.command()
def check(*, config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Look whether the store is whole: the database's own check, and every record of the log."""
    configuration = _loaded(config)
    problems = [] if is_postgres(configuration.store_url) else quick_check(configuration.store_url)
    store = store_of(configuration, create=False, readonly=True)
    try:
        report = store.read(verify)
        size = store.read(lambda tx: tx.size())
    finally:
        store.close()
    problems += [f"{finding.kind.value}: {finding.message}" for finding in report.findings if finding.breaks]
    words = f"{size} records, whole" if not problems else "\n".join(problems)
    _say({"records": size, "problems": list(problems)}, words, json=json)
    if problems:
        raise typer.Exit(_BROKEN)


@app.command()
def backup(
    path: Annotated[Path, typer.Argument(help="a new file, for its owner alone to read")],
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    json: JsonOption = False,
) -> None:
    """Copy a SQLite store while it is in use. PostgreSQL has pg_dump."""
    configuration = _loaded(config)
    if is_postgres(configuration.store_url):
        raise ConfigurationError(
            "a store in PostgreSQL is copied by its own tools: pg_dump, or a base backup", path=configuration.path
        )
    back_up(configuration.store_url, path)
    _say({"path": str(path)}, f"copied to {path}", json=json)


def _loaded(config: Path) -> Configuration:
    configuration = load(str(config), environ=os.environ)
    if ":memory:" in configuration.store_url:
        raise ConfigurationError("the store is in memory: there is nothing to look after", path=str(config))
    return configuration


def _say(told: dict[str, object], words: str, *, json: bool) -> None:
    if json:
        data(told)
    else:
        write_out(f"{words}\n")
