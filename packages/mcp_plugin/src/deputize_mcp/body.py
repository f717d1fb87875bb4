"""The gate's reading of a request body: one JSON-RPC message, and what it names.

What decides is the body alone. A text that two parsers could read in two ways (duplicate members, members that
differ from a known one by case, another encoding, a batch) is refused, so that the server behind the guard
cannot see another tool than the guard saw.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from deputize.errors import InvalidRequest

MAX_DEPTH: Final = 64
MAX_NAME: Final = 1024  # characters of a tool's, prompt's or resource's name
PARSE_ERROR: Final = -32700  # JSON-RPC 2.0 §5.1
INVALID_REQUEST: Final = -32600
INVALID_PARAMS: Final = -32602
HEADER_MISMATCH: Final = -32020  # MCP 2026-07-28, streamable HTTP

Kind = Literal["tool", "prompt", "resource"]
RequestId = str | int | None

# Method -> (what its object is, the member of `params` that names it).
_NAMED: Final[Mapping[str, tuple[Kind, str]]] = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
    "resources/unsubscribe": ("resource", "uri"),
}
_REFERENCES: Final[Mapping[str, tuple[Kind, str]]] = {
    "ref/prompt": ("prompt", "name"),
    "ref/resource": ("resource", "uri"),
}
_TOP_LEVEL: Final = frozenset({"jsonrpc", "id", "method", "params", "result", "error"})
_PARAMS: Final = frozenset({"name", "uri", "ref", "notifications", "arguments", "_meta"})
_LISTEN: Final = ("resourceSubscriptions", "resource_subscriptions")  # the wire name and the name of the SDK's field


class Malformed(InvalidRequest):
    """The body is not one message with one meaning. `rpc_code` and `request_id` go into the answer."""

    def __init__(
        self, message: str, *, rpc_code: int = INVALID_REQUEST, request_id: RequestId = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.rpc_code = rpc_code
        self.request_id = request_id
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What a message asks for. `method` None: an answer to something that the server asked."""

    method: str | None
    request_id: RequestId = None
    kind: Kind | None = None
    names: tuple[str, ...] = ()

    @property
    def tool(self) -> str | None:
        """The tool that is called, if one is."""
        return self.names[0] if self.kind == "tool" else None


def parse_operation(raw: bytes) -> Operation:
    """Read one JSON-RPC 2.0 message strictly. Raises Malformed, and nothing else, for any input."""
    message = _parse(raw)
    if not isinstance(message, dict):
        raise Malformed("the body is one JSON-RPC message; a batch is not accepted")
    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | None):
        raise Malformed("an id is a string or an integer")
    try:
        return _operation(message, request_id)
    except Malformed as refusal:
        refusal.request_id = request_id
        raise


def _operation(message: dict[str, object], request_id: RequestId) -> Operation:
    _no_lookalikes(message, _TOP_LEVEL)
    if message.get("jsonrpc") != "2.0":
        raise Malformed('a message says "jsonrpc": "2.0"')
    if "method" not in message:
        if ("result" in message) == ("error" in message):
            raise Malformed("a message has a method, or a result or an error")
        return Operation(method=None, request_id=request_id)
    method = message["method"]
    if not isinstance(method, str) or not 0 < len(method) <= MAX_NAME:
        raise Malformed("a method is a string")
    if "result" in message or "error" in message:
        raise Malformed("a message is a request or an answer, not both")
    params = message.get("params", {})
    if not isinstance(params, dict):
        raise Malformed("params is an object", rpc_code=INVALID_PARAMS)
    _no_lookalikes(params, _PARAMS)
    kind, names = _objects(method, params)
    return Operation(method=method, request_id=request_id, kind=kind, names=names)


def _objects(method: str, params: dict[str, object]) -> tuple[Kind | None, tuple[str, ...]]:
    """The kind and the names of the objects that a request is about."""
    named = _NAMED.get(method)
    if named is not None:
        kind, member = named
        return kind, (_name(params.get(member)),)
    if method == "completion/complete":
        ref = params.get("ref")
        if not isinstance(ref, dict) or not isinstance(ref.get("type"), str) or ref["type"] not in _REFERENCES:
            raise Malformed("a completion refers to a prompt or a resource", rpc_code=INVALID_PARAMS)
        _no_lookalikes(ref, frozenset({"type", "name", "uri"}))
        kind, member = _REFERENCES[ref["type"]]
        return kind, (_name(ref.get(member)),)
    if method == "subscriptions/listen":
        return _listened(params)
    return None, ()


def _listened(params: dict[str, object]) -> tuple[Kind | None, tuple[str, ...]]:
    wanted = params.get("notifications", {})
    if not isinstance(wanted, dict):
        raise Malformed("notifications is an object", rpc_code=INVALID_PARAMS)
    _no_lookalikes(wanted, frozenset(_LISTEN))
    names: list[str] = []
    for member in _LISTEN:
        uris = wanted.get(member)
        if uris is None:
            continue
        if not isinstance(uris, list):
            raise Malformed("resource subscriptions are a list", rpc_code=INVALID_PARAMS)
        names.extend(_name(uri) for uri in uris)
    return ("resource", tuple(names)) if names else (None, ())


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise Malformed(f"a name is a string of 1-{MAX_NAME} characters", rpc_code=INVALID_PARAMS)
    return value


def _no_lookalikes(members: dict[str, object], known: frozenset[str]) -> None:
    """Some parsers match members without regard to case; here that would be a second meaning."""
    folded = {name.casefold() for name in known}
    if any(name not in known and name.casefold() in folded for name in members):
        raise Malformed("a member differs from a known one by case only")


def _parse(raw: bytes) -> object:
    try:
        value: object = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_constant)
    except (ValueError, RecursionError):
        # Not UTF-8, a byte order mark, not JSON, NaN, a numeral of thousands of digits, or nested without end.
        raise Malformed("the body is not JSON text with one meaning", rpc_code=PARSE_ERROR) from None
    if _deeper_than(value, MAX_DEPTH):
        raise Malformed(f"the body is nested more than {MAX_DEPTH} levels deep", rpc_code=PARSE_ERROR)
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _constant(_: str) -> NoReturn:
    raise ValueError


def _deeper_than(value: object, most: int) -> bool:
    level: list[object] = [value]
    for _ in range(most):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not any(isinstance(item, dict | list) for item in level):
            return False
    return True
