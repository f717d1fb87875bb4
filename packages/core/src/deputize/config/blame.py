"""Where a wrong value stands: file, line and key path, for the one who has to mend it."""

import re
from collections.abc import Mapping

from deputize.config.lines import KeyPath
from deputize.model.failure import ConfigurationError

_TABLES = frozenset({"use", "delegate"})
_ALIAS_AT = 3  # agents.<name>.use.<alias>
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def spell_key(path: KeyPath) -> str:
    """A key path as one would write it: `agents."a.b".use`, `users[0].issuer`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            quoted = part[:64] if _BARE.match(part) else '"' + part[:64].encode("unicode_escape").decode() + '"'
            text += f".{quoted}" if text else quoted
    return text


class Blame:
    """Makes errors that name their place. `names` are keys that came from elsewhere (the environment)."""

    def __init__(
        self, path: str = "", lines: Mapping[KeyPath, int] | None = None, names: Mapping[KeyPath, str] | None = None
    ) -> None:
        self.path = path
        self._lines = lines or {}
        self._names = names or {}

    def has(self, key: KeyPath) -> bool:
        """Whether the key is written in the file."""
        return key in self._lines

    def line(self, key: KeyPath) -> int | None:
        """The line of the key, or of the nearest table around it."""
        for length in range(len(key), 0, -1):
            found = self._lines.get(key[:length])
            if found is not None:
                return found
        return None

    def file(self, key: KeyPath) -> str:
        """The file that the key stands in."""
        del key
        return self.path

    def error(self, key: KeyPath, message: str) -> ConfigurationError:
        """An error to be raised, at this key."""
        outside = self._names.get(key)
        if outside is not None:
            return ConfigurationError(f"{outside}: {message}", path="environment", key=outside)
        name = spell_key(key)
        text = f"{name}: {message}" if name else message
        return ConfigurationError(text, path=self.path, line=self.line(key), key=name or None)


class MergedBlame(Blame):
    """Of a main file into which included files were merged: what came from them is looked up in them.

    `homes`: the first two parts of a key in the merged file -> the blame of its own file, and its name there.
    """

    def __init__(self, main: Blame, homes: Mapping[KeyPath, tuple[Blame, str]]) -> None:
        super().__init__(main.path)
        self._main = main
        self._homes = homes

    def line(self, key: KeyPath) -> int | None:
        """In the file that it came from."""
        blame, own = self._own(key)
        return blame.line(own)

    def file(self, key: KeyPath) -> str:
        """The file that it came from."""
        blame, own = self._own(key)
        return blame.file(own)

    def error(self, key: KeyPath, message: str) -> ConfigurationError:
        """With the file, line and key of where it was written."""
        blame, own = self._own(key)
        return blame.error(own, message)

    def _own(self, key: KeyPath) -> tuple[Blame, KeyPath]:
        home = self._homes.get(key[:2])
        if home is None:
            return self._main, key
        blame, name = home
        own: KeyPath = (key[0], name, *key[2:])
        if len(own) > _ALIAS_AT and own[2] in _TABLES:  # an alias may have been written without its namespace
            written = str(own[_ALIAS_AT]).rpartition("/")[2]
            plain = (*own[:_ALIAS_AT], written, *own[_ALIAS_AT + 1 :])
            own = own if blame.has(own[: _ALIAS_AT + 1]) else plain
        return blame, own
