"""What anybody may ask: keys, and whether this process lives and may decide."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from deputize.authority.engine import Engine
from deputize.model.failure import DeputizeError
from deputize.server import answers
from deputize.server.figures import CONTENT_TYPE, Figures
from deputize.server.incoming import Incoming
from deputize.server.openapi import described
from deputize.server.outer import Standing
from deputize.server.proxies import networks, within
from deputize.server.service import Service
from deputize.server.trace import trace_of
from deputize.wire.json_strict import dumps
from deputize.wire.metadata import build

METADATA_MAX_AGE = 300  # seconds
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
Endpoint = Callable[[Request], Awaitable[Response]]


def metadata(service: Service, incoming: Incoming) -> Response:
    """`GET /.well-known/oauth-authorization-server` (RFC 8414 §3)."""
    del incoming
    body = build(service.engine.parts.issuer)
    return answers.json(body, headers={"Cache-Control": f"public, max-age={METADATA_MAX_AGE}"})


def healthy(service: Service, incoming: Incoming) -> Response:
    """`GET /healthz`: the process answers. Says nothing of the store."""
    del service, incoming
    return answers.members(status="ok")


def description(service: Service, incoming: Incoming) -> Response:
    """`GET /openapi.json`: every endpoint, as OpenAPI 3.1."""
    del incoming
    body = dumps(described(service.engine.parts.issuer))
    return answers.json(body, headers={"Cache-Control": f"public, max-age={METADATA_MAX_AGE}"})


def may_decide(engine: Engine) -> bool:
    """Whether this process is ready. Never raises."""
    try:
        engine.check_ready()
    except DeputizeError:
        return False
    return True


def readiness(engine: Engine, standing: Standing) -> Endpoint:
    """`GET /readyz`: the store answers, its clock is ours, and this process decides by the set that it names.

    Asked in a thread of its own: a probe does not wait behind requests.
    """

    def look() -> Response:
        try:
            engine.check_ready()
        except DeputizeError as error:
            return _not_ready(error.code)
        return answers.members(status="ready")

    async def endpoint(request: Request) -> Response:
        del request
        if standing.leaving:
            return _not_ready("leaving")
        return await asyncio.to_thread(look)

    return endpoint


def _not_ready(code: str) -> Response:
    body = dumps({"error": "temporarily_unavailable", "status": "not ready", "code": code})
    return answers.json(body, status=503, headers={"Retry-After": "1"})


def metrics(figures: Figures, allowed: tuple[str, ...]) -> Endpoint:
    """`GET /metrics`: to the loopback and to listed addresses alone. To everybody else there is no such page.

    What a proxy passes on has the address that a trusted one says; what an unknown one passes on has none.
    """
    readers = networks((*LOOPBACK, *allowed), key="server.metrics_from")

    async def endpoint(request: Request) -> Response:
        trace = trace_of(request)
        if not (trace.direct and (within(trace.address, readers) or trace.address == "")):
            return answers.json(dumps({"error": "not_found"}), status=404)
        text = await asyncio.to_thread(figures.text)
        return Response(text, media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    return endpoint
