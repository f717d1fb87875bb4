"""`AgentGuard`: what stands in front of an MCP server."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from deputize.errors import ConfigurationError, DeputizeError, InvalidRequest, InvalidToken
from deputize.verifier import Caller
from deputize_mcp import calling
from deputize_mcp.answers import Answer, Answers, Binding
from deputize_mcp.asgi import App, Message, Receive, Scope, Send, read_body, replayed, respond
from deputize_mcp.body import Malformed, Operation, RequestId, parse_operation
from deputize_mcp.catalogue import Catalogue, Unavailable
from deputize_mcp.declared import declared_scopes
from deputize_mcp.ledger import Call, Ledger
from deputize_mcp.mcp_sessions import McpSessions
from deputize_mcp.rejections import Rejections
from deputize_mcp.routing import check_routing
from deputize_mcp.trust import Sources, trust

if TYPE_CHECKING:
    from os import PathLike

    from deputize import Authority

logger = logging.getLogger(__name__)
_NO_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
_CREDENTIALS = frozenset({b"authorization", b"dpop"})
_OWN_FAULT = frozenset({"stale_revocations"})  # the token may be good; it is the guard that does not know
_REPLIES = {"invalid_dpop_proof": "invalid_dpop_proof"}  # codes that a client can act on; the rest is invalid_token


class AgentGuard:
    """ASGI, outermost: verifies every request, gates it by what its body names, serves RFC 9728, records calls.

        app = AgentGuard(mcp_app, authority="deputize.toml", resource=URL, tools={"drop": ["db:write"]})

    `resource`: this server's URL as clients use it, and the `aud` of their tokens byte for byte. `authority`: path
    of deputize.toml (embedded, same machine), an `Authority`, or an object with `issuer`, `keys` and
    `revocations`. `tools`, `prompts`, `resources`: scopes by name; `base_scopes`: what every message needs;
    `unlisted`: "deny" or "base". `binding`: "bearer", "dpop" (proofs are checked here) or "optional".
    `external_url`: what clients call this endpoint, where a proxy makes that differ from `resource`.
    `trusted_proxies`: addresses or networks whose X-Forwarded-For is believed, for the record of rejected
    requests alone. `max_body`: bytes. `record`: "required", "optional" or "off".
    `revocation_lag`: seconds that what is known of revocations may be old (an object brings its own bound).

    Raises ConfigurationError, here or at start: what does not fit together never serves.
    """

    def __init__(
        self,
        app: App,
        *,
        resource: str,
        authority: "str | PathLike[str] | Authority | Sources",
        tools: Mapping[str, Sequence[str]] | None = None,
        prompts: Mapping[str, Sequence[str]] | None = None,
        resources: Mapping[str, Sequence[str]] | None = None,
        base_scopes: Sequence[str] = (),
        unlisted: Literal["deny", "base"] = "deny",
        binding: Binding = "bearer",
        external_url: str | None = None,
        trusted_proxies: Sequence[str] = (),
        max_body: int = 1_048_576,
        record: Literal["required", "optional", "off"] = "required",
        revocation_lag: float = 10.0,
    ) -> None:
        if binding not in {"bearer", "dpop", "optional"}:
            raise ConfigurationError('binding is "bearer", "dpop" or "optional"', key="binding")
        if max_body < 1 or not revocation_lag > 0:
            raise ConfigurationError("max_body and revocation_lag are above 0", key="max_body")
        self._app = app
        self._resource = resource
        self._binding: Binding = binding
        self._url = external_url or resource
        self._max_body = max_body
        self._tables = {"tools": tools, "prompts": prompts, "resources": resources}
        self._base_scopes = base_scopes
        self._unlisted = unlisted
        catalogue = self._read_catalogue()
        self._trust = trust(authority, resource=resource, lag=revocation_lag)
        try:
            self._ledger = Ledger(self._trust, record)
            self._rejections = Rejections(self._trust.reject, trusted_proxies)
            self._settle(catalogue)
        except DeputizeError:
            self._trust.close()
            raise
        self._sessions = McpSessions()
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3.0."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    def _read_catalogue(self) -> Catalogue:
        return Catalogue(
            tools=self._tables["tools"],
            prompts=self._tables["prompts"],
            resources=self._tables["resources"],
            base_scopes=self._base_scopes,
            unlisted=self._unlisted,
            declared=declared_scopes(self._app),
        )

    def _settle(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._answers = Answers(
            resource=self._resource,
            issuer=self._trust.issuer,
            binding=self._binding,
            base_scopes=sorted(catalogue.base),
            all_scopes=catalogue.all_scopes,
        )

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwarded; in between, tools that were registered since the guard was made are looked at once more."""
        try:
            self._start()
        except ConfigurationError as refusal:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(refusal)})
            return

        async def closing(message: Message) -> None:
            if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}:
                self._trust.close()
            await send(message)

        await self._app(scope, receive, closing)

    def _start(self) -> None:
        self._settle(self._read_catalogue())
        self._started = True

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._started:
            self._start()
        if scope["path"] in self._answers.metadata_paths:
            await _answer(scope, send, self._answers.metadata(scope["method"]))
            return
        try:
            caller = self._verify(scope)
        except InvalidRequest as refusal:
            await _answer(scope, send, self._not_verified(refusal))
            await self._rejections.note(scope, refusal.code)
            return
        except DeputizeError as failure:
            logger.error("nothing can be verified: %s", failure.code)  # noqa: TRY400  # the code says it
            await _answer(scope, send, self._answers.not_now())
            return
        await self._admitted(scope, receive, send, caller)

    def _verify(self, scope: Scope) -> Caller:
        """Raises InvalidRequest (InvalidToken among them) for the request, other errors for our own troubles."""
        return self._trust.verifier.verify(
            scope["headers"], method=scope["method"], url=self._url, binding=self._binding
        )

    def _not_verified(self, refusal: InvalidRequest) -> Answer:
        if refusal.code == "missing_token":
            return self._answers.no_token()
        if refusal.code in _OWN_FAULT:
            return self._answers.not_now()
        if isinstance(refusal, InvalidToken):
            return self._answers.bad_token(_REPLIES.get(refusal.code, "invalid_token"))
        return self._answers.malformed(400, -32600, "the request is malformed", None)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """The token holds; what may it do?"""
        if scope["method"] in _NO_BODY:
            # Nothing in a body could be gated here, so none reaches the application.
            await self._gate(scope, replayed(b"", receive), send, caller, Operation(method=None))
            return
        try:
            body = await read_body(scope["headers"], receive, self._max_body)
            if body is None:
                return
            operation = parse_operation(body)
            check_routing(scope["headers"], operation)
        except Malformed as refusal:
            answer = self._answers.malformed(refusal.status, refusal.rpc_code, str(refusal), refusal.request_id)
            await _answer(scope, send, answer)
            return
        await self._gate(scope, replayed(body, receive), send, caller, operation)

    async def _gate(self, scope: Scope, receive: Receive, send: Send, caller: Caller, operation: Operation) -> None:
        try:
            needed = self._catalogue.scopes_for(operation)
        except Unavailable:
            call = self._ledger.call(caller, operation, frozenset())
            await self._deny(scope, send, call, "unlisted", self._answers.unavailable(operation.request_id))
            return
        call = self._ledger.call(caller, operation, needed)
        if not needed <= caller.scopes:
            answer = self._answers.insufficient(sorted(needed), bound=caller.bound, request_id=operation.request_id)
            await self._deny(scope, send, call, "insufficient_scope", answer)
        elif not self._sessions.admits(scope["headers"], caller):
            answer = self._answers.no_session(operation.request_id)
            await self._deny(scope, send, call, "foreign_mcp_session", answer)
        elif operation.kind is None:
            await self._forward(scope, receive, send, caller)
        else:
            await self._recorded(scope, receive, send, caller, call, operation.request_id)

    async def _recorded(
        self, scope: Scope, receive: Receive, send: Send, caller: Caller, call: Call, request_id: RequestId
    ) -> None:
        try:
            await call.started()
        except DeputizeError:
            await _answer(scope, send, self._answers.not_now(request_id))
            return
        try:
            await self._forward(scope, receive, call.watched(send), caller)
        except Exception:
            await call.ended("failed", "crashed")
            raise
        finally:
            await call.ended("failed", "abandoned")

    async def _forward(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        """Inward without the token: nothing there needs it, so nothing there can pass it on."""
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _CREDENTIALS]

        async def noticing(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._sessions.see(scope, message, caller)
            await send(message)

        token = calling.enter(caller)
        try:
            await self._app({**scope, "headers": headers, "deputize.caller": caller}, receive, noticing)
        finally:
            calling.leave(token)

    async def _deny(self, scope: Scope, send: Send, call: Call, code: str, answer: Answer) -> None:
        try:
            await call.denied(code)
        except DeputizeError:
            answer = self._answers.not_now()
        await _answer(scope, send, answer)


async def _answer(scope: Scope, send: Send, answer: Answer) -> None:
    await respond(scope, send, answer.status, answer.headers, answer.body)
