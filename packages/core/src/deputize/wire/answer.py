"""Reading what a server of ours answered: a member of another form makes the whole answer none of ours."""

from collections.abc import Mapping

from deputize.model.failure import InvalidRequest


def bad_response(reason: str) -> InvalidRequest:
    """The refusal of an answer that a server of ours does not give."""
    return InvalidRequest(reason, code="invalid_response")


def text(value: object) -> str:
    """A text with something in it. Raises TypeError."""
    if not isinstance(value, str) or not value:
        raise TypeError("text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """A list of such texts. Raises TypeError."""
    if not isinstance(value, list):
        raise TypeError("list")
    return tuple(text(item) for item in value)


def number(value: object) -> int:
    """A whole number, and no truth value. Raises TypeError."""
    if type(value) is not int:
        raise TypeError("number")
    return value


def objects(value: object) -> list[Mapping[str, object]]:
    """A list of objects. Raises TypeError."""
    if not isinstance(value, list):
        raise TypeError("list")
    found: list[Mapping[str, object]] = [item for item in value if isinstance(item, dict)]
    if len(found) != len(value):
        raise TypeError("objects")
    return found
