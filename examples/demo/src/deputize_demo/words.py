"""Small things that turn data into words."""

from collections.abc import Iterable, Mapping

Record = Mapping[str, object]


def name(spiffe_id: object) -> str:
    """`researcher` for `spiffe://churn.example/agent/researcher`."""
    return str(spiffe_id).rpartition("/")[2]


def person(subject: str) -> str:
    """`alice` for `local|alice`."""
    return subject.rpartition("|")[2]


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *most, last = sorted(names) or ["nothing"]
    return f"{', '.join(most)} and {last}" if most else last


def texts(value: object) -> list[str]:
    """A list of a record, as text."""
    return [str(item) for item in value] if isinstance(value, list) else []


def detail(record: Record) -> Record:
    """What a record holds beside the members that every record has."""
    found = record.get("detail")
    return found if isinstance(found, Mapping) else {}
