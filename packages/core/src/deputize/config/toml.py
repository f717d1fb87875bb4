"""TOML text to data, with the line of what is no TOML."""

import tomllib

from deputize.model.failure import ConfigurationError


def parse_toml(text: str, path: str) -> dict[str, object]:
    """Raises ConfigurationError with file and line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _place(str(error), text)
        raise ConfigurationError(f"not valid TOML: {reason}", path=path, line=line) from None
    except RecursionError:
        raise ConfigurationError("not valid TOML: nested too deeply", path=path) from None


def _place(message: str, text: str) -> tuple[str, int]:
    """`tomllib` says "<reason> (at line 3, column 7)" or "(at end of document)"."""
    reason, _, place = message.rpartition(" (at ")
    line = place.removeprefix("line ").partition(",")[0]
    return (reason or message)[:160], int(line) if line.isdecimal() else text.count("\n") + 1
