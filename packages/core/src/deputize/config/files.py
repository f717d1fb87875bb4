"""Where the texts of a configuration come from: a folder, or a bundle that was made of one."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final, Protocol

from deputize.model.failure import ConfigurationError

MAX_FILE: Final = 8 * 1024 * 1024  # bytes

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
Matches = Mapping[str, Mapping[str, tuple[str, ...]]]  # folder -> pattern -> names


class Files(Protocol):
    """Texts by name. A name is a path from the main file's folder, with `/`; a folder is one too, "" the main one."""

    def read(self, name: str) -> str:
        """The text. Raises ConfigurationError."""
        ...

    def matching(self, pattern: str, folder: str) -> tuple[str, ...]:
        """Names that a path or pattern in a file of `folder` stands for, sorted."""
        ...

    def inside(self, name: str, folder: str) -> bool:
        """Whether the file really lies in `folder` or below, links followed."""
        ...

    def same(self, name: str) -> str:
        """One spelling for all names of one file."""
        ...

    def shown(self, name: str) -> str:
        """The file as messages call it."""
        ...


class DiskFiles:
    """A folder. Keeps what was read and what patterns matched, so that a bundle can be made of it."""

    def __init__(self, root: Path, appended: Mapping[str, str] = NOTHING) -> None:
        self.root = root
        self._appended = appended  # name -> text that follows what the file says
        self.texts: dict[str, str] = {}
        self.matches: dict[str, dict[str, tuple[str, ...]]] = {}

    def read(self, name: str) -> str:
        """The text, at most 8 MiB of UTF-8."""
        file = self.root / name
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"cannot be read: {error.strerror}", path=str(file)) from None
        if len(raw) > MAX_FILE:
            raise ConfigurationError("is larger than 8 MiB", path=str(file))
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            raise ConfigurationError("is not UTF-8 text", path=str(file), line=line) from None
        text += self._appended.get(name, "")
        self.texts[name] = text
        return text

    def matching(self, pattern: str, folder: str) -> tuple[str, ...]:
        """Files, not folders."""
        names = tuple(self._name(path) for path in _glob(pattern, self.root / folder))
        self.matches.setdefault(folder, {})[pattern] = names
        return names

    def inside(self, name: str, folder: str) -> bool:
        """By the real paths."""
        return (self.root / name).resolve().is_relative_to((self.root / folder).resolve())

    def same(self, name: str) -> str:
        """The real path."""
        return str((self.root / name).resolve())

    def shown(self, name: str) -> str:
        """The path."""
        return str(self.root / name)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()


class KeptFiles:
    """Texts that were read before. Nothing is looked up on a disk."""

    def __init__(self, texts: Mapping[str, str], matches: Matches) -> None:
        self._texts = texts
        self._matches = matches

    def read(self, name: str) -> str:
        """As it was kept."""
        text = self._texts.get(name)
        if text is None:
            raise ConfigurationError("is not in the policy set", path=name)
        return text

    def matching(self, pattern: str, folder: str) -> tuple[str, ...]:
        """What it matched then."""
        return self._matches.get(folder, {}).get(pattern, ())

    def inside(self, name: str, folder: str) -> bool:
        """By the names."""
        return ".." not in PurePosixPath(name).parts and PurePosixPath(name).is_relative_to(folder)

    def same(self, name: str) -> str:
        """The name."""
        return name

    def shown(self, name: str) -> str:
        """The name."""
        return name


def folder_of(name: str) -> str:
    """The folder that a file's own patterns start at."""
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


def _glob(pattern: str, base: Path) -> list[Path]:
    if not any(sign in pattern for sign in "*?["):
        return [base / pattern] if (base / pattern).is_file() else []
    plain = Path(pattern)
    root = Path(plain.anchor) if plain.is_absolute() else base
    relative = plain.relative_to(plain.anchor) if plain.is_absolute() else plain
    try:
        return sorted(path for path in root.glob(str(relative)) if path.is_file())
    except (ValueError, NotImplementedError):
        return []
