"""A request as the endpoints read it: what HTTP said, with every bound kept before anything is parsed."""

from dataclasses import dataclass, field

import anyio
from starlette.requests import ClientDisconnect, Request

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.request import PeerCredentials
from deputize.server.limits import BODY_TIMEOUT
from deputize.server.trace import Trace, trace_of
from deputize.wire.json_strict import loads
from deputize.wire.token_exchange import form_items

_JSON_DEPTH = 8
_MAX_DIGITS = 12  # of a length
BODY = "deputize_body"  # of a request's state: what was read, since a body is read once
PEER = "deputize.peer"  # of a request's state, set by the protocol that accepted its connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One request, read whole. `address` is the peer's, or what a trusted proxy says; it decides nothing."""

    method: str
    path: str
    content_type: str
    body: bytes
    authorization: str | None
    proof: str | None
    query: tuple[tuple[str, str], ...]
    address: str
    peer: PeerCredentials | None = None  # over a Unix-domain socket: what the kernel says
    trace: Trace = field(default_factory=Trace, repr=False, compare=False)

    def form(self) -> list[tuple[str, str]]:
        """The fields of a form, in order. Raises InvalidRequest."""
        return form_items(self.body, content_type=self.content_type)

    def json(self) -> dict[str, object]:
        """The object of a JSON body. Raises InvalidRequest."""
        if self.content_type.partition(";")[0].strip().lower() != "application/json":
            raise InvalidRequest("the body is JSON (application/json)")
        if b"\\u0000" in self.body:
            raise InvalidRequest("no text holds NUL")
        return loads(self.body, max_depth=_JSON_DEPTH, refuse=InvalidRequest)


async def read(request: Request, *, limit: int, patience: float = BODY_TIMEOUT) -> Incoming:
    """Read a request. `limit`: bytes of its body; `patience`: seconds until it is whole.

    Its path is what was asked for, below where the application is mounted; the Host header has no say in it. Raises
    InvalidRequest, InvalidToken.
    """
    trace = trace_of(request)
    authorizations = request.headers.getlist("authorization")
    proofs = request.headers.getlist("dpop")
    if len(authorizations) > 1:
        raise InvalidRequest("a request authenticates once")
    if len(proofs) > 1 or any("," in proof for proof in proofs):
        raise InvalidToken("there is exactly one DPoP header (RFC 9449 §4.3)", code="invalid_dpop_proof")
    body = await _in_time(request, limit, patience)
    setattr(request.state, BODY, body)
    return Incoming(
        method=request.method,
        path=str(request.scope["path"]).removeprefix(request.scope.get("root_path", "")),
        content_type=request.headers.get("content-type", ""),
        body=body,
        authorization=authorizations[0] if authorizations else None,
        proof=proofs[0] if proofs else None,
        query=tuple(request.query_params.multi_items()),
        address=trace.address,
        peer=request.scope["state"].get(PEER),
        trace=trace,
    )


async def _in_time(request: Request, limit: int, patience: float) -> bytes:
    """A body that trickles in would hold a place for ever."""
    try:
        with anyio.fail_after(patience):
            return await _body(request, limit)
    except TimeoutError:
        raise InvalidRequest(f"the body did not come within {patience:g} s", code="too_slow") from None
    except ClientDisconnect:
        raise InvalidRequest("the client went away before its body came", code="disconnected") from None


async def _body(request: Request, limit: int) -> bytes:
    """At most `limit` bytes; more is refused before it is kept."""
    said = request.headers.get("content-length", "0")
    if not (said.isascii() and said.isdigit()) or len(said) > _MAX_DIGITS or int(said) > limit:
        raise _too_large(limit)
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > limit:
            raise _too_large(limit)
    return bytes(read)


def _too_large(limit: int) -> InvalidRequest:
    return InvalidRequest(f"a request's body has at most {limit} bytes", code="too_large")
