"""The ASGI application: which request goes where, and what is common to all of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deputize.audit.checkpoint import origin_of
from deputize.authority.client_auth import Authenticated
from deputize.authority.client_documents import documents as documents_of
from deputize.authority.engine import Engine
from deputize.authority.evidence_keys import Bundles, EvidenceKeys
from deputize.authority.feed import Feed
from deputize.authority.log_keys import log_key, publish_log_key
from deputize.model.failure import AuthorityUnavailable, DeputizeError, InvalidToken
from deputize.model.request import Client
from deputize.model.session import Node
from deputize.server import answers, asking, documents, holding, identities, status, token
from deputize.server.desk import routes_of
from deputize.server.feed import FeedEndpoints
from deputize.server.feed_hub import FeedHub
from deputize.server.figures import Figures
from deputize.server.incoming import Incoming, read
from deputize.server.limits import Limits
from deputize.server.operators import ERRANDS
from deputize.server.outer import PROBES, Outer, Standing
from deputize.server.rate import Buckets
from deputize.server.service import OF_OUR_KEYS, Holder, Service
from deputize.server.spans import Spans, no_spans
from deputize.server.strangers import Strangers
from deputize.server.trace import trace_of
from deputize.server.upkeep import Upkeep
from deputize.wire.json_strict import dumps
from deputize.wire.metadata import WELL_KNOWN
from deputize.wire.token_exchange import single
from deputize.wire.workload_grants import GRANTS

Plain = Callable[[Service, Incoming], Response]
Form = Callable[[Service, Incoming, list[tuple[str, str]], Authenticated], Response]
Held = Callable[[Service, Incoming, Holder], Response]


def create_app(
    engine: Engine, *, limits: Limits | None = None, bundles: Bundles | None = None, spans: Spans = no_spans
) -> Starlette:
    """The authority as an ASGI application. The caller closes `engine` after the application has ended.

    Its URLs begin with the issuer: mount it where the issuer's path says, or behind a proxy that does. `bundles`
    reads trust bundles from a SPIFFE Workload API; `spans` opens one span for each request.
    """
    bounds = limits or Limits()
    parts = engine.parts
    keys = EvidenceKeys(clock=parts.clock, bundles=bundles, documents=documents_of(parts))
    clients = Buckets(bounds.rate, parts.clock.monotonic)
    service = Service(engine=engine, base=parts.issuer, evidence_keys=keys, clients=clients)
    slots = anyio.CapacityLimiter(bounds.threads)
    log = log_key(parts.keys.anchor, origin_of(parts.issuer))  # one for this process, whatever it signs
    publish_log_key(parts.store, log, parts.clock)
    feed_of_store = Feed(
        issuer=parts.issuer, store=parts.store, clock=parts.clock, key=log.key, unanchored=log.unanchored
    )
    hub = FeedHub(feed_of_store)
    standing, strangers = Standing(), Strangers(parts)
    figures = Figures(lambda: parts.rules.policy.digest, lambda: hub.subscribers)
    upkeep = Upkeep(parts, strangers, lambda: figures.refresh(ready=status.may_decide(engine)), log)

    async def whole(request: Request) -> Incoming:
        incoming = await read(request, limit=bounds.max_body, patience=bounds.body_timeout)
        if standing.in_hand > bounds.waiting and incoming.path not in PROBES:  # none was in hand while it was read
            raise AuthorityUnavailable("too many requests are in hand; nothing was decided", retry_after=1)
        return incoming

    async def who(request: Request) -> Client:
        incoming = await whole(request)
        try:
            form = incoming.form()
            found = await anyio.to_thread.run_sync(lambda: service.authenticated(form, incoming), limiter=slots)
        except DeputizeError as error:
            incoming.trace.refused(error)
            raise
        return found.client

    feed = FeedEndpoints(hub, parts.keys, who)

    def route(path: str, method: str, run: Plain) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                incoming = await whole(request)
                return await anyio.to_thread.run_sync(run, service, incoming, limiter=slots)
            except DeputizeError as error:
                trace_of(request).refused(error)
                return answers.refusal(error, authenticated=False)

        return Route(path, endpoint, methods=[method])

    def form(path: str, run: Form) -> Route:
        return route(path, "POST", _after_authentication(run))

    def held(path: str, method: str, run: Held, *, lapsed: bool = True) -> Route:
        return route(path, method, _after_proof(run, lapsed=lapsed))

    well_known = [WELL_KNOWN, *([WELL_KNOWN + tail] if (tail := urlsplit(parts.issuer).path.rstrip("/")) else [])]
    routes = [
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
        Route("/jwks", feed.jwks, methods=["GET"]),
        Route("/revocations", feed.revocations, methods=["POST"]),
        Route("/checkpoint", feed.checkpoint, methods=["POST"]),
        route(documents.CARD, "GET", documents.card),
        route(documents.CLIENT, "GET", documents.client),
        *routes_of(ERRANDS, engine, log, limit=bounds.max_body, limiter=slots),
        *(route(path, "GET", status.metadata) for path in well_known),
        route("/openapi.json", "GET", status.description),
        route("/healthz", "GET", status.healthy),
        Route("/readyz", status.readiness(engine, standing), methods=["GET"]),
        Route("/metrics", status.metrics(figures, bounds.metrics_from), methods=["GET"]),
    ]
    outer = Middleware(
        Outer,
        limits=bounds,
        endpoints={found.path: found.path_regex for found in routes},
        standing=standing,
        figures=figures,
        spans=spans,
        strangers=strangers,
    )
    app = Starlette(
        routes=routes,
        middleware=[outer],
        exception_handlers={HTTPException: _unknown},
        lifespan=_kept_up(upkeep),
    )
    app.router.redirect_slashes = False  # a redirect would go where the Host header says, and the form with it
    app.state.hub = hub  # to be stopped before connections are waited for
    app.state.standing = standing
    return app


def _kept_up(upkeep: Upkeep) -> Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]]:
    """The task beside the requests, from the first to the last."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        task = asyncio.create_task(upkeep.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return lifespan


