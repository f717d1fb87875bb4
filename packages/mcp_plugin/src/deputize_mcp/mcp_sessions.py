"""Who opened which MCP session, in the revisions that have them: an id is good for its opener alone."""

from collections import OrderedDict
from typing import Final

from deputize.verifier import Caller
from deputize_mcp.asgi import Message, RawHeaders, Scope, header

MOST: Final = 10_000  # MCP sessions; the one that was used longest ago has to be opened again
HEADER: Final = b"mcp-session-id"


class McpSessions:
    """Binds each `Mcp-Session-Id` to the delegated session that opened it.

    An MCP session holds state of the server and a stream of messages to the client. Its id is no credential
    (MCP, security best practices), so another delegated session is told that there is no such session.
    """

    def __init__(self) -> None:
        self._owners: OrderedDict[bytes, tuple[str, str]] = OrderedDict()

    def admits(self, headers: RawHeaders, caller: Caller) -> bool:
        """Whether the request names no MCP session, or one of its own delegated session."""
        named = [value for name, value in headers if name.lower() == HEADER]
        if not named:
            return True
        if len(named) > 1 or self._owners.get(named[0]) != _owner(caller):
            return False
        self._owners.move_to_end(named[0])
        return True

    def see(self, scope: Scope, message: Message, caller: Caller) -> None:
        """Learn from the start of a response which session was opened, or ended."""
        asked = header(scope["headers"], HEADER)
        opened = header(message.get("headers", ()), HEADER)
        if asked is None and opened is not None:
            self._owners[opened] = _owner(caller)
            if len(self._owners) > MOST:
                self._owners.popitem(last=False)
        elif asked is not None and scope["method"] == "DELETE" and message["status"] < 300:  # noqa: PLR2004  # 2xx
            self._owners.pop(asked, None)


def _owner(caller: Caller) -> tuple[str, str]:
    return caller.issuer, caller.session
