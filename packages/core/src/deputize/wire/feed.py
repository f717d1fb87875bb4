"""The revocation feed's bytes: entries, heartbeats, server-sent events. Format: `docs/formats/feed.md`.

Names of agents and users never travel: a reader that was shown one in a token knows its digest.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.revocation import Kind
from deputize.wire import base64url
from deputize.wire.json_strict import dumps, loads

CONTENT_TYPE: Final = "text/event-stream"
SNAPSHOT: Final = "snapshot"
ENTRY: Final = "entry"
HEARTBEAT: Final = "heartbeat"
MAX_LEEWAY: Final = 60  # seconds past `until` for which an entry stays: what the most patient verifier grants a token
PAGE: Final = 500  # entries of one `snapshot` event
MAX_EVENT: Final = 1 << 20  # bytes; what a reader holds of one event at most
MAX_ID: Final = 256  # characters

_KINDS: Final = {kind.value: kind for kind in Kind}
_MAX_NUMBER: Final = 2**53 - 1
_MAX_DIGITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """One cause of refusal. `until`, `before`: seconds since the epoch; `seq`: the record that tells of it.

    `id`: sid, jti or kid by kind; of an agent or user the digest of the name (`name_digest`).
    """

    kind: Kind
    id: str
    until: int
    seq: int
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """All that was revoked by `as_of` (milliseconds) has been told up to `cursor`. `checkpoint`: a C2SP note."""

    cursor: int
    as_of: int
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Entries in the order of the log, and the cursor behind them.

    `first` starts a snapshot, `last` ends it; a page of what followed a cursor is both False and True.
    """

    entries: tuple[FeedEntry, ...]
    cursor: int
    first: bool = False
    last: bool = True


