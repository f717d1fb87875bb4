"""The ASGI application: which request goes where, and what is common to all of them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from deputize.audit.checkpoint import origin_of
from deputize.authority.client_auth import Authenticated
from deputize.authority.client_documents import documents as documents_of
from deputize.authority.engine import Engine
from deputize.authority.evidence_keys import Bundles, EvidenceKeys
from deputize.authority.feed import Feed
from deputize.authority.log_keys import log_key, publish_log_key
from deputize.model.failure import DeputizeError, InvalidToken
from deputize.model.request import Client
from deputize.model.session import Node
from deputize.server import answers, asking, documents, holding, identities, status, token
from deputize.server.desk import routes_of
from deputize.server.feed import FeedEndpoints
from deputize.server.feed_hub import FeedHub
from deputize.server.incoming import Incoming, read
from deputize.server.operators import ERRANDS
from deputize.server.service import OF_OUR_KEYS, Holder, Service
from deputize.wire.json_strict import dumps
from deputize.wire.metadata import WELL_KNOWN
from deputize.wire.token_exchange import single
from deputize.wire.workload_grants import GRANTS

THREADS = 64  # requests that are decided at a time; others wait
MAX_BODY = 64 * 1024  # bytes
PATIENCE = 15.0  # seconds

Plain = Callable[[Service, Incoming], Response]
Form = Callable[[Service, Incoming, list[tuple[str, str]], Authenticated], Response]
Held = Callable[[Service, Incoming, Holder], Response]
_LOG = logging.getLogger("deputize.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may cost. `max_body` in bytes; `threads` decide at a time.

    `patience`: seconds that a body may take.
    """

    max_body: int = MAX_BODY
    patience: float = PATIENCE
    threads: int = THREADS


def create_app(engine: Engine, *, limits: Limits | None = None, bundles: Bundles | None = None) -> Starlette:
    """The authority as an ASGI application. The caller closes `engine` after the application has ended.

    Its URLs begin with the issuer: mount it where the issuer's path says, or behind a proxy that does. `bundles`
    reads trust bundles from a SPIFFE Workload API.
    """
    bounds = limits or Limits()
    parts = engine.parts
    keys = EvidenceKeys(clock=parts.clock, bundles=bundles, documents=documents_of(parts))
    service = Service(engine=engine, base=parts.issuer, evidence_keys=keys)
    slots = anyio.CapacityLimiter(bounds.threads)
    hub = FeedHub(_feed(engine))

    async def who(request: Request) -> Client:
        incoming = await read(request, limit=bounds.max_body, patience=bounds.patience)
        found = await anyio.to_thread.run_sync(lambda: service.authenticated(incoming.form(), incoming), limiter=slots)
        return found.client

    feed = FeedEndpoints(hub, parts.keys, who)

    def route(path: str, method: str, run: Plain) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                incoming = await read(request, limit=bounds.max_body, patience=bounds.patience)
                return await anyio.to_thread.run_sync(run, service, incoming, limiter=slots)
            except DeputizeError as error:
                return answers.refusal(error, authenticated=False)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it

        return Route(path, endpoint, methods=[method])

    def form(path: str, run: Form) -> Route:
        return route(path, "POST", _after_authentication(run))

    def held(path: str, method: str, run: Held, *, lapsed: bool = True) -> Route:
        return route(path, method, _after_proof(run, lapsed=lapsed))

    well_known = [WELL_KNOWN, *([WELL_KNOWN + tail] if (tail := urlsplit(parts.issuer).path.rstrip("/")) else [])]
    app = Starlette(
        routes=[
            route("/token", "POST", _token),
            form("/introspect", asking.introspect),
            form("/revoke", asking.revoke),
            form("/registry", asking.registry),
            form("/reports", asking.report),
            form("/rejections", asking.rejections),
            held("/calls", "POST", holding.call, lapsed=False),
            held("/notes", "POST", holding.note),
            held("/session", "GET", holding.state),
            held("/session/tree", "GET", holding.tree),
            held("/session/close", "POST", holding.close),
            held("/session/revoke", "POST", holding.revoke),
            *routes_of(ERRANDS, engine, limit=bounds.max_body, limiter=slots),
            Route("/jwks", feed.jwks, methods=["GET"]),
            Route("/revocations", feed.revocations, methods=["POST"]),
            Route("/checkpoint", feed.checkpoint, methods=["POST"]),
            route(documents.CARD, "GET", documents.card),
            route(documents.CLIENT, "GET", documents.client),
            *(route(path, "GET", status.metadata) for path in well_known),
            route("/healthz", "GET", status.healthy),
            route("/readyz", "GET", status.ready),
        ],
        exception_handlers={HTTPException: _unknown, Exception: _unexpected},
    )
    app.router.redirect_slashes = False  # a redirect would go where the Host header says, and the form with it
    app.state.hub = hub  # to be stopped before connections are waited for
    return app


