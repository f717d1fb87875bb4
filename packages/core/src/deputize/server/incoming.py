"""A request as the endpoints read it: what HTTP said, with every bound kept before anything is parsed."""

from dataclasses import dataclass

from starlette.requests import Request

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.request import PeerCredentials
from deputize.wire.json_strict import loads
from deputize.wire.token_exchange import form_items

_JSON_DEPTH = 8
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

    def form(self) -> list[tuple[str, str]]:
        """The fields of a form, in order. Raises InvalidRequest."""
        return form_items(self.body, content_type=self.content_type)

    def json(self) -> dict[str, object]:
        """The object of a JSON body. Raises InvalidRequest."""
        if self.content_type.partition(";")[0].strip().lower() != "application/json":
            raise InvalidRequest("the body is JSON (application/json)")
        return loads(self.body, max_depth=_JSON_DEPTH, refuse=InvalidRequest)


async def read(request: Request, *, limit: int) -> Incoming:
    """Read a request. `limit`: bytes of its body. Raises InvalidRequest, InvalidToken."""
    authorizations = request.headers.getlist("authorization")
    proofs = request.headers.getlist("dpop")
    if len(authorizations) > 1:
        raise InvalidRequest("a request authenticates once")
    if len(proofs) > 1 or any("," in proof for proof in proofs):
        raise InvalidToken("there is exactly one DPoP header (RFC 9449 §4.3)", code="invalid_dpop_proof")
    return Incoming(
        method=request.method,
        path=request.url.path,
        content_type=request.headers.get("content-type", ""),
        body=await _body(request, limit),
        authorization=authorizations[0] if authorizations else None,
        proof=proofs[0] if proofs else None,
        query=tuple(request.query_params.multi_items()),
        address=request.client.host if request.client is not None else "",
        peer=request.scope.get("state", {}).get(PEER),
    )


async def _body(request: Request, limit: int) -> bytes:
    """At most `limit` bytes; more is refused before it is kept."""
    said = request.headers.get("content-length", "0")
    if not said.isdigit() or int(said) > limit:
        raise _too_large(limit)
    read = bytearray()
    async for part in request.stream():
        read += part
        if len(read) > limit:
            raise _too_large(limit)
    return bytes(read)


def _too_large(limit: int) -> InvalidRequest:
    return InvalidRequest(f"a request's body has at most {limit} bytes", code="too_large")
