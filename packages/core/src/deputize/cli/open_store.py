"""How commands find the authority that they speak to."""

from pathlib import Path
from typing import Annotated

import typer

from deputize.facade.authority import Authority

ConfigOption = Annotated[Path, typer.Option("--config", help="the authority's file")]
JsonOption = Annotated[bool, typer.Option("--json", help="print data instead of words")]
DEFAULT_CONFIG = Path("deputize.toml")


def open_authority(config: Path) -> Authority:
    """The embedded authority of a file; makes no key until something is signed."""
    return Authority.open(config)
