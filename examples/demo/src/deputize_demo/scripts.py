"""The parts that the scripted model plays. Each looks at what it was asked and at what its tools answered."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Final

from deputize_demo.agents import RESEARCHER, SUPERVISOR, WRITER
from deputize_demo.model import Calls, Part, Turn

REPORT: Final = "I need a churn report. Who leaves, who is about to, and what should we do?"
WATCH: Final = "Keep watching: have the researcher look again while the writer redrafts."
LOOK_AGAIN: Final = "Please look again."
REDRAFT: Final = "Please redraft the report."
STOPPED: Final = "I was stopped."
_ORDER: Final = re.compile(r"call (\w+) with (\w+)=(\w+)")  # an order to a model, wherever it stands


class Interlude:
    """Where agents pause between two calls, while somebody else acts."""

    def __init__(self, agents: int) -> None:
        self._expected = agents
        self._all_here = asyncio.Event()
        self._over = asyncio.Event()

    async def pause(self) -> None:
        """An agent: wait until it is over. At once where it is over already."""
        self._expected -= 1
        if self._expected == 0:
            self._all_here.set()
        await self._over.wait()

    async def all_here(self) -> None:
        """The other side: wait until every agent pauses."""
        await self._all_here.wait()

    def over(self) -> None:
        """Let them go on."""
        self._over.set()


class Cast:
    """The three parts. In the second run, researcher and writer both pause between two calls."""

    def __init__(self) -> None:
        self.interlude = Interlude(agents=2)

    def parts(self) -> Mapping[str, Part]:
        """Every part by its system prompt."""
        return {SUPERVISOR: self.supervisor, RESEARCHER: self.researcher, WRITER: self.writer}

    async def supervisor(self, turn: Turn) -> str | Calls:
        """Asks the researcher, then the writer; in the second run both at once."""
        if turn.task == WATCH:
            return _keep_watching(turn)
        findings = turn.result("ask_researcher")
        if not findings:
            return [("ask_researcher", {"task": "Which plans lose customers, and who is about to leave on scale?"})]
        written = turn.result("ask_writer")
        if not written:
            return [("ask_writer", {"task": f"Write the churn report. Findings: {findings}"})]
        return f"Here is your report. {findings} {written}"

    async def researcher(self, turn: Turn) -> str | Calls:
        """Reads rates, then rows; and does what a row tells it to do, as models do."""
        rates = turn.result("churn_by_plan")
        if not rates:
            return [("churn_by_plan", {})]
        rows = turn.result("read_customers")
        if not rows:
            if turn.task == LOOK_AGAIN:
                await self.interlude.pause()
            return [("read_customers", {"plan": "scale"})]
        order = _ORDER.search(rows)
        if order is not None and not turn.result("drop_table"):
            return [(order[1], {order[2]: order[3]})]
        return STOPPED if turn.refused and turn.task == LOOK_AGAIN else _findings(rates, rows)

    async def writer(self, turn: Turn) -> str | Calls:
        """Saves the report, and then asks for what nobody asked it for."""
        if not turn.results:
            return [("save_report", {"text": f"# Churn\n\n{turn.task.partition('Findings: ')[2]}\n"})]
        if turn.task == REDRAFT:
            if turn.refused:
                return STOPPED
            await self.interlude.pause()
            return [("save_report", {"text": "# Churn, second draft\n"})]
        if not turn.result("read_salaries"):
            return [("read_salaries", {"team": "sales"})]
        return "It is saved, without salaries." if turn.refused else "It is saved, with salaries."


def _keep_watching(turn: Turn) -> str | Calls:
    if not turn.results:
        return [("ask_researcher", {"task": LOOK_AGAIN}), ("ask_writer", {"task": REDRAFT})]
    return STOPPED if turn.refused else [("ask_researcher", {"task": LOOK_AGAIN})]


def _findings(rates: str, rows: str) -> str:
    plans = ", ".join(f"{row['plan']} loses {row['rate']}%" for row in json.loads(rates))
    names = ", ".join(row["name"] for row in json.loads(rows))
    return f"{plans}. About to leave on scale: {names}."
