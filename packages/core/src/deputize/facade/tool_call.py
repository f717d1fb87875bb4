"""A tool call: permission before the body, attribution around it, the outcome after it."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import orjson

from deputize.facade import ambient
from deputize.facade.access import Access
from deputize.model.failure import Denied, InvalidRequest
from deputize.model.registry import ToolEntry
from deputize.model.report import Note
from deputize.model.request import CallRequest
from deputize.model.resource import LOCAL_TOOLS

if TYPE_CHECKING:
    from deputize.facade.session import Session
    from deputize.model.event import Json


class ToolCall:
    """`with session.tool_call("search") as call:`. Entering raises Denied; leaving records how it went.

    A denial that the body itself raises (of something further on) is an outcome of this call: `failed`.
    """

    def __init__(
        self,
        session: "Session",
        entry: ToolEntry,
        *,
        args: Mapping[str, Any] | None = None,
        call_id: str | None = None,
        to: tuple[str, ...] = (),
    ) -> None:
        self.session = session
        self.tool = entry.tool
        self.call_id = call_id
        self.resource = entry.resource.url
        self.scopes = entry.scopes
        self.to = to
        self.policies: tuple[str, ...] = ()
        self.arguments = _digest(args)  # all that leaves this process of them; its keyed digest is recorded
        self._access: dict[str, Access] = {}
        self._lock = RLock()
        self._token: Any = None
        self._entered = False
        self._suspended = False

    def access(self, resource: str | None = None) -> Access:
        """The token for this call, minted on first use, then the same one. Raises Denied.

        `resource`: alias or URL; only the tool's own is covered by the permission of this call.
        """
        entry = self.session.authority.registry.resource(resource or self.resource)
        if entry.url != self.resource or entry.url == LOCAL_TOOLS:
            raise InvalidRequest(
                f"this call is of a tool at {self.resource}; ask session.access() for another resource",
                code="invalid_target",
            )
        with self._lock:
            held = self._access.get(entry.url)
            if held is None or held.expires_at <= self.session.authority.now() + 1:
                held = self.session.access(entry.url, sorted(self.scopes), tool=self.tool)
                self._access[entry.url] = held
            return held

    def start(self) -> Self:
        """Ask for permission and record it. For adapters that can't use `with`; `finish` has to follow."""
        if self._entered:
            raise InvalidRequest("a tool call is entered once")
        request = CallRequest(
            subject_token="",
            tool=self.tool,
            resource=self.resource,
            scopes=self.scopes,
            call_id=self.call_id,
            arguments=self.arguments,
            to=self.to,
        )
        engine, agent = self.session.authority.engine, self.session.node.agent
        permitted = self.session.presenting(
            lambda token: engine.permit_call(agent, replace(request, subject_token=token))
        )
        self.policies = permitted.policies
        self._entered = True
        return self

    def suspend(self) -> None:
        """The body stops to wait, for a human as a rule, and will run again: recorded in place of an outcome."""
        self._suspended = True

    def finish(self, error: BaseException | None = None) -> None:
        """Record the outcome: the exception's type, never its text."""
        if self._suspended:
            self._tell("tool.suspended", "noted", {})
            return
        detail: dict[str, Json] = {} if error is None else {"error": type(error).__name__[:64]}
        if isinstance(error, Denied):
            detail["refused"] = error.reference
        if error is None:
            self._tell("tool.finished", "done", detail)
        else:
            self._tell("tool.failed", "failed", detail)

    def _tell(self, kind: str, outcome: str, detail: "dict[str, Json]") -> None:
        told = Note(
            kind=kind, outcome=outcome, tool=self.tool, call_id=self.call_id, resource=self.resource, detail=detail
        )
        self.session.authority.engine.note(self.session.node, told, self.session.shown)

    def __enter__(self) -> Self:
        self.start()
        self._token = ambient.CALL.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ambient.CALL.reset(self._token)
        self.finish(error)

    async def __aenter__(self) -> Self:
        await self.session.authority.run(self.start)
        self._token = ambient.CALL.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ambient.CALL.reset(self._token)
        await self.session.authority.run(lambda: self.finish(error))

    def __repr__(self) -> str:
        return f"ToolCall({self.tool!r}, session={self.session.id!r})"


def _digest(args: Mapping[str, Any] | None) -> bytes | None:
    """SHA-256 of the arguments as canonical JSON; what JSON has no form for is named by its type."""
    if args is None:
        return None
    try:
        text = orjson.dumps(
            dict(args),
            option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
            default=lambda o: type(o).__name__,
        )
    except (orjson.JSONEncodeError, TypeError, ValueError, RecursionError):
        text = b"unserialisable"
    return hashlib.sha256(text).hexdigest().encode()
