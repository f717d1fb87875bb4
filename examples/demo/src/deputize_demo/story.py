"""The scenes in order, and what is checked in each."""

import asyncio
from dataclasses import dataclass
from typing import Final

from deputize import Session, SessionTree
from langchain_core.language_models import BaseChatModel

from deputize_demo import agents, scripts, tampering, theft, tools
from deputize_demo.checks import Checks
from deputize_demo.command_line import deputize
from deputize_demo.model import ScriptedModel
from deputize_demo.narrator import Narrator
from deputize_demo.screen import Screen
from deputize_demo.seed import CUSTOMERS, INJECTION, POISONED
from deputize_demo.setting import Setting
from deputize_demo.words import Record, name, texts

RULE: Final = "changes-need-a-signed-in-user"  # in config/policies/house.cedar
_PATIENCE: Final = 60.0  # seconds that both agents may take to the interlude


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    checks: Checks
    tree: SessionTree
    records: int


class Story:
    """One run of the demo."""

    def __init__(self, setting: Setting, screen: Screen, model: BaseChatModel | None) -> None:
        self._setting = setting
        self._screen = screen
        self._authority = setting.authority
        self._interlude = scripts.Interlude(2)
        self._scripted = ScriptedModel(parts=scripts.parts(self._interlude))
        self._model = model
        self.checks = Checks()

    async def play(self) -> Outcome:
        """All six scenes. Servers are up when it starts."""
        with self._authority.session(user="alice", agent="supervisor", task="churn report") as root:
            await self._report(root)
            self._check_report()
            await self._theft(root)
            await self._revocation(root)
        await self._log()
        return Outcome(self.checks, root.tree(), len(self._authority.audit))

    # Scenes 1 to 3: the report.

    async def _report(self, root: Session) -> None:
        self._screen.heading(
            "1 · The report",
            f"alice: {scripts.REPORT}",
            "Each hand-off opens a Session that can do no more than the one before. Each tool call gets an Access of its "
            "own: for one server and one scope, worthless without the agent's key.",
        )
        narrator = Narrator(
            self._screen,
            root,
            self._setting.analytics,
            cues={"drop_table": self._tell_injection, "ask_writer": self._tell_writer},
            explain={"drop_table", "read_salaries"},
        )
        if self._model is not None:
            await self._ask(self._model, narrator)
            if self._all_seen():
                return
            self._screen.say("The model did not fall for everything. The scripted one does:")
        await self._ask(self._scripted, narrator)

    async def _ask(self, model: BaseChatModel, narrator: Narrator) -> None:
        agent = self._build(model)
        async with narrator:
            answer = await agent.ainvoke({"messages": [{"role": "user", "content": scripts.REPORT}]})
        self._screen.say("")
        self._screen.say(f"supervisor: {_last(answer)}")

    def _build(self, model: BaseChatModel) -> agents.Agent:
        setting = self._setting
        analytics = tools.analytics_tools(setting.analytics.url)
        writing = [*tools.report_tools(setting.folder), *tools.payroll_tools(setting.payroll.url)]
        return agents.build(model, analytics=analytics, writing=writing)

    def _tell_injection(self) -> None:
        self._screen.heading(
            "2 · An order hidden in the data",
            f"The note of customer {POISONED} reads: {INJECTION}",
            "The researcher believes what it reads, as models do.",
        )

    def _tell_writer(self) -> None:
        self._screen.heading(
            "3 · What was never handed on",
            "The writer thinks that the report needs salaries. Its Session has nothing at the payroll server.",
        )

    def _all_seen(self) -> bool:
        wanted = (("tool.started", "read_customers"), ("tool.denied", "drop_table"), ("tool.denied", "read_salaries"))
        return all(self._records(kind, tool) for kind, tool in wanted)

    def _check_report(self) -> None:
        add, setting = self.checks.add, self._setting
        heard = "researcher calls read_customers for local|alice, sent by supervisor, token for customers:read"
        lines = setting.analytics.everything()
        add(
            "the server hears who calls, for whom, through whom",
            expected=heard,
            observed=next((line for line in lines if " read_customers " in line), "nothing"),
        )
        tokens = {_token(record) for record in self._records("exchange.permitted", "read_customers")}
        add(
            "the token is for that server and that scope alone",
            expected=f"{setting.analytics.url} customers:read",
            observed=", ".join(sorted(tokens)),
        )
        add("the injected order is refused by a policy", expected=f"denied by {RULE}", observed=self._fate("drop_table"))
        ran = sum(" drop_table " in line for line in lines)
        add("the body of drop_table ran", expected="0 times", observed=f"{ran} times")
        tokens = {_token(record) for record in self._records("exchange.permitted", "drop_table")}
        add("tokens issued for drop_table", expected=0, observed=len(tokens))
        add("customers in the table", expected=CUSTOMERS, observed=setting.count_customers())
        add("payroll is outside the writer's session", expected="denied by session-ceiling", observed=self._fate("read_salaries"))
        add("calls that reached payroll", expected=0, observed=len(setting.payroll.everything()))
        report = setting.folder / "report.md"
        add("the report was written all the same", expected="yes", observed="yes" if report.exists() else "no")
