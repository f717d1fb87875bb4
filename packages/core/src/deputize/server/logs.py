"""Log lines: one JSON object each, or one line for people. Never a token, a body, a header or a trace of values."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal

Format = Literal["json", "text"]
FIELDS: Final = "deputize"  # of a record: members that stand beside the message
LOGGERS: Final = ("deputize", "deputize_mcp", "uvicorn.error")


class JsonLines(logging.Formatter):
    """`time` (RFC 3339, UTC), `level`, `logger`, `message`, and members of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """One line. Of an exception its type alone: its text and its frames may hold values."""
        return json.dumps(_members(record), ensure_ascii=True, separators=(",", ":"))


class TextLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; control characters are spelled out, so that nobody writes a line of his own."""
        members = _members(record)
        head = f"{members.pop('time')} {members.pop('level')} {members.pop('message')}"
        rest = " ".join(f"{name}={value}" for name, value in members.items() if name != "logger")
        line = f"{head} {rest}".rstrip()
        return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)


def set_up(kind: Format, level: str) -> None:
    """Send our loggers' lines to stderr, and nothing further up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper() if name != "uvicorn.error" else "WARNING")


def _members(record: logging.LogRecord) -> dict[str, object]:
    at = datetime.fromtimestamp(record.created, UTC)
    members: dict[str, object] = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    if record.exc_info and record.exc_info[0] is not None:
        members["exception"] = record.exc_info[0].__name__
    told = getattr(record, FIELDS, None)
    return members | told if isinstance(told, dict) else members
