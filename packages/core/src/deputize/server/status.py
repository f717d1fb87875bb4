"""What anybody may ask: keys, and whether this process lives and may decide."""

from starlette.responses import Response

from deputize.model.failure import DeputizeError
from deputize.server import answers
from deputize.server.incoming import Incoming
from deputize.server.service import Service
from deputize.wire.json_strict import dumps
from deputize.wire.metadata import build

METADATA_MAX_AGE = 300  # seconds


def metadata(service: Service, incoming: Incoming) -> Response:
    """`GET /.well-known/oauth-authorization-server` (RFC 8414 §3)."""
    del incoming
    body = build(service.engine.parts.issuer)
    return answers.json(body, headers={"Cache-Control": f"public, max-age={METADATA_MAX_AGE}"})


def healthy(service: Service, incoming: Incoming) -> Response:
    """`GET /healthz`: the process answers. Says nothing of the store."""
    del service, incoming
    return answers.members(status="ok")


def ready(service: Service, incoming: Incoming) -> Response:
    """`GET /readyz`: the store answers, and this process decides by the policy set that the store names."""
    del incoming
    try:
        service.engine.check_ready()
    except DeputizeError as error:
        return answers.json(dumps({"status": "not ready", "code": error.code}), status=503)
    return answers.members(status="ready")
