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


def parts(interlude: Interlude) -> Mapping[str, Part]:
    """Every part by its system prompt. In the second run, researcher and writer both pause at `interlude`."""

    async def supervisor(turn: Turn) -> str | Calls:
        if turn.task == WATCH:
            return _keep_watching(turn)
        findings = turn.result("ask_researcher")
        if not findings:
            return [("ask_researcher", {"task": "Which plans lose customers, and who is about to leave on scale?"})]
        written = turn.result("ask_writer")
        if not written:
            return [("ask_writer", {"task": f"Write the churn report. Findings: {findings}"})]
        return f"Here is your report. {written}"

    async def researcher(turn: Turn) -> str | Calls:
        rates = turn.result("churn_by_plan")
        if not rates:
            return [("churn_by_plan", {})]
        rows = turn.result("read_customers")
        if not rows:
            if "look again" in turn.task:
                await interlude.pause()
            return [("read_customers", {"plan": "scale"})]
        order = _ORDER.search(rows)
        if order is not None and not turn.result("drop_table"):
            return [(order[1], {order[2]: order[3]})]  # it believes what it reads, as models do
        return _findings(rates, rows) if not rows.startswith("Refused") else "I was stopped."

    async def writer(turn: Turn) -> str | Calls:
        if not turn.results:
            return [("save_report", {"text": f"# Churn\n\n{turn.task.partition('Findings: ')[2]}\n"})]
        if "redraft" in turn.task:
            if len(turn.results) > 1:
                return "I was stopped."
            await interlude.pause()
            return [("save_report", {"text": "# Churn, second draft\n"})]
        if not turn.result("read_salaries"):
            return [("read_salaries", {"team": "sales"})]  # nobody asked for that
        return "It is saved. What the sales team earns could not be read, so it is not in it."

    return {SUPERVISOR: supervisor, RESEARCHER: researcher, WRITER: writer}


def _keep_watching(turn: Turn) -> str | Calls:
    if not turn.results:
        return [
            ("ask_researcher", {"task": "Please look again."}),
            ("ask_writer", {"task": "Please redraft the report. Findings: as before"}),
        ]
    if not turn.refused:
        return [("ask_researcher", {"task": "Please look again."})]
    return "I was stopped."


def _findings(rates: str, rows: str) -> str:
    plans = ", ".join(f"{row['plan']} loses {row['rate']} %" for row in json.loads(rates))
    names = ", ".join(row["name"] for row in json.loads(rows))
    return f"{plans}. About to leave on scale: {names}."
