"""The MCP routing headers against the body: `Mcp-Method` and `Mcp-Name` (MCP 2026-07-28, streamable HTTP).

They never decide. But something between client and guard may have routed or allowed by them, so a request whose
headers tell of another operation than its body is refused.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

from deputize_mcp.body import HEADER_MISMATCH, Malformed, Operation

_METHOD: Final = b"mcp-method"
_NAME: Final = b"mcp-name"
_PREFIX: Final = "=?base64?"
_SUFFIX: Final = "?="


def check_routing(headers: Iterable[tuple[bytes, bytes]], operation: Operation) -> None:
    """Refuse headers that contradict the body. Absent headers are fine: older revisions have none. Raises Malformed."""
    pairs = list(headers)
    method = _single(pairs, _METHOD)
    name = _single(pairs, _NAME)
    if method is not None and method != operation.method:
        raise _mismatch(operation)
    if name is not None and operation.names[:1] != (decode_name(name),):
        raise _mismatch(operation)


def decode_name(value: str) -> str | None:
    """A header's name as text; `=?base64?...?=` is undone. None where that is malformed or not canonical."""
    if not (value.startswith(_PREFIX) and value.endswith(_SUFFIX) and len(value) >= len(_PREFIX) + len(_SUFFIX)):
        return value
    payload = value[len(_PREFIX) : -len(_SUFFIX)]
    try:
        raw = base64.b64decode(payload, validate=True)
        text = raw.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    return text if base64.b64encode(raw).decode("ascii") == payload else None


def _single(headers: list[tuple[bytes, bytes]], wanted: bytes) -> str | None:
    values = [value for name, value in headers if name.lower() == wanted]
    if len(values) > 1:
        raise Malformed("a routing header stands twice", rpc_code=HEADER_MISMATCH)
    return values[0].decode("latin-1").strip() if values else None


def _mismatch(operation: Operation) -> Malformed:
    return Malformed(
        "the routing headers and the body name different operations",
        rpc_code=HEADER_MISMATCH,
        request_id=operation.request_id,
    )
