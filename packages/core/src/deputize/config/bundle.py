"""A policy set as texts: what decides, with nothing of one replica in it, to be kept in the store.

A bundle holds the main file less its `[server]` and `[store]`, every file that it includes, every policy file,
what each pattern matched, and the variables that overrode something that decides. Read again it gives the
policy set of the same digest, on any machine.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deputize.config.files import KeptFiles, Matches
from deputize.config.lines import without_tables
from deputize.model.failure import ConfigurationError

OF_ONE_REPLICA: Final = frozenset({"server", "store"})
VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`files`: name -> text, `main` among them. `environment`: variable -> value. `asserted`: see Configuration."""

    main: str
    files: Mapping[str, str]
    matches: Matches = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    asserted: bool = True

    def text(self) -> str:
        """Canonical JSON: sorted members, no spaces."""
        members: dict[str, object] = {
            "environment": dict(self.environment),
            "files": dict(self.files),
            "main": self.main,
            "matches": {
                folder: {key: list(names) for key, names in rows.items()} for folder, rows in self.matches.items()
            },
            "version": VERSION,
        }
        if not self.asserted:
            members["asserted"] = False
        return json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    def opened(self) -> KeptFiles:
        """Its files, to be read."""
        return KeptFiles(self.files, self.matches)


def parse_bundle(text: str) -> Bundle:
    """Read what `Bundle.text` wrote. Raises ConfigurationError."""
    try:
        members = json.loads(text)
        if members["version"] != VERSION:
            raise ConfigurationError("this policy set was written by a newer release")
        return Bundle(
            main=_text(members["main"]),
            files={_text(name): _text(item) for name, item in members["files"].items()},
            matches={
                _text(folder): {_text(key): tuple(map(_text, names)) for key, names in rows.items()}
                for folder, rows in members["matches"].items()
            },
            environment={_text(name): _text(item) for name, item in members["environment"].items()},
            asserted=members.get("asserted", True) is not False,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigurationError("this policy set cannot be read: it is not the JSON of one") from None


def shared_text(text: str, path: str) -> str:
    """The text of a main file without the tables of one replica; every other line stays where it was.

    Raises ConfigurationError where what is left would say something else.
    """
    left = without_tables(text, OF_ONE_REPLICA)
    data = tomllib.loads(text)
    try:
        same = tomllib.loads(left) == {key: value for key, value in data.items() if key not in OF_ONE_REPLICA}
    except tomllib.TOMLDecodeError:
        same = False
    if not same:
        raise ConfigurationError("[server] and [store] cannot be told from the rest; write them as tables", path=path)
    return left


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
