"""How a call went, read from the response as it passes by."""

import json
from typing import Final, Literal

from deputize_mcp.asgi import Message, header
from deputize_mcp.body import RequestId

Outcome = Literal["done", "failed"]
MOST_KEPT: Final = 262_144  # bytes of one message that are held to be read; a longer answer goes by its status
_FAILED: Final = 400
_SSE: Final = b"text/event-stream"


class Watch:
    """Looks at the messages of one response. `outcome` is None until the answer to `request_id` has been seen."""

    def __init__(self, request_id: RequestId) -> None:
        self._request_id = request_id
        self._buffer = b""
        self._events = False
        self._overfull = False
        self.status = 0
        self.outcome: Outcome | None = None

    def see(self, message: Message) -> Outcome | None:
        """The outcome, once it is known: at the latest with the end of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._events = (header(message.get("headers", ()), b"content-type") or b"").startswith(_SSE)
        elif message["type"] == "http.response.body" and self.outcome is None:
            last = not message.get("more_body", False)
            self._feed(message.get("body", b""), last=last)
            if last and self.outcome is None:
                self.outcome = "failed" if self.status >= _FAILED else "done"
        return self.outcome

    def _feed(self, chunk: bytes, *, last: bool) -> None:
        if not self._overfull:
            self._buffer += chunk
        if self._events:
            self._read_events()
        elif last and not self._overfull:
            self._read(self._buffer)
        if len(self._buffer) > MOST_KEPT:
            self._overfull, self._buffer = True, b""

    def _read_events(self) -> None:
        *lines, self._buffer = self._buffer.replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._read(line[len(b"data:") :])

    def _read(self, text: bytes) -> None:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(answer, dict) or answer.get("id") != self._request_id or "method" in answer:
            return
        result = answer.get("result")
        failed = "error" in answer or (isinstance(result, dict) and result.get("isError") is True)
        self.outcome = "failed" if failed else "done"
