"""What the guard answers by itself: challenges (RFC 6750, RFC 9449, RFC 9728 §5.1), refusals and its metadata."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from deputize.errors import ConfigurationError
from deputize_mcp.body import RequestId
from deputize_mcp.discovery import WELL_KNOWN, metadata_urls
from deputize_mcp.www_authenticate import write_challenge

Binding = Literal["bearer", "dpop", "optional"]
REFUSED: Final = -32001  # JSON-RPC code of a refusal by this guard; `data.error` says which
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ALGORITHMS: Final = ("ES256", "EdDSA", "RS256")
_JSON: Final = ("content-type", "application/json")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = field(default=(_JSON,))


class Answers:
    """The answers of one resource. Raises ConfigurationError for a resource that clients could not reach."""

    def __init__(
        self, *, resource: str, issuer: str, binding: Binding, base_scopes: Sequence[str], all_scopes: Sequence[str]
    ) -> None:
        parts = urlsplit(resource)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError("resource is the URL that clients use, without query and fragment", key="resource")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigurationError("resource is an https URL; http is for loopback only", key="resource")
        self._binding = binding
        self._metadata_url = metadata_urls(resource)[0]
        path = unquote(parts.path.rstrip("/"))
        self.metadata_paths: Final = frozenset({WELL_KNOWN, WELL_KNOWN + path, WELL_KNOWN + path + "/"})
        self._first_scopes = tuple(base_scopes) or tuple(all_scopes)
        document: dict[str, object] = {
            "resource": resource,
            "authorization_servers": [issuer],
            "scopes_supported": list(all_scopes),
            "bearer_methods_supported": ["header"],
        }
        if binding != "bearer":
            document["dpop_signing_alg_values_supported"] = list(_ALGORITHMS)
        if binding == "dpop":
            document["dpop_bound_access_tokens_required"] = True
        self._metadata = json.dumps(document, separators=(",", ":")).encode()

    def metadata(self, method: str) -> Answer:
        """RFC 9728. Public: browsers of other origins may read it, and it needs no token."""
        open_to_all = ("access-control-allow-origin", "*")
        if method == "OPTIONS":
            allowed = (("access-control-allow-methods", "GET"), ("access-control-allow-headers", "*"))
            return Answer(204, b"", (open_to_all, *allowed))
        if method not in {"GET", "HEAD"}:
            return Answer(405, b"", (("allow", "GET, HEAD, OPTIONS"),))
        return Answer(200, self._metadata, (_JSON, open_to_all, ("cache-control", "public, max-age=300")))

    def no_token(self) -> Answer:
        """401 without an error code (RFC 6750 §3.1: the client did not know yet)."""
        return self._refusal(401, self._schemes(), error=None, scopes=self._first_scopes)

    def bad_token(self, error: str) -> Answer:
        """401 `invalid_token` or `invalid_dpop_proof`; which check failed is for the record alone."""
        schemes = ("DPoP",) if error == "invalid_dpop_proof" else self._schemes()
        return self._refusal(401, schemes, error=error, scopes=self._first_scopes)

    def insufficient(self, scopes: Sequence[str], *, bound: bool, request_id: RequestId) -> Answer:
        """403 with all scopes of the operation, so that one step-up is enough."""
        scheme = ("DPoP",) if bound else ("Bearer",)
        return self._refusal(403, scheme, error="insufficient_scope", scopes=scopes, request_id=request_id)

    def unavailable(self, request_id: RequestId) -> Answer:
        """403 for what is not listed: no challenge, since no scope would help."""
        return Answer(403, rpc_error(REFUSED, "not available here", "access_denied", request_id=request_id))

    def malformed(self, status: int, code: int, message: str, request_id: RequestId) -> Answer:
        """400 or 413."""
        return Answer(status, rpc_error(code, message, "invalid_request", request_id=request_id))

    def no_session(self, request_id: RequestId) -> Answer:
        """404 for an MCP session that this delegated session did not open (streamable HTTP: start a new one)."""
        message = "Session not found; open one MCP session per delegated session"
        return Answer(404, rpc_error(-32600, message, "session_not_found", request_id=request_id))

    def not_now(self, request_id: RequestId = None) -> Answer:
        """503: keys, revocations or the log can't be reached, so nothing is let through."""
        body = rpc_error(REFUSED, "temporarily unavailable", "temporarily_unavailable", request_id=request_id)
        return Answer(503, body, (_JSON, ("retry-after", "1"), ("cache-control", "no-store")))

    def _schemes(self) -> tuple[str, ...]:
        return {"bearer": ("Bearer",), "dpop": ("DPoP",), "optional": ("Bearer", "DPoP")}[self._binding]

    def _refusal(
        self,
        status: int,
        schemes: Sequence[str],
        *,
        error: str | None,
        scopes: Sequence[str],
        request_id: RequestId = None,
    ) -> Answer:
        scope = " ".join(scopes) or None
        challenges = tuple(
            (
                "www-authenticate",
                write_challenge(
                    scheme,
                    error=error,
                    scope=scope,
                    resource_metadata=self._metadata_url,
                    algs=" ".join(_ALGORITHMS) if scheme == "DPoP" else None,
                ),
            )
            for scheme in schemes
        )
        name = error or "unauthorized"
        body = rpc_error(REFUSED, name, name, request_id=request_id, scope=scope)
        return Answer(status, body, (_JSON, ("cache-control", "no-store"), *challenges))


def rpc_error(code: int, message: str, error: str, *, request_id: RequestId = None, scope: str | None = None) -> bytes:
    """A JSON-RPC error, so that a client that reads bodies can tell its caller why."""
    data = {"error": error, **({"scope": scope} if scope else {})}
    answer = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message, "data": data}}
    return json.dumps(answer, separators=(",", ":")).encode()
