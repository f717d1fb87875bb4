"""Ids that stand for the access of one call where only a message can tell which call it is.

A persistent MCP connection of the first SDK sends from a task that began before the call, so no context of the call
reaches the socket. What does is the message itself. It carries an id that opens nothing by itself; at the socket it
is looked up, once, in this table.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

import httpx

from deputize import Access
from deputize.runtime import no_session

KEY: Final = "deputize/call"  # in `_meta` of an MCP message


@dataclass(slots=True, eq=False)
class Handed:
    """The access of one message, and where it was sent to once it was. `probe`: a message that acts on nothing."""

    access: Access
    probe: bool = False
    url: str | None = None

    def for_this_origin(self) -> Access | None:
        """What the message is sent with: of a probe to another origin, nothing. Any other message is refused there."""
        elsewhere = self.url is None or not same_origin(self.url, self.access.resource)
        return None if self.probe and elsewhere else self.access


_WAITING: Final[dict[str, Handed]] = {}
_LOCK: Final = Lock()


@contextmanager
def handing(access: Access, *, probe: bool = False) -> Iterator[tuple[dict[str, str], Handed]]:
    """The `_meta` of one message, and what becomes of it. Afterwards the id stands for nothing."""
    handle = secrets.token_urlsafe(24)
    handed = Handed(access, probe=probe)
    with _LOCK:
        _WAITING[handle] = handed
    try:
        yield {KEY: handle}, handed
    finally:
        with _LOCK:
            _WAITING.pop(handle, None)


def collect(body: bytes, url: str) -> Handed | None:
    """What the id in this JSON-RPC message stands for, once; None for a message without one. Raises NoSession."""
    if KEY.encode() not in body:
        return None
    handle = _handle(body)
    if handle is None:
        return None
    with _LOCK:
        handed = _WAITING.pop(handle, None)
    if handed is None:
        raise no_session("a message stands for a tool call that has been sent or has ended; nothing was sent")
    handed.url = url
    return handed


def waiting() -> int:
    """How many ids stand for something."""
    return len(_WAITING)


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs have scheme, host and port in common (RFC 6454 §4). What is no URL has no origin."""
    try:
        first, second = httpx.URL(one), httpx.URL(other)
    except httpx.InvalidURL:
        return False
    return bool(first.host) and (first.scheme, first.host, first.port) == (second.scheme, second.host, second.port)


def _handle(body: bytes) -> str | None:
    try:
        message = json.loads(body)
    except ValueError:
        return None
    for name in ("params", "_meta", KEY):
        message = message.get(name) if isinstance(message, dict) else None
    return message if isinstance(message, str) else None
