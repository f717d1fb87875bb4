"""The endpoints that verifiers read: `/revocations`, `/jwks`, `/checkpoint`. Functions for Starlette, no app.

Nobody gets a byte of the feed or of the log before `authenticate` has said who asks.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from hashlib import sha256
from typing import Final, Protocol
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from deputize.errors import oauth_error
from deputize.model.failure import DeputizeError, InvalidRequest
from deputize.model.request import Client
from deputize.server import answers
from deputize.server.feed_hub import FeedHub, log
from deputize.server.incoming import BODY
from deputize.server.rate import RATE_LIMITED
from deputize.wire.feed import CONTENT_TYPE, Head, answer_json, parse_head
from deputize.wire.json_strict import dumps

Authenticate = Callable[[Request], Awaitable[Client]]

JWKS_MAX_AGE: Final = 60  # seconds; a lease is published for ten minutes and renewed at half
FORM: Final = "application/x-www-form-urlencoded"
_UNAVAILABLE: Final = 503
_KEPT: Final = 1.0  # seconds for which the key set is not read again from a store that nobody wrote to
_MAX_DIGITS: Final = 16
_NO_STORE: Final = {"Cache-Control": "no-store"}
_CHALLENGE: Final = {"WWW-Authenticate": 'DPoP error="invalid_client"'}  # RFC 9110 §11.6.1


class Keys(Protocol):
    """What the key set is made of: `deputize.authority.key_book.KeyBook`."""

    def jwks(self) -> list[dict[str, object]]:
        """Public keys that are served now."""
        ...


class FeedEndpoints:
    """Three endpoints over one hub. `patience` (seconds): how long one write to a reader may take."""

    def __init__(self, hub: FeedHub, keys: Keys, authenticate: Authenticate, *, patience: float | None = None) -> None:
        self._hub = hub
        self._keys = keys
        self._authenticate = authenticate
        self._patience = 2 * hub.heartbeat if patience is None else patience
        self._jwks = b""
        self._jwks_count = -1
        self._jwks_until = float("-inf")

    async def revocations(self, request: Request) -> Response:
        """`GET|POST /revocations`: a stream of server-sent events, or one JSON answer where `wait=0`."""
        try:
            await self._authenticate(request)
        except DeputizeError as error:
            return _refused(error)
        try:
            after, head, waits = await _parameters(request)
            if not waits:
                return await self._answer(after, head)
            chunks = self._hub.follow(after, head)
            return EventStream(await anext(chunks), chunks, patience=self._patience)
        except DeputizeError as error:
            return failed(error)

    async def jwks(self, request: Request) -> Response:
        """`GET /jwks`: the public keys (RFC 7517 §5), for everybody; with `ETag` and `Cache-Control`."""
        try:
            body = await self._key_set()
        except DeputizeError as error:
            return failed(error)
        tag = f'"{sha256(body).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={JWKS_MAX_AGE}"}
        if tag in [item.strip() for item in request.headers.get("if-none-match", "").split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="application/jwk-set+json", headers=headers)

    async def checkpoint(self, request: Request) -> Response:
        """`GET /checkpoint`: the signed head of the log, a C2SP note."""
        try:
            await self._authenticate(request)
        except DeputizeError as error:
            return _refused(error)
        try:
            note = await asyncio.to_thread(self._hub.feed.checkpoint)
        except DeputizeError as error:
            return failed(error)
        return Response(note, media_type="text/plain; charset=utf-8", headers=_NO_STORE)

    async def _answer(self, after: int, head: Head | None) -> Response:
        page, beat = await self._hub.once(after, head)
        return Response(
            answer_json(self._hub.feed.issuer, page, beat), media_type="application/json", headers=_NO_STORE
        )

    async def _key_set(self) -> bytes:
        """Read again when somebody wrote to the store: a key that was just published is in the very next answer."""
        now = asyncio.get_running_loop().time()
        count = await asyncio.to_thread(self._hub.feed.changes)
        if now >= self._jwks_until or count != self._jwks_count:
            self._jwks = dumps({"keys": await asyncio.to_thread(self._keys.jwks)})
            self._jwks_count, self._jwks_until = count, now + _KEPT
        return self._jwks


class EventStream(Response):
    """Server-sent events. Ends with its source; a reader that does not take what is sent in time is cut off."""

    def __init__(self, first: bytes, chunks: AsyncGenerator[bytes, None], *, patience: float) -> None:
        super().__init__(media_type=CONTENT_TYPE, headers={**_NO_STORE, "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._chunks = chunks
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI: to the end of the source, or until the reader is gone."""
        del scope
        tasks = {asyncio.create_task(self._stream(send)), asyncio.create_task(_gone(receive))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._chunks.aclose()

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            await self._write(send, self._first)
            with contextlib.suppress(DeputizeError):  # the store failed: the stream ends, and nothing is said
                async for chunk in self._chunks:
                    await self._write(send, chunk)
        except TimeoutError:
            log.warning("a reader of the revocation feed takes nothing and is cut off")
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send, data: bytes) -> None:
        async with asyncio.timeout(self._patience):
            await send({"type": "http.response.body", "body": data, "more_body": True})


def failed(error: DeputizeError) -> Response:
    """An error as OAuth endpoints tell it (RFC 6749 §5.2): the code, never the message."""
    if error.code == RATE_LIMITED:
        return answers.refusal(error, authenticated=False)
    answer = oauth_error(error)
    return JSONResponse({"error": answer.error}, status_code=answer.status, headers=_NO_STORE)


def _refused(error: DeputizeError) -> Response:
    """Whoever did not prove who it is learns nothing else, unless nobody could be asked."""
    if oauth_error(error).status == _UNAVAILABLE:
        return failed(error)
    return JSONResponse({"error": "invalid_client"}, status_code=401, headers=_NO_STORE | _CHALLENGE)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _parameters(request: Request) -> tuple[int, Head | None, bool]:
    """`after` (or `Last-Event-ID`), `head` and `wait`, from the query or a form. Raises InvalidRequest."""
    given = parse_qs(request.url.query, keep_blank_values=True)
    if request.method == "POST" and request.headers.get("content-type", "").partition(";")[0].strip() == FORM:
        read = getattr(request.state, BODY, None)  # by whoever asked who it is
        body = await request.body() if read is None else read
        for name, values in parse_qs(body.decode("utf-8", "replace")).items():
            given.setdefault(name, []).extend(values)
    after, head, waits = given.get("after", []), given.get("head", []), given.get("wait", ["1"])
    if len(after) > 1 or len(head) > 1 or len(waits) != 1 or waits[0] not in {"0", "1"}:
        raise InvalidRequest("after is one cursor, head one head, and wait 0 or 1")
    cursor = after[0] if after else request.headers.get("last-event-id") or "0"
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < _MAX_DIGITS):
        raise InvalidRequest("a cursor is a number")
    return int(cursor), parse_head(head[0]) if head else None, waits[0] == "1"
