"""The token at the socket, and nowhere before it."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final

import httpx
import httpx2

from deputize import Access, Session
from deputize.errors import ConfigurationError
from deputize.runtime import current_call
from langchain_deputize.flows import AccessAuth
from langchain_deputize.handles import collect
from langchain_deputize.sessions import acurrent_access, current_access, current_session

# MCP messages that name nothing to act on: those around the listing of what there is.
_DISCOVERY: Final = frozenset(
    {
        "initialize",
        "ping",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)
_SPARE: Final = 5.0  # seconds of life that a token has left when it is minted anew
_MOST: Final = 256  # sessions whose discovery token is kept


class DeputizeAuth(AccessAuth):
    """`httpx.get(url, auth=DeputizeAuth())` in a tool's body: the current access, as its resource is registered.

    One object may serve all tools and users, and MCP connections too: who calls is found out with each request. The
    token goes to the resource's own origin alone. Raises NoSession outside a tool call, Denied where the call's scopes
    do not reach.

    Args:
        resource: Alias or URL; left out, the tool's own.
        discovery: For an MCP server that wants a token before it lists its tools: outside a tool call, messages that
            only open a connection or list what there is carry a token of the current session for these scopes. Needs
            `resource`. Everything else stays refused there.
    """

    def __init__(self, resource: str | None = None, *, discovery: Sequence[str] | None = None) -> None:
        if isinstance(discovery, str):
            raise ConfigurationError("discovery is a list of scopes, not one string", key="discovery")
        if discovery is not None and resource is None:
            raise ConfigurationError("discovery needs the resource whose scopes these are", key="resource")
        self._resource = resource
        self._discovery = tuple(discovery) if discovery is not None else None
        self._held: OrderedDict[str, Access] = OrderedDict()
        self._lock = Lock()

    def access_for(self, request: httpx.Request | httpx2.Request) -> Access | None:
        """See AccessAuth."""
        handed = collect(request.read() if _is_json(request) else b"", str(request.url))
        if handed is not None:
            return handed.for_this_origin()
        if (session := self._discovers(request)) is not None:
            return self._fresh(session) or self._keep(session, session.access(*self._asked()))
        return current_access(self._resource)

    async def aaccess_for(self, request: httpx.Request | httpx2.Request) -> Access | None:
        """See AccessAuth."""
        handed = collect(await request.aread() if _is_json(request) else b"", str(request.url))
        if handed is not None:
            return handed.for_this_origin()
        if (session := self._discovers(request)) is not None:
            return self._fresh(session) or self._keep(session, await session.aaccess(*self._asked()))
        return await acurrent_access(self._resource)

    def _discovers(self, request: httpx.Request | httpx2.Request) -> Session | None:
        """The session that lists what there is, where this request does and no tool call runs."""
        if self._discovery is None or current_call() is not None or not _lists(request):
            return None
        return current_session()

    def _asked(self) -> tuple[str, Sequence[str]]:
        return self._resource or "", self._discovery or ()

    def _fresh(self, session: Session) -> Access | None:
        with self._lock:
            held = self._held.get(session.id)
        return held if held is not None and held.expires_at - session.authority.now() >= _SPARE else None

    def _keep(self, session: Session, access: Access) -> Access:
        with self._lock:
            self._held[session.id] = access
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return access


def _is_json(request: httpx.Request | httpx2.Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def _lists(request: httpx.Request | httpx2.Request) -> bool:
    """Whether an MCP client opens or ends a connection with it, or asks what there is. Its body has been read."""
    if not _is_json(request):
        opens = request.method == "GET" and "text/event-stream" in request.headers.get("accept", "")
        return opens or (request.method == "DELETE" and "mcp-session-id" in request.headers)
    try:
        message = json.loads(request.content)
    except ValueError:
        return False
    if not isinstance(message, dict):
        return False
    method = message.get("method")
    if method is None:  # an answer to what the server asked
        return "result" in message or "error" in message
    return isinstance(method, str) and (method in _DISCOVERY or method.startswith("notifications/"))