def _after_authentication(run: Form) -> Plain:
    """Before the client is authenticated nothing is told but `error`."""

    def endpoint(service: Service, incoming: Incoming) -> Response:
        try:
            items = incoming.form()
        except DeputizeError as error:
            return _strange(incoming, error)
        return _authenticated(service, incoming, items, run)

    return endpoint


def _authenticated(service: Service, incoming: Incoming, items: list[tuple[str, str]], run: Form) -> Response:
    try:
        who = service.authenticated(items, incoming)
    except DeputizeError as error:
        incoming.trace.refused(error)
        return answers.refusal(error, authenticated=incoming.trace.agent is not None)
    try:
        single(items)
        return run(service, incoming, items, who)
    except DeputizeError as error:
        return _refused(service, incoming, who.client, error)


def _strange(incoming: Incoming, error: DeputizeError) -> Response:
    """The refusal of a request whose sender is not known."""
    incoming.trace.refused(error)
    return answers.refusal(error, authenticated=False)


def _after_proof(run: Held, *, lapsed: bool) -> Plain:
    """The same for whoever speaks for a session: nothing is told before the proof of its key (RFC 9449 §7.1)."""

    def endpoint(service: Service, incoming: Incoming) -> Response:
        try:
            holder = service.holder(incoming)
        except InvalidToken as error:
            incoming.trace.refused(error)
            return answers.refusal(error, authenticated=error.code in OF_OUR_KEYS, status=answers.UNAUTHORIZED)
        try:
            service.check(holder, lapsed=lapsed)
            return run(service, incoming, holder)
        except DeputizeError as error:
            return _refused(service, incoming, holder.client, error, holder.node)

    return endpoint


def _refused(
    service: Service, incoming: Incoming, client: Client, error: DeputizeError, node: Node | None = None
) -> Response:
    incoming.trace.refused(error)
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
        return _strange(incoming, error)
    return _authenticated(service, incoming, items, token.token)


async def _unknown(request: Request, error: Exception) -> Response:
    """No such path, or not with this method: in the one shape of refusals."""
    del request
    status_code = error.status_code if isinstance(error, HTTPException) else 400
    name = {404: "not_found", 405: "invalid_request"}.get(status_code, "invalid_request")
    headers = error.headers if isinstance(error, HTTPException) else None
    return answers.json(dumps({"error": name}), status=status_code, headers=headers)