@dataclass(frozen=True, slots=True)
class Head:
    """The log as a reader last heard of it: so many leaves, this root (RFC 9162 §2.1.1)."""

    size: int
    root: bytes

    def __str__(self) -> str:
        """As the parameter `head` has it."""
        return f"{self.size}.{base64url.encode(self.root)}"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event. `cursor`: its `id`, where it has one."""

    name: str
    data: bytes
    cursor: int | None = None


def name_digest(issuer: str, name: str) -> str:
    """base64url(SHA-256(issuer ‖ 0x00 ‖ name)): an issuer is a URL and has no NUL, so no two pairs meet."""
    raw = issuer.encode("utf-8", "surrogatepass") + b"\0" + name.encode("utf-8", "surrogatepass")
    return base64url.encode(sha256(raw).digest())


def entry_members(entry: FeedEntry) -> dict[str, object]:
    """An entry as JSON has it."""
    members: dict[str, object] = {"kind": entry.kind.value, "id": entry.id, "until": entry.until, "seq": entry.seq}
    if entry.before is not None:
        members["before"] = entry.before
    return members


def page_json(page: Page) -> bytes:
    """The data of a `snapshot` event."""
    return dumps(
        {
            "first": page.first,
            "last": page.last,
            "cursor": page.cursor,
            "entries": [entry_members(entry) for entry in page.entries],
        }
    )


def heartbeat_members(beat: Heartbeat) -> dict[str, object]:
    """A heartbeat as JSON has it."""
    return {"cursor": beat.cursor, "as_of": beat.as_of, "checkpoint": beat.checkpoint}


def answer_json(issuer: str, page: Page, beat: Heartbeat | None) -> bytes:
    """The answer to `wait=0`. The heartbeat is there only where the page is the last."""
    members = loads(page_json(page))
    members["issuer"] = issuer
    if beat is not None:
        members["heartbeat"] = heartbeat_members(beat)
    return dumps(members)


def event_bytes(name: str, data: bytes, cursor: int | None) -> bytes:
    """One server-sent event; `data` is JSON on one line. `cursor` is where a reader resumes after it."""
    mark = b"" if cursor is None else b"id: %d\n" % cursor
    return b"event: " + name.encode("ascii") + b"\n" + mark + b"data: " + data + b"\n\n"


def entry_events(entries: Iterable[FeedEntry], cursor: int) -> Iterator[bytes]:
    """Events of entries in order. A reader resumes only behind the last entry of one record."""
    held = list(entries)
    for number, entry in enumerate(held):
        following = held[number + 1].seq if number + 1 < len(held) else cursor
        yield event_bytes(ENTRY, dumps(entry_members(entry)), entry.seq + 1 if following > entry.seq else None)


def page_event(page: Page) -> bytes:
    """A page of a snapshot as an event."""
    return event_bytes(SNAPSHOT, page_json(page), page.cursor)


def heartbeat_event(beat: Heartbeat) -> bytes:
    """A heartbeat as an event."""
    return event_bytes(HEARTBEAT, dumps(heartbeat_members(beat)), beat.cursor)


def parse_head(text: str) -> Head:
    """The parameter `head`. Raises InvalidRequest."""
    size, _, root = text.partition(".")
    if not (size.isascii() and size.isdigit() and len(size) < _MAX_DIGITS):
        raise InvalidRequest("head is a size of the log, a dot and its root")
    try:
        return Head(int(size), base64url.decode_text(root, size=sha256().digest_size))
    except InvalidToken:
        raise InvalidRequest("head is a size of the log, a dot and its root") from None


def parse_entry(members: object) -> FeedEntry:
    """An entry. Raises InvalidRequest (`feed_malformed`), also for a kind that this reader could not apply."""
    if not isinstance(members, dict):
        raise _malformed("an entry is an object")
    kind, name, before = members.get("kind"), members.get("id"), members.get("before")
    if not isinstance(kind, str) or not isinstance(name, str) or not 0 < len(name) <= MAX_ID:
        raise _malformed("an entry has a kind and an id")
    known = _KINDS.get(kind)
    if known is None:
        raise _malformed("an entry is of a kind that is not known here")
    return FeedEntry(
        kind=known,
        id=name,
        until=_number(members, "until"),
        seq=_number(members, "seq"),
        before=None if before is None else _number(members, "before"),
    )


def parse_page(raw: bytes) -> Page:
    """A page of a snapshot. Raises InvalidRequest (`feed_malformed`)."""
    return _page(loads(raw, refuse=_malformed))


def parse_heartbeat(raw: bytes) -> Heartbeat:
    """A heartbeat. Raises InvalidRequest (`feed_malformed`)."""
    return _heartbeat(loads(raw, refuse=_malformed))


def parse_answer(raw: bytes, issuer: str) -> tuple[Page, Heartbeat | None]:
    """The answer to `wait=0`, of this issuer alone. Raises InvalidRequest (`feed_malformed`)."""
    members = loads(raw, refuse=_malformed)
    if members.get("issuer") != issuer:
        raise _malformed("it is the feed of another issuer")
    beat = members.get("heartbeat")
    if beat is not None and not isinstance(beat, dict):
        raise _malformed("a heartbeat is an object")
    return _page(members), None if beat is None else _heartbeat(beat)


def parse_entry_event(raw: bytes) -> FeedEntry:
    """The data of an `entry` event. Raises InvalidRequest (`feed_malformed`)."""
    return parse_entry(loads(raw, refuse=_malformed))


class EventReader:
    """Server-sent events out of bytes as they arrive (WHATWG HTML, "Interpreting an event stream").

    Holds at most `MAX_EVENT` bytes. Raises InvalidRequest (`feed_malformed`) for more.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._held = 0
        self._name = ""
        self._cursor: int | None = None

    def feed(self, chunk: bytes) -> Iterator[ServerEvent]:
        """The events that end in `chunk`. Lines end in LF or CRLF, as our server and proxies write them."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > MAX_EVENT:
            raise _malformed("a line is too long")
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                yield event

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            name, data = self._name or "message", b"\n".join(self._data)
            event = ServerEvent(name, data, self._cursor) if self._data else None
            self._name, self._data, self._held, self._cursor = "", [], 0, None
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"id" and value.isdigit() and len(value) < _MAX_DIGITS:
            self._cursor = int(value)
        elif field == b"data":
            self._held += len(value)
            if self._held > MAX_EVENT:
                raise _malformed("an event is too large")
            self._data.append(value)
        return None


def _page(members: Mapping[str, object]) -> Page:
    entries, first, last = members.get("entries"), members.get("first"), members.get("last")
    if not isinstance(entries, list) or not isinstance(first, bool) or not isinstance(last, bool):
        raise _malformed("a page has entries, first and last")
    return Page(entries=tuple(map(parse_entry, entries)), cursor=_number(members, "cursor"), first=first, last=last)


def _heartbeat(members: Mapping[str, object]) -> Heartbeat:
    note = members.get("checkpoint")
    if not isinstance(note, str):
        raise _malformed("a heartbeat has a checkpoint")
    return Heartbeat(cursor=_number(members, "cursor"), as_of=_number(members, "as_of"), checkpoint=note)


def _number(members: Mapping[str, object], name: str) -> int:
    value = members.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise _malformed(f"{name} is a whole number")
    return value


def _malformed(reason: str) -> InvalidRequest:
    return InvalidRequest(f"not the revocation feed's form: {reason}", code="feed_malformed")
