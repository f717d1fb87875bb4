"""Tells what happens while it happens: follows the Authority's own log and puts each record into words."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from deputize import Session

from deputize_demo.screen import Screen, listed
from deputize_demo.servers import Server
from deputize_demo.serve import name

_PAUSE: Final = 0.03  # seconds between two looks at the log
_LOGGER: Final = "langchain_deputize"  # where the plugin tells developers why something was refused

Record = Mapping[str, object]


class Narrator:
    """`async with` it around what is to be told. `cues`: tool to what is shown before it is first called."""

    def __init__(
        self, screen: Screen, root: Session, server: Server, *, cues: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        self._screen = screen
        self._root = root
        self._server = server
        self._cues = dict(cues or {})
        self._next = 0
        self._depths: dict[str, int] = {}
        self._refusals = _Refusals()

    async def __aenter__(self) -> Self:
        self._next = len(self._root.authority.audit) if self._next else 0
        logging.getLogger(_LOGGER).addHandler(self._refusals)
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        logging.getLogger(_LOGGER).removeHandler(self._refusals)
        self.catch_up()

    def catch_up(self) -> None:
        """Tell what was not told yet."""
        for record in self._root.authority.audit.find(root=self._root.id):
            number = record["seq"]
            if isinstance(number, int) and number >= self._next:
                self._next = number + 1
                self._tell(record)

    async def _follow(self) -> None:
        while True:
            self.catch_up()
            await asyncio.sleep(_PAUSE)

    def _tell(self, record: Record) -> None:
        cue = self._cues.pop(str(record.get("tool")), None)
        if cue is not None:
            cue()
        who = f"{name(str(record.get('agent')))} for {name(self._root.subject.replace('|', '/'))}"
        depth = self._depth(record)
        match record["type"]:
            case "session.opened":
                self._screen.session(depth, who, f"Session opens: {self._ceiling(record)}")
            case "session.closed":
                self._screen.session(depth, who, "Session closes")
            case "session.revoked" | "user.revoked":
                self._screen.session(depth, who, "revoked, and with it everything below")
            case "tool.started" | "tool.denied" as kind:
                allowed = kind == "tool.started"
                policies = _texts(record.get("policies"))
                needs = " ".join(_texts(record.get("scopes"))) or "a hand-off"
                self._screen.call(depth, who, str(record["tool"]), needs, policies[0], allowed=allowed)
                if not allowed:
                    self._refusals.show(self._screen)
            case "resource.call_finished":
                for line in self._server.said():
                    self._screen.aside(f"{self._server.name} server:", line)
            case _:
                pass

    def _depth(self, record: Record) -> int:
        sid = str(record.get("sid"))
        detail = record.get("detail")
        if record["type"] == "session.opened" and isinstance(detail, Mapping):
            self._depths[sid] = int(str(detail.get("depth", 0)))
        return self._depths.get(sid, 0)

    def _ceiling(self, record: Record) -> str:
        detail = record.get("detail")
        ceiling = detail.get("ceiling") if isinstance(detail, Mapping) else None
        return listed(str(right[1]) for right in ceiling) if isinstance(ceiling, list) else "nothing"
