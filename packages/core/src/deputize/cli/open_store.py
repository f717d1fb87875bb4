"""How commands find the authority that they speak to."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from deputize.authority.engine import Engine
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.keys.anchor import anchor_from_environment
from deputize.model.failure import ConfigurationError
from deputize.system import SystemClock

ConfigOption = Annotated[Path, typer.Option("--config", help="the authority's file")]
JsonOption = Annotated[bool, typer.Option("--json", help="print data instead of words")]
DEFAULT_CONFIG = Path("deputize.toml")


@contextlib.contextmanager
def open_engine(config: Path, *, readonly: bool = True) -> Iterator[Engine]:
    """The authority of a file, to look and to cut off: it makes no key, no store and no policy active.

    Raises ConfigurationError, StoreError.
    """
    configuration = load(str(config), environ=os.environ)
    if ":memory:" in configuration.store_url:
        raise ConfigurationError(
            "the store is in memory: only the process that runs the authority can look into it",
            path=str(config),
            key="store.url",
        )
    anchor = anchor_from_environment(os.environ)
    store = store_of(configuration, create=False, readonly=readonly)
    try:
        yield Engine(configuration, store=store, clock=SystemClock(), anchor=anchor, decides=False)
    finally:
        store.close()
