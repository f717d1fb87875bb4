"""The ASGI application: which request goes where, and what is common to all of them."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deputize.authority.engine import Engine
from deputize.model.failure import DeputizeError
from deputize.model.request import Client
from deputize.server import answers, asking, holding, status, token
from deputize.server.incoming import Incoming, read
from deputize.server.service import Service
from deputize.wire.json_strict import dumps

THREADS = 64  # requests that are decided at a time; others wait
MAX_BODY = 64 * 1024  # bytes

Plain = Callable[[Service, Incoming], Response]
Authenticated = Callable[[Service, Incoming, list[tuple[str, str]], Client], Response]
_LOG = logging.getLogger("deputize.server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request may cost. `max_body` in bytes; `threads` decide at a time."""

    max_body: int = MAX_BODY
    threads: int = THREADS


def create_app(engine: Engine, *, limits: Limits | None = None) -> Starlette:
    """The authority as an ASGI application. The caller closes `engine` after the application has ended.

    Its URLs begin with the issuer: mount it where the issuer's path says, or behind a proxy that does.
    """
    bounds = limits or Limits()
    service = Service(engine=engine, base=engine.parts.issuer)
    slots = anyio.CapacityLimiter(bounds.threads)

    def route(path: str, method: str, run: Plain) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                incoming = await read(request, limit=bounds.max_body)
                return await anyio.to_thread.run_sync(run, service, incoming, limiter=slots)
            except DeputizeError as error:
                return answers.refusal(error, authenticated=True)

        return Route(path, endpoint, methods=[method])

    def form(path: str, run: Authenticated) -> Route:
        return route(path, "POST", _after_authentication(run))

    return Starlette(
        routes=[
            form("/token", token.token),
            form("/introspect", asking.introspect),
            form("/revoke", asking.revoke),
            form("/registry", asking.registry),
            form("/reports", asking.report),
            route("/calls", "POST", holding.call),
            route("/notes", "POST", holding.note),
            route("/session", "GET", holding.state),
            route("/session/tree", "GET", holding.tree),
            route("/session/close", "POST", holding.close),
            route("/session/revoke", "POST", holding.revoke),
            route("/jwks", "GET", status.jwks),
            route("/healthz", "GET", status.healthy),
            route("/readyz", "GET", status.ready),
        ],
        exception_handlers={HTTPException: _unknown, Exception: _unexpected},
    )


def _after_authentication(run: Authenticated) -> Plain:
    """Before the client is authenticated nothing is told but `error`."""

    def endpoint(service: Service, incoming: Incoming) -> Response:
        try:
            items = incoming.form()
            client = service.client(items, incoming)
        except DeputizeError as error:
            return answers.refusal(error, authenticated=False)
        try:
            return run(service, incoming, items, client)
        except DeputizeError as error:
            return answers.refusal(error, authenticated=True)

    return endpoint


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
