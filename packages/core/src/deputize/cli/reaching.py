"""Which authority an operator's command speaks to: the store of a file, or a server at a URL. One meaning for both."""

import contextlib
import getpass
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from deputize.authority.operating import Operating
from deputize.authority.operations import Operations
from deputize.cli.open_store import DEFAULT_CONFIG, open_engine
from deputize.client.connect import connect_operator
from deputize.client.operator import Operator
from deputize.client.operator_token import operator_token
from deputize.system import SystemClock

URL_VARIABLE: Final = "DEPUTIZE_URL"
TIMEOUT: Final = 30.0  # seconds of one request
UrlOption = Annotated[str | None, typer.Option("--url", help="a server's URL, instead of a file")]


def chosen(url: str | None, config: Path, store: str | None = None) -> str | None:
    """The URL that is meant: the option's, else the environment's where no file was named; None: the file.

    Raises typer.BadParameter where both were named.
    """
    named = store is not None or config != DEFAULT_CONFIG
    if url is not None and named:
        raise typer.BadParameter("name one: a server by --url, or a file by --config or --store")
    return url or (None if named else os.environ.get(URL_VARIABLE) or None)


@contextlib.contextmanager
def reached(config: Path, url: str | None, *, readonly: bool = True) -> Iterator[Operating]:
    """What an operator does, there. Raises ConfigurationError, StoreError, AuthorityUnavailable, Denied."""
    server = chosen(url, config)
    if server is not None:
        with remote(server) as operator:
            yield operator
        return
    with open_engine(config, readonly=readonly) as engine:
        yield Operations(engine, by=me())


@contextlib.contextmanager
def remote(url: str) -> Iterator[Operator]:
    """An operator at a server, by `DEPUTIZE_TOKEN` or the token that `deputize login` keeps."""
    clock = SystemClock()
    operator = connect_operator(
        url,
        timeout=TIMEOUT,
        clock=clock,
        operator_token=lambda issuer: operator_token(issuer, os.environ, now=clock.now()),
    )
    try:
        yield operator
    finally:
        operator.close()


def me() -> str:
    """Who acts on a store: the name that this machine knows the caller by."""
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError, ImportError):
        return f"cli:{os.getuid()}"
