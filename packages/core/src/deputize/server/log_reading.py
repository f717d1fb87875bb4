"""Operators' endpoints about the log: records, the signed head, proofs (`docs/formats/proofs.md`)."""

from typing import Final

from starlette.responses import Response

from deputize.audit.proofs import record_members
from deputize.authority.operating import MAX_PAGE, RecordPage, Wanted
from deputize.server import answers
from deputize.server.desk import Asked, Errand, number
from deputize.wire.json_strict import dumps

PAGE: Final = 100
MAX_ANSWER: Final = 2 * 1024 * 1024  # bytes; a page ends before it, whatever `limit` says
_TEXTS: Final = (
    "session",
    "root",
    "agent",
    "user",
    "tool",
    "resource",
    "outcome",
    "type",
    "token",
    "call_id",
    "reference",
)


def records(asked: Asked) -> Response:
    """`GET /audit/records`: the newest that match, oldest first; those before are `below` a number."""
    told = asked.query(*_TEXTS, "since_ms", "until_ms", "limit", "below")
    found = asked.operations.records(
        Wanted(
            **{name: told[name] for name in _TEXTS if name in told},
            since_ms=number(told, "since_ms", None) if "since_ms" in told else None,
            until_ms=number(told, "until_ms", None) if "until_ms" in told else None,
        ),
        limit=max(number(told, "limit", PAGE, most=MAX_PAGE), 1),
        below=number(told, "below", None) if "below" in told else None,
    )
    return answers.json(_page(found))


def checkpoint(asked: Asked) -> Response:
    """`GET /audit/checkpoint`: the head of the log as it is now, signed."""
    asked.query()
    head = asked.operations.checkpoint()
    return answers.members(checkpoint=head.note, key=head.key)


def inclusion(asked: Asked) -> Response:
    """`GET /audit/proofs/inclusion?seq=&size=`."""
    told = asked.query("seq", "size")
    return answers.json(dumps(asked.operations.inclusion(number(told, "seq", None), number(told, "size", None))))


def consistency(asked: Asked) -> Response:
    """`GET /audit/proofs/consistency?first=&second=`."""
    told = asked.query("first", "second")
    first, second = number(told, "first", None), number(told, "second", None)
    return answers.json(dumps(asked.operations.consistency(first, second)))


def _page(found: RecordPage) -> bytes:
    """As many of the newest as fit."""
    kept: list[dict[str, object]] = []
    size = 0
    for record in reversed(found.records):
        members: dict[str, object] = dict(record_members(record, body=True))
        size += len(dumps(members))
        if kept and size > MAX_ANSWER:
            return dumps({"records": kept[::-1], "below": kept[-1]["seq"]})
        kept.append(members)
    return dumps({"records": kept[::-1], "below": found.below})


ERRANDS: Final = (
    Errand(path="/audit/records", method="GET", role="viewer", run=records),
    Errand(path="/audit/checkpoint", method="GET", role="viewer", run=checkpoint),
    Errand(path="/audit/proofs/inclusion", method="GET", role="viewer", run=inclusion),
    Errand(path="/audit/proofs/consistency", method="GET", role="viewer", run=consistency),
)
