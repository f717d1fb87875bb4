"""`DEPUTIZE_<SECTION>_<KEY>`: variables that override scalars of the file."""

import difflib
import re
from collections.abc import Mapping
from typing import Final, NamedTuple, get_origin

from pydantic import BaseModel

from deputize.config.document import Document
from deputize.config.lines import KeyPath
from deputize.model.failure import ConfigurationError

# Other things that are handed over in variables. Those that a section's name begins are told apart by this list.
RESERVED: Final = frozenset({"DEPUTIZE_STORE_PASSWORD"})
# What Kubernetes sets in every pod of a namespace for each service in it, here one called `deputize-server`.
_SERVICE_LINK: Final = re.compile(
    r"DEPUTIZE_[A-Z0-9_]+_(?:SERVICE_(?:HOST|PORT(?:_.*)?)|PORT_[0-9]+_(?:TCP|UDP)(?:_.*)?)\Z"
)
# Overrides that change what is decided: they are part of a policy set, and a replica follows them.
_DECIDING: Final = frozenset(
    {("authority", "trust_domain"), ("authority", "users"), ("audit", "task_text"), ("audit", "retention")}
)


class Scalar(NamedTuple):
    """A key that a variable may override. `whole`: its value is a whole number, not text."""

    section: str
    key: str
    whole: bool

    @property
    def name(self) -> str:
        """The variable."""
        return f"DEPUTIZE_{self.section}_{self.key}".upper()

    @property
    def decides(self) -> bool:
        """Whether it is part of the policy set."""
        return self.section == "limits" or (self.section, self.key) in _DECIDING


def _tables() -> dict[str, type[BaseModel]]:
    """The sections that stand once in a file."""
    kinds = {section: field.annotation for section, field in Document.model_fields.items()}
    return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def scalars() -> list[Scalar]:
    """Every key that can be overridden, in the order of the file."""
    return [
        Scalar(section, key, inner.annotation is int and not _written_as_text(inner.metadata))
        for section, model in _tables().items()
        for key, inner in model.model_fields.items()
        if get_origin(inner.annotation) not in {list, dict}
    ]


def override(data: Mapping[str, object], environ: Mapping[str, str]) -> tuple[dict[str, object], dict[KeyPath, str]]:
    """The file's data with what variables say; also the names of the variables that spoke.

    Raises ConfigurationError for a variable that looks like one of ours and is none: a slip would be no override.
    """
    known = {scalar.name: scalar for scalar in scalars()}
    _refuse_slips(known, environ)
    merged = dict(data)
    names: dict[KeyPath, str] = {}
    for name, (section, key, whole) in known.items():
        if name not in environ:
            continue
        table = merged.get(section, {})
        if isinstance(table, dict):
            merged[section] = {**table, key: _number(environ[name], name) if whole else environ[name]}
            names[section, key] = name
    return merged, names


def deciding(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that change what is decided."""
    return {scalar.name: environ[scalar.name] for scalar in scalars() if scalar.decides and scalar.name in environ}


def _refuse_slips(known: Mapping[str, Scalar], environ: Mapping[str, str]) -> None:
    prefixes = tuple(f"DEPUTIZE_{section}_".upper() for section in _tables())
    for name in sorted(environ):
        if not name.startswith(prefixes) or name in known or name in RESERVED or _SERVICE_LINK.match(name):
            continue
        near = difflib.get_close_matches(name[:128], known, n=1)
        hint = f'; closest: "{near[0]}"' if near else ""
        text = f"{name[:128]}: overrides nothing: no scalar of the file goes by this name{hint}"
        raise ConfigurationError(text, path="environment", key=name[:128])


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigurationError(f"{name}: must be a whole number", path="environment", key=name) from None


def _written_as_text(metadata: list[object]) -> bool:
    """Durations and sizes are whole numbers that the file writes as text."""
    return any(hasattr(item, "func") for item in metadata)
