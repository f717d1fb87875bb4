"""What stands around every request: its id, its address, its bounds, and what is told of it afterwards."""

import contextlib
import logging
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deputize.model.failure import AuthorityUnavailable
from deputize.server import answers, proxies
from deputize.server.figures import Figures
from deputize.server.limits import TOO_LARGE, Limits
from deputize.server.logs import FIELDS
from deputize.server.rate import RATE_LIMITED, Buckets, client_hint
from deputize.server.spans import Spans
from deputize.server.strangers import Strangers
from deputize.server.trace import TRACE, Trace
from deputize.wire.json_strict import dumps

OTHER: Final = "other"  # paths that are none of ours, in logs and figures
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_STRANGE: Final = frozenset({400, 401})
_MILLIS: Final = 1000
_LOG = logging.getLogger("deputize.request")
_FAILURES = logging.getLogger("deputize.server")


@dataclass(slots=True)
class Standing:
    """What changes of a process: how many requests it has in hand, and whether it takes leave."""

    in_hand: int = 0
    leaving: bool = False


class Outer:
    """ASGI, around the routes."""

    def __init__(  # what it stands around
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        endpoints: Mapping[str, re.Pattern[str]],
        standing: Standing,
        figures: Figures,
        spans: Spans,
        strangers: Strangers,
    ) -> None:
        self._app = app
        self._limits = limits
        self._endpoints = endpoints
        self._standing = standing
        self._figures = figures
        self._spans = spans
        self._strangers = strangers
        self._trusted = proxies.networks(limits.trusted_proxies, key="server.trusted_proxies")
        self._addresses = Buckets(limits.rate, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = self._trace(scope)
        endpoint = self._endpoint(scope["path"])
        began = time.perf_counter()
        hand = _Hand(self._standing)
        answer = _Answer(send, trace.id, hand)

        async def received() -> Message:
            with hand.off():
                return await receive()

        self._standing.in_hand += 1
        try:
            with self._spans(endpoint, trace) as told:
                await self._answered(scope, received, answer, endpoint)
                told(answer.status)
        finally:
            self._standing.in_hand -= 1
            self._tell(trace, endpoint, answer.status, time.perf_counter() - began)

    async def _answered(self, scope: Scope, receive: Receive, answer: "_Answer", endpoint: str) -> None:
        trace: Trace = scope["state"][TRACE]
        hint = client_hint(trace.address)
        refused = self._refusal(scope, endpoint, hint)
        if refused is not None:
            trace.code, response = refused
            await response(scope, receive, answer)
            return
        try:
            await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  # a bug of ours: nothing was permitted, and nothing of it is told
            trace.code = "server_error"
            _FAILURES.error("unexpected failure at %s: %s", endpoint, type(error).__name__)  # a trace may hold values
            if not answer.status:
                await answers.json(dumps({"error": "server_error"}), status=500)(scope, receive, answer)
        if trace.authenticated and hint and endpoint not in PROBES:
            self._addresses.give_back(hint)

    def _refusal(self, scope: Scope, endpoint: str, hint: str) -> tuple[str, Response] | None:
        """Before anything is read of a request."""
        if scope["state"].get(TOO_LARGE):
            body = dumps({"error": "invalid_request"})
            return "too_large", answers.json(body, status=431, headers={"Connection": "close"})
        if endpoint in PROBES:
            return None
        if self._standing.in_hand > self._limits.waiting:
            busy = AuthorityUnavailable("too many requests are in hand; nothing was decided", retry_after=1)
            return "overloaded", answers.refusal(busy, authenticated=False)
        if not hint:  # a Unix-domain socket: its mode says who may connect
            return None
        try:
            self._addresses.take(hint)
        except AuthorityUnavailable as error:
            return RATE_LIMITED, answers.refusal(error, authenticated=False)
        return None

    def _endpoint(self, path: str) -> str:
        """The path as it is described, so that no name in it becomes a label."""
        if path in self._endpoints:
            return path
        return next((name for name, form in self._endpoints.items() if form.match(path)), OTHER)

    def _trace(self, scope: Scope) -> Trace:
        peer = scope["client"][0] if scope.get("client") else ""
        said = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        address, known = proxies.address_of(peer, said, self._trusted)
        trace = Trace(address=address, direct=known)
        scope.setdefault("state", {})[TRACE] = trace
        return trace

    def _tell(self, trace: Trace, endpoint: str, status: int, seconds: float) -> None:
        self._figures.tell(trace, endpoint, status, seconds)
        if not trace.authenticated and trace.code not in {None, RATE_LIMITED} and status in _STRANGE:
            self._strangers.note(trace.code or "", trace.address)
        members = {
            "request": trace.id,
            "endpoint": endpoint,
            "status": status,
            "code": trace.code,
            "ms": round(seconds * _MILLIS, 2),
            "agent": trace.agent,
            "operator": trace.operator,
            "sid": trace.sid,
            "address": trace.address,
        }
        level = logging.DEBUG if endpoint in PROBES else logging.INFO
        _LOG.log(
            level, "request", extra={FIELDS: {name: value for name, value in members.items() if value is not None}}
        )


class _Hand:
    """Whether one request is in hand: while it waits for its own client it is not, so that no client can fill us."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self._waits = 0  # a stream of events writes, and listens for its end

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        """It is the client's turn."""
        self._waits += 1
        self.standing.in_hand -= self._waits == 1
        try:
            yield
        finally:
            self.standing.in_hand += self._waits == 1
            self._waits -= 1


class _Answer:
    """A `send` that sees the status, names the request, and ends connections of a process that takes leave."""

    def __init__(self, send: Send, name: str, hand: _Hand) -> None:
        self._send = send
        self._name = name.encode()
        self._hand = hand
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self._name)]
            if self._hand.standing.leaving:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        with self._hand.off():
            await self._send(message)
