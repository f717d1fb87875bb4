"""Where a wrong value stands: file, line and key path, for the one who has to mend it."""

import re
from collections.abc import Mapping

from deputize.config.lines import KeyPath
from deputize.model.failure import ConfigurationError

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

    def line(self, key: KeyPath) -> int | None:
        """The line of the key, or of the nearest table around it."""
        for length in range(len(key), 0, -1):
            found = self._lines.get(key[:length])
            if found is not None:
                return found
        return None

    def error(self, key: KeyPath, message: str) -> ConfigurationError:
        """An error to be raised, at this key."""
        outside = self._names.get(key)
        if outside is not None:
            return ConfigurationError(f"{outside}: {message}", path="environment", key=outside)
        name = spell_key(key)
        text = f"{name}: {message}" if name else message
        return ConfigurationError(text, path=self.path, line=self.line(key), key=name or None)
