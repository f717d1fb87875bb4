"""What every scene works with."""

from dataclasses import dataclass, field

from langchain_core.language_models import BaseChatModel

from deputize import Authority, Session
from deputize_demo import agents, tools
from deputize_demo.checks import Checks
from deputize_demo.screen import Screen
from deputize_demo.setting import Setting
from deputize_demo.words import Record, texts


@dataclass(frozen=True, slots=True)
class Stage:
    """The setting, the screen, and the checks so far. `root` is alice's session."""

    setting: Setting
    screen: Screen
    root: Session
    checks: Checks = field(default_factory=Checks)

    @property
    def authority(self) -> Authority:
        """The one Authority of the run."""
        return self.setting.authority

    def agents(self, model: BaseChatModel) -> agents.Agent:
        """The supervisor, with the agents and tools behind it."""
        analytics = tools.analytics_tools(self.setting.analytics.url)
        payroll = tools.payroll_tools(self.setting.payroll.url)
        return agents.build(model, analytics=analytics, writing=[*tools.report_tools(self.setting.folder), *payroll])

    def records(self, kind: str, tool: str | None = None) -> list[Record]:
        """Records of alice's tree, oldest first."""
        return list(self.authority.audit.find(root=self.root.id, type=kind, tool=tool))

    def revoked_at(self) -> int:
        """The number of the record that cut alice off; the last one where nobody did."""
        found = self.authority.audit.find(type="user.revoked", limit=1)
        return number(found[0]) if found else len(self.authority.audit) - 1

    def fate(self, tool: str) -> str:
        """What became of the first call of a tool: `allowed`, or `denied by <policy>`."""
        calls = [*self.records("tool.started", tool), *self.records("tool.denied", tool)]
        return outcome(min(calls, key=number)) if calls else "never called"


def number(record: Record) -> int:
    """A record's place in the log."""
    return int(str(record["seq"]))


def outcome(record: Record) -> str:
    """`allowed`, or `denied by <policy>`."""
    if record["type"] == "tool.started":
        return "allowed"
    return f"denied by {(texts(record.get('policies')) or ['nothing'])[0]}"
