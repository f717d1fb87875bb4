"""The ASGI messages that the guard deals in (ASGI 3.0, HTTP and lifespan)."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from deputize_mcp.body import Malformed

# The values of a message differ by its type; ASGI itself types them no closer.
Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
RawHeaders = Iterable[tuple[bytes, bytes]]

TOO_LARGE: Final = 413
OTHER_ENCODING: Final = 415
_CHARSET: Final = re.compile(rb"charset\s*=\s*\"?([^\s;\",]*)", re.IGNORECASE)


def header(headers: RawHeaders, name: bytes) -> bytes | None:
    """The first value of a header; `name` in lower case."""
    return next((value for found, value in headers if found.lower() == name), None)


async def read_body(headers: RawHeaders, receive: Receive, most: int) -> bytes | None:
    """The whole body, or None where the client went away. Raises Malformed: above `most` bytes, or not plain UTF-8."""
    _check_encoding(headers)
    announced = header(headers, b"content-length")
    if announced is not None and (not announced.isdigit() or int(announced[:20]) > most):
        raise _too_large(most)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(most)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once, then whatever comes after it (the client's going away)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


async def respond(scope: Scope, send: Send, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
    """One whole response."""
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _check_encoding(headers: RawHeaders) -> None:
    """An application that decodes what the guard read as it stands would see another body. Raises Malformed (415)."""
    for name, value in headers:
        plain = True
        if name.lower() == b"content-encoding":
            plain = value.strip().lower() in {b"", b"identity"}
        elif name.lower() == b"content-type":
            plain = all(charset.lower() in {b"utf-8", b"utf8"} for charset in _CHARSET.findall(value))
        if not plain:
            raise Malformed("the body is JSON in UTF-8, without a content encoding", status=OTHER_ENCODING)


def _too_large(most: int) -> Malformed:
    return Malformed(f"the body has more than {most} bytes", status=TOO_LARGE)
