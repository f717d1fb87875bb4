"""From a parsed mapping to a checked `Document`, with errors that say where and what would be right."""

import difflib
from collections.abc import Mapping
from typing import Final, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deputize.config.blame import Blame
from deputize.config.document import Document
from deputize.config.lines import KeyPath
from deputize.config.values import spell
from deputize.model.failure import ConfigurationError

_PLAIN: Final = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "datetime_type": "must be a date and time with offset, such as 2026-12-31T00:00:00Z",
}


def document_of(data: Mapping[str, object], blame: Blame) -> Document:
    """Check the shape. Raises ConfigurationError for the first wrong value, in the order of the text."""
    try:
        return Document.model_validate(data)
    except ValidationError as error:
        found = [(_path(item), item) for item in error.errors(include_url=False, include_input=False)]
    found.sort(key=lambda pair: (blame.line(pair[0]) or 0, [str(part) for part in pair[0]]))
    path, item = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise blame.error(path, _explain(path, item) + more)


def _path(item: ErrorDetails) -> KeyPath:
    return tuple(part for part in item["loc"] if part != "[key]")


def _explain(path: KeyPath, item: ErrorDetails) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            text = "unknown key" + _closest(path)
        case "literal_error":
            text = f"must be {context['expected']}"
        case "value_error":
            text = str(context["error"])
        case "less_than_equal":
            text = f"is at most {spell(context['le']) if _is_duration(path) else context['le']}"
        case "greater_than_equal":
            text = f"is at least {context['ge']}"
        case kind:
            text = _PLAIN.get(kind, item["msg"][:200])
    return text


def _closest(path: KeyPath) -> str:
    section = _section(path[:-1])
    near = difflib.get_close_matches(str(path[-1])[:64], section.model_fields, n=1) if section else []
    return f'; closest: "{near[0]}"' if near else ""


def _is_duration(path: KeyPath) -> bool:
    section = _section(path[:-1])
    field = section.model_fields.get(str(path[-1])) if section else None
    return field is not None and _reads_text(field.metadata)


def _section(path: KeyPath) -> type[BaseModel] | None:
    """The model that a path leads to, through tables and arrays of tables."""
    kind: object = Document
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif get_origin(kind) in {dict, list}:
            kind = get_args(kind)[-1]
        else:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def override(data: Mapping[str, object], environ: Mapping[str, str]) -> tuple[dict[str, object], dict[KeyPath, str]]:
    """`DEPUTIZE_<SECTION>_<KEY>` over the scalars of a file; also the names of the variables that spoke.

    Names that are no key are left alone: a platform may set variables with our prefix for other ends.
    """
    merged = dict(data)
    names: dict[KeyPath, str] = {}
    for section, key, annotation in _scalars():
        name = f"DEPUTIZE_{section}_{key}".upper()
        if name not in environ:
            continue
        table = merged.get(section, {})
        if isinstance(table, dict):
            merged[section] = {**table, key: _scalar(environ[name], annotation, name)}
            names[section, key] = name
    return merged, names


def _scalars() -> list[tuple[str, str, object]]:
    rows: list[tuple[str, str, object]] = []
    for section, field in Document.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            rows.extend(
                (section, key, None if inner.metadata and _reads_text(inner.metadata) else inner.annotation)
                for key, inner in model.model_fields.items()
                if get_origin(inner.annotation) not in {list, dict}
            )
    return rows


def _reads_text(metadata: list[object]) -> bool:
    return any(hasattr(item, "func") for item in metadata)


def _scalar(text: str, annotation: object, name: str) -> object:
    if annotation is int:
        try:
            return int(text)
        except ValueError:
            raise ConfigurationError(f"{name}: must be a whole number", path="environment", key=name) from None
    return text
