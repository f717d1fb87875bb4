"""`deputize init --from`: an object of the user's program, and what an adapter says that it would need."""

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Final

import typer

GROUP: Final = "deputize.scaffolds"


def scaffolded(source: str) -> str:
    """The text for `module:name`, from the first adapter that knows the object. Its module is imported: it runs.

    Raises ConfigurationError as the last adapter did, where none of them knows it.
    """
    from deputize.errors import ConfigurationError  # noqa: PLC0415  # as the commands load it

    found = _object(source)
    refusal: ConfigurationError | None = None
    for adapter in importlib.metadata.entry_points(group=GROUP):
        try:
            return str(adapter.load()(found))
        except ConfigurationError as error:
            refusal = error
    raise refusal or typer.BadParameter("no adapter for a framework is installed: pip install langchain-deputize")


def _object(source: str) -> object:
    module, _, name = source.partition(":")
    if not module or not name:
        raise typer.BadParameter("--from is module:name, as in agents:graph")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: object = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise typer.BadParameter(f"{source} cannot be imported: {error}") from None
    finally:
        sys.path.pop(0)
    return found() if callable(found) and not hasattr(found, "invoke") else found
