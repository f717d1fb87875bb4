"""Tells what happens while it happens: follows the Authority's own log and puts each record into words."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Final, Self

from deputize import Session
from deputize.errors import DeputizeError
from deputize.runtime import answer_for_model
from deputize_demo.screen import HAND_OFF, Screen
from deputize_demo.servers import Server
from deputize_demo.words import Record, detail, listed, name, person, texts

_PAUSE: Final = 0.03  # seconds between two looks at the log
_PATIENCE: Final = 20  # looks that the plugin's own message may come late
_LOGGER: Final = "langchain_deputize"  # where the plugin tells developers why something was refused


class Narrator:
    """`async with` it around what is to be told.

    `cues`: tool to what is shown before it is first called. `explain`: tools whose refusal is shown as a developer
    reads it in the log.
    """

    def __init__(
        self,
        screen: Screen,
        root: Session,
        server: Server,
        *,
        cues: Mapping[str, Callable[[], None]] | None = None,
        explain: Collection[str] = (),
    ) -> None:
        self._screen = screen
        self._root = root
        self._server = server
        self._cues = dict(cues or {})
        self._explain = frozenset(explain)
        self._messages = _Messages()
        self._next = 0
        self._waited = 0
        self._depths: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        logging.getLogger(_LOGGER).addHandler(self._messages)
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        self._waited = _PATIENCE
        self.catch_up()
        logging.getLogger(_LOGGER).removeHandler(self._messages)

    def skip(self) -> Self:
        """What happened until now has been told."""
        for record in self._root.authority.audit.find(root=self._root.id):
            self._next = _number(record) + 1
            self._remember_depth(record)
        return self

    def catch_up(self) -> None:
        """Tell what was not told yet."""
        for record in self._root.authority.audit.find(root=self._root.id):
            if _number(record) < self._next:
                continue
            if self._has_to_wait(record):
                return
            self._next = _number(record) + 1
            self._tell(record)

    async def _follow(self) -> None:
        while True:
            self.catch_up()
            await asyncio.sleep(_PAUSE)

    def _has_to_wait(self, record: Record) -> bool:
        """A refusal is in the log a moment before its message is; they are told together."""
        if record["type"] != "tool.denied" or record.get("tool") not in self._explain:
            return False
        if self._messages.about(record) is not None or self._waited >= _PATIENCE:
            return False
        self._waited += 1
        return True

    def _tell(self, record: Record) -> None:
        cue = self._cues.pop(str(record.get("tool")), None)
        if cue is not None:
            cue()
        self._remember_depth(record)
        depth = self._depths.get(str(record.get("sid")), 0)
        who = f"{name(record.get('agent'))} for {person(self._root.subject)}"
        match record["type"]:
            case "session.opened":
                ceiling = detail(record).get("ceiling")
                scopes = [str(right[1]) for right in ceiling] if isinstance(ceiling, list) else []
                self._screen.session(depth, who, f"Session opens: {listed(scopes)}")
            case "session.closed":
                self._screen.session(depth, who, "Session closes")
            case "tool.started" | "tool.denied":
                self._tell_call(depth, who, record)
            case "resource.call_finished" | "resource.call_failed":
                for line in self._server.said():
                    self._screen.aside(f"{self._server.name}:", line)
            case _:
                pass

    def _tell_call(self, depth: int, who: str, record: Record) -> None:
        needs = " ".join(texts(record.get("scopes"))) or HAND_OFF
        policy = (texts(record.get("policies")) or ["default-deny"])[0]
        allowed = record["type"] == "tool.started"
        self._screen.call(depth, who, str(record.get("tool")), needs, policy, allowed=allowed)
        refusal = self._messages.about(record)
        if not allowed and refusal is not None and record.get("tool") in self._explain:
            self._screen.aside("the model reads:", answer_for_model(refusal))
            self._screen.block("the developer reads, in the log:", str(refusal))

    def _remember_depth(self, record: Record) -> None:
        if record["type"] == "session.opened":
            self._depths[str(record.get("sid"))] = int(str(detail(record).get("depth", 0)))


def _number(record: Record) -> int:
    return int(str(record["seq"]))


class _Messages(logging.Handler):
    """What the plugin told developers: refusals, to be found by their reference."""

    def __init__(self) -> None:
        super().__init__()
        self._refusals: dict[str, DeputizeError] = {}

    def emit(self, record: logging.LogRecord) -> None:
        for argument in record.args if isinstance(record.args, tuple) else ():
            if isinstance(argument, DeputizeError) and argument.reference is not None:
                self._refusals[argument.reference] = argument

    def about(self, record: Record) -> DeputizeError | None:
        return self._refusals.get(str(record.get("reference")))
