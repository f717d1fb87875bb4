"""The guard of one tool call, whoever puts it there: middleware or the tool itself."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool

from deputize import Session
from deputize.errors import Denied, DeputizeError
from deputize.runtime import (
    CallScope,
    ambient_session,
    answer_for_model,
    is_refusal,
    refused,
    tool_call,
)
from langchain_deputize.binding import ended, note_unnamed
from langchain_deputize.commands import hands_off, suspends
from langchain_deputize.delivery import delivers
from langchain_deputize.handoffs import HandOffTool, hand_off_of
from langchain_deputize.marks import Mark, marked, marking
from langchain_deputize.roots import outside
from langchain_deputize.runs import RUNS, Run, session_at
from langchain_deputize.steps import Work, adrive, drive

LOG: Final = logging.getLogger("langchain_deputize")


@dataclass(frozen=True, slots=True)
class Spec:
    """What `secure_tool` was told about a tool. Empty: the registry knows."""

    scopes: tuple[str, ...] | None = None
    resource: str | None = None
    name: str | None = None
    handoff_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool: as LangChain sees it, and as the registry and the record know it."""

    tool: str
    call_id: str | None
    args: Mapping[str, object]
    parent: Run | None
    spec: Spec = Spec()

    @property
    def known_as(self) -> str:
        """The name in the registry and the record."""
        return self.spec.name or self.tool


def parent_of(callbacks: object) -> Run | None:
    """The run that a tool is called from, by the callback manager or the list that LangChain hands on."""
    parent = getattr(callbacks, "parent_run_id", None)
    return RUNS.enclosing(parent if isinstance(parent, UUID) else None)


def session_of(call: Call) -> Work[Session]:
    """The session of the agent that calls: by the run tree. Raises NoSession, and UnknownAgent for an unnamed agent."""
    try:
        session = session_at(call.parent) if call.parent is not None else ambient_session()
    except DeputizeError as error:
        yield from note_unnamed(call.parent, call.tool, call.call_id, error)
        raise
    if session is None:
        raise outside(call.tool)
    return session


class Guard:
    """`with` or `async with` around the body. Entering raises Denied; `checked` looks at the result."""

    def __init__(self, call: Call, session: Session, tool: BaseTool | None, declared: Sequence[str] = ()) -> None:
        names = call.parent.agents if call.parent is not None else {}
        self._handoff: HandOffTool | None = hand_off_of(
            tool,
            call.known_as,
            call.args,
            session,
            resource=call.spec.resource,
            declared=declared or call.spec.handoff_to,
            names=names,
        )
        self._call = call
        self._tool = tool
        self._scope: CallScope = tool_call(
            call.known_as,
            args=call.args,
            call_id=call.call_id,
            scopes=call.spec.scopes,
            resource=call.spec.resource,
            to=self._handoff.to if self._handoff is not None else (),
            session=session,
        )
        self._mark = Mark(parent=call.parent, tool=call.tool, call_id=call.call_id, session=session)
        self._marking = marking(self._mark)

    def __enter__(self) -> Self:
        entered = self._scope.__enter__()
        try:
            if delivers(self._tool, entered):
                entered.access()  # a refusal is told here, not in the midst of the connection
        except BaseException as error:
            self._scope.__exit__(type(error), error, error.__traceback__)
            raise
        self._marking.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        drive(self._leaving(error))
        self._scope.__exit__(kind, error, trace)

    async def __aenter__(self) -> Self:
        entered = await self._scope.__aenter__()
        try:
            if delivers(self._tool, entered):
                await entered.session.authority.run(entered.access)
        except BaseException as error:
            await self._scope.__aexit__(type(error), error, error.__traceback__)
            raise
        self._marking.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await adrive(self._leaving(error))
        await self._scope.__aexit__(kind, error, trace)

    def _leaving(self, error: BaseException | None) -> Work[None]:
        if suspends(error):
            self._scope.suspend()
        self._marking.__exit__(None, None, None)
        for run_id in self._mark.runs:
            yield from ended(run_id, error)

    def checked(self, result: Any) -> Any:  # noqa: ANN401  # a tool's result is anything
        """The result, unless a tool that only looked like a hand-off brings something else."""
        handoff = self._handoff
        if handoff is None or handoff.nodes is None or hands_off(result, handoff.nodes):
            return result
        if isinstance(result, ToolMessage) and result.status == "error":
            return result
        raise refused(
            Denied,
            "handoff_mismatch",
            asked=f'"{self._call.tool[:64]}" ran as a hand-off tool and did not hand off; its result is withheld',
            enough=f'if it is a tool: agents.<name>.use.local = ["{self._call.known_as[:64]}"]',
            reference=self._call.call_id or "",
        )


def already_guarded(call: Call) -> bool:
    """True inside the guard of this very call: permit and exchange have been done once."""
    return marked(call.parent, call.tool, call.call_id) is not None


def answer(call: Call, error: DeputizeError) -> ToolMessage:
    """What the model reads instead of a result. The full text goes to the log. Raises what is for people."""
    if not is_refusal(error) or call.call_id is None:
        raise error
    LOG.warning("%s", error)
    return ToolMessage(content=answer_for_model(error), name=call.tool, tool_call_id=call.call_id, status="error")
