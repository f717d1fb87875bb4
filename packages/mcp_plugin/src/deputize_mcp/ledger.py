"""Records of calls at a resource server: started, then done or failed; or denied."""

import logging
import secrets
from typing import Final, Literal

import anyio

from deputize.errors import ConfigurationError, DeputizeError
from deputize.verifier import Caller
from deputize_mcp.asgi import Message, Send
from deputize_mcp.body import Operation
from deputize_mcp.outcome import Outcome, Watch
from deputize_mcp.trust import Report, Trust

logger = logging.getLogger(__name__)
RecordMode = Literal["required", "optional", "off"]
_MOST_NAME: Final = 128  # characters of a tool's name in the log


class Ledger:
    """Writes to the log of the authority, if there is one here.

    `mode`: "required" (nothing runs that could not be recorded), "optional" (a failure to record is logged and
    the call goes on) or "off". Raises ConfigurationError for "required" without a log to write to.
    """

    def __init__(self, trust: Trust, mode: str) -> None:
        if mode not in {"required", "optional", "off"}:
            raise ConfigurationError('record is "required", "optional" or "off"', key="record")
        if mode == "required" and trust.record is None:
            raise ConfigurationError(
                'this authority object has no record_call to record calls with: give it one, or say record="off"',
                key="record",
            )
        self._record = None if mode == "off" else trust.record
        self._required = mode == "required"

    def call(self, caller: Caller, operation: Operation, scopes: frozenset[str]) -> "Call":
        """The records of one call."""
        return Call(self, caller, operation, scopes)

    async def write(self, report: Report) -> None:
        """Append. Raises DeputizeError in mode "required" alone."""
        if self._record is None:
            return
        try:
            await self._record(report)
        except DeputizeError as failure:
            logger.error("a call could not be recorded: %s", failure.code)  # noqa: TRY400  # the code, never a trace with values
            if self._required:
                raise


class Call:
    """One operation of one caller on its way through the guard."""

    def __init__(self, ledger: Ledger, caller: Caller, operation: Operation, scopes: frozenset[str]) -> None:
        self._ledger = ledger
        self._watch = Watch(operation.request_id)
        self._ended = False
        self._report = Report(
            sid=caller.session,
            txn=caller.root,
            jti=caller.jti,
            sub=caller.subject,
            agent=caller.agent,
            resource=caller.resource,
            tool=_name(operation),
            scopes=tuple(sorted(scopes)),
            call_id=f"g-{secrets.token_hex(8)}",  # ties the records of one call together
            outcome="started",
            code=None,
        )

    async def started(self) -> None:
        """Before anything runs. Raises DeputizeError where it has to be recorded and can't."""
        await self._ledger.write(self._report)

    async def denied(self, code: str) -> None:
        """Instead of running."""
        self._ended = True
        await self._ledger.write({**self._report, "outcome": "denied", "code": code})

    def watched(self, send: Send) -> Send:
        """A `send` that records the outcome before the client can have read it."""

        async def watching(message: Message) -> None:
            outcome = self._watch.see(message)
            if outcome is not None:
                await self.ended(outcome)
            await send(message)

        return watching

    async def ended(self, outcome: Outcome, code: str | None = None) -> None:
        """The outcome, once. What ran has run: a failure to record it is logged and stops nothing more."""
        if self._ended:
            return
        self._ended = True
        with anyio.CancelScope(shield=True):
            try:
                await self._ledger.write({**self._report, "outcome": outcome, "code": code})
            except DeputizeError:
                return  # logged already


def _name(operation: Operation) -> str:
    """A tool by its name; anything else by its method and the name of its object."""
    name = operation.names[0] if operation.names else ""
    text = name if operation.kind == "tool" else f"{operation.method or 'message without a method'} {name}".strip()
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:_MOST_NAME]
