"""From a parsed mapping to a checked `Document`, with errors that say where and what would be right."""

import difflib
from collections.abc import Mapping
from typing import Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from deputize.config.blame import Blame
from deputize.config.document import Document
from deputize.config.lines import KeyPath
from deputize.config.values import spell

S = TypeVar("S", bound=BaseModel)

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
    return checked_shape(Document, data, blame)


def checked_shape(shape: type[S], data: Mapping[str, object], blame: Blame) -> S:
    """`document_of` for any kind of file."""
    try:
        return shape.model_validate(data)
    except ValidationError as error:
        found = [(_path(item), item) for item in error.errors(include_url=False, include_input=False)]
    found.sort(key=lambda pair: (blame.line(pair[0]) or 0, [str(part) for part in pair[0]]))
    path, item = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise blame.error(path, _explain(shape, path, item) + more)


def _path(item: ErrorDetails) -> KeyPath:
    return tuple(part for part in item["loc"] if part != "[key]")


def _explain(shape: type[BaseModel], path: KeyPath, item: ErrorDetails) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "extra_forbidden":
            text = "unknown key" + _closest(shape, path)
        case "literal_error":
            text = f"must be {context['expected']}"
        case "value_error":
            text = str(context["error"])
        case "less_than_equal":
            text = f"is at most {spell(context['le']) if _is_duration(shape, path) else context['le']}"
        case "greater_than_equal":
            text = f"is at least {context['ge']}"
        case kind:
            text = _PLAIN.get(kind, item["msg"][:200])
    return text


def _closest(shape: type[BaseModel], path: KeyPath) -> str:
    section = _section(shape, path[:-1])
    near = difflib.get_close_matches(str(path[-1])[:64], section.model_fields, n=1) if section else []
    return f'; closest: "{near[0]}"' if near else ""


def _is_duration(shape: type[BaseModel], path: KeyPath) -> bool:
    section = _section(shape, path[:-1])
    field = section.model_fields.get(str(path[-1])) if section else None
    return field is not None and _reads_text(field.metadata)


def _section(shape: type[BaseModel], path: KeyPath) -> type[BaseModel] | None:
    """The model that a path leads to, through tables and arrays of tables."""
    kind: object = shape
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif get_origin(kind) in {dict, list}:
            kind = get_args(kind)[-1]
        else:
            return None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _reads_text(metadata: list[object]) -> bool:
    return any(hasattr(item, "func") for item in metadata)
