"""Plans of graphs, and the oracle: which sessions a plan opens and what it records. Knows nothing of the library.

The rules, as SEMANTICS says them for hand-offs: an agent that a tool runs, or that is a node, acts in a session below
the agent around it; one that is handed to acts below the one that handed, or back in its own session where that is
above; a hand-off that is refused opens nothing. What an agent may not use is refused and runs nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Union

HOST = "host"
NAMES = ("ann", "bob", "cid", "dee", "eve")
TOOLS = ("t0", "t1", "t2")


@dataclass(frozen=True)
class Use:
    """A call of a tool."""

    tool: str


@dataclass(frozen=True)
class Ask:
    """A call of a tool that runs another plan in its body."""

    plan: "Plan"


Turn = tuple[Use | Ask, ...]  # at once


@dataclass(frozen=True)
class Agent:
    """A model and its turns."""

    name: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Flow:
    """A graph of nodes: its stages run one after the other, the plans of a stage side by side."""

    name: str
    stages: tuple[tuple["Plan", ...], ...]


@dataclass(frozen=True)
class Team:
    """A graph whose agents hand to each other: each visit ends with a hand-off to the agent of the next."""

    name: str
    visits: tuple[Agent, ...]


@dataclass(frozen=True)
class Office:
    """A supervisor: hands to each worker in turn, and goes on when an edge leads back to it."""

    name: str
    chief: str
    shifts: tuple[Agent, ...]


Plan = Union[Agent, Flow, Team, Office]  # noqa: UP007  # an alias that refers to itself


@dataclass(frozen=True)
class Scene:
    """A plan and its rules. `refused`: (from, to) of hand-offs that nobody permits."""

    plan: Plan
    use: dict[str, frozenset[str]]
    refused: frozenset[tuple[str, str]]
    root: str = HOST


@dataclass
class Session:
    """A session that the plan opens."""

    agent: str
    above: "Session | None" = None
    calls: list[tuple[str, str]] = field(default_factory=list)
    below: list["Session"] = field(default_factory=list)

    @property
    def chain(self) -> tuple[str, ...]:
        """Agents from the root to this one."""
        return (*(self.above.chain if self.above else ()), self.agent)

    def ancestors(self, end: "Session") -> Iterator["Session"]:
        """Those strictly above, no further than `end`."""
        up = self
        while up is not end and up.above is not None:
            up = up.above
            yield up

    def drawn(self) -> str:
        """In one line, calls and siblings sorted."""
        calls = sorted(tool if outcome == "done" else f"{tool}:{outcome}" for tool, outcome in self.calls)
        below = sorted(child.drawn() for child in self.below)
        text = self.agent + (f"({', '.join(calls)})" if calls else "")
        return text + (f"{{{', '.join(below)}}}" if below else "")


Row = tuple[tuple[str, ...], str, str | None]  # chain, type, tool


class Expected:
    """What a scene has to bring about: `root`, the tree, and `rows`, the records with how often each comes."""

    def __init__(self, scene: Scene) -> None:
        self.rows: Counter[Row] = Counter()
        self._scene = scene
        self._asks = count()
        self.root = self._open(scene.root, None)
        if isinstance(scene.plan, Agent) and scene.plan.name == scene.root:
            self._turns(scene.plan, self.root)  # the host starts it and named it when it opened the session
        elif scene.plan.name:
            self._run(scene.plan, self.root)
        else:
            self._graph(scene.plan, self.root)
        self._row(self.root, "session.closed")

    def _row(self, session: Session, kind: str, tool: str | None = None) -> None:
        self.rows[session.chain, kind, tool] += 1

    def _open(self, agent: str, above: Session | None) -> Session:
        session = Session(agent, above)
        if above is not None:
            above.below.append(session)
        self._row(session, "session.opened")
        return session

    def _run(self, plan: Plan, around: Session) -> None:
        session = self._open(plan.name, around)
        if isinstance(plan, Agent):
            self._turns(plan, session)
        else:
            self._graph(plan, session)
        self._row(session, "session.closed")

    def _graph(self, plan: Plan, session: Session) -> None:
        if isinstance(plan, Flow):
            for stage in plan.stages:
                for node in stage:
                    self._run(node, session)
        elif isinstance(plan, Team):
            self._team(plan, session)
        elif isinstance(plan, Office):
            self._office(plan, session)

    def _call(self, session: Session, tool: str, *, permitted: bool) -> bool:
        session.calls.append((tool, "done" if permitted else "denied"))
        for kind in ("tool.started", "tool.finished") if permitted else ("tool.denied",):
            self._row(session, kind, tool)
        return permitted

    def _turns(self, agent: Agent, session: Session) -> None:
        for turn in agent.turns:
            for action in turn:
                if isinstance(action, Use):
                    self._call(session, action.tool, permitted=action.tool in self._scene.use[agent.name])
                elif self._call(session, "ask", permitted=(agent.name, action.plan.name) not in self._scene.refused):
                    self._run(action.plan, session)

    def _hand(self, session: Session, to: str) -> bool:
        taken = self._call(session, f"transfer_to_{to}", permitted=(session.agent, to) not in self._scene.refused)
        if taken:
            self._row(session, "handoff.announced", f"transfer_to_{to}")
        return taken

    def _team(self, team: Team, around: Session) -> None:
        opened = [self._open(team.visits[0].name, around)]
        current = opened[0]
        for visit, following in zip(team.visits, (*team.visits[1:], None), strict=True):
            self._turns(visit, current)
            if following is None or not self._hand(current, following.name):
                break
            tool = f"transfer_to_{following.name}"
            back = next((above for above in current.ancestors(around) if above.agent == following.name), None)
            if back is not None:
                self._row(back, "session.returned", tool)
                current = back
                continue
            delegator, current = current, self._open(following.name, current)
            opened.append(current)
            self._row(delegator, "handoff.taken", tool)
        for session in opened:
            self._row(session, "session.closed")

    def _office(self, office: Office, around: Session) -> None:
        chief = self._open(office.chief, around)
        for worker in office.shifts:
            if not self._hand(chief, worker.name):
                break
            session = self._open(worker.name, chief)
            self._row(chief, "handoff.taken", f"transfer_to_{worker.name}")
            self._turns(worker, session)
            self._row(session, "session.closed")
            self._row(chief, "session.reentered")
        self._row(chief, "session.closed")