def _feed(engine: Engine) -> Feed:
    """The feed over this process's store. Its heartbeats are signed by a key that stands in the log."""
    parts = engine.parts
    log = log_key(parts.keys.anchor, origin_of(parts.issuer))
    publish_log_key(parts.store, log, parts.clock)
    return Feed(issuer=parts.issuer, store=parts.store, clock=parts.clock, key=log.key, unanchored=log.unanchored)


def _after_authentication(run: Form) -> Plain:
    """Before the client is authenticated nothing is told but `error`."""

    def endpoint(service: Service, incoming: Incoming) -> Response:
        try:
            items = incoming.form()
            who = service.authenticated(items, incoming)
        except DeputizeError as error:
            return answers.refusal(error, authenticated=False)
        try:
            single(items)
            return run(service, incoming, items, who)
        except DeputizeError as error:
            return _refused(service, who.client, error)

    return endpoint


def _after_proof(run: Held, *, lapsed: bool) -> Plain:
    """The same for whoever speaks for a session: nothing is told before the proof of its key (RFC 9449 §7.1)."""

    def endpoint(service: Service, incoming: Incoming) -> Response:
        try:
            holder = service.holder(incoming)
        except InvalidToken as error:
            return answers.refusal(error, authenticated=error.code in OF_OUR_KEYS, status=answers.UNAUTHORIZED)
        try:
            service.check(holder, lapsed=lapsed)
            return run(service, incoming, holder)
        except DeputizeError as error:
            return _refused(service, holder.client, error, holder.node)

    return endpoint


def _refused(service: Service, client: Client, error: DeputizeError, node: Node | None = None) -> Response:
    return answers.refusal(service.recorded(client, error, node), authenticated=True)


def _token(service: Service, incoming: Incoming) -> Response:
    """A workload that has no name yet shows evidence; everybody else authenticates first."""
    try:
        items = incoming.form()
        grants = [value for name, value in items if name == "grant_type"]
        if len(grants) == 1 and grants[0] in GRANTS:
            single(items)
            return identities.attested(service, incoming, items, grants[0])
    except DeputizeError as error:
        return answers.refusal(error, authenticated=False)
    return _after_authentication(token.token)(service, incoming)


async def _unknown(request: Request, error: Exception) -> Response:
    """No such path, or not with this method: in the one shape of refusals."""
    del request
    status_code = error.status_code if isinstance(error, HTTPException) else 400
    name = {404: "not_found", 405: "invalid_request"}.get(status_code, "invalid_request")
    headers = error.headers if isinstance(error, HTTPException) else None
    return answers.json(dumps({"error": name}), status=status_code, headers=headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """A bug of ours: nothing was permitted, and nothing of it is told."""
    _LOG.error("unexpected failure at %s: %s", request.url.path, type(error).__name__)
    return answers.json(dumps({"error": "server_error"}), status=500)
