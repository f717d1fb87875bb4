"""The tree of LangChain runs, and where in it the sessions are.

The run tree is not the delegation tree: a hand-off by `Command` ends the delegator's run and starts the other
agent's as a sibling. What is kept here is what callbacks tell; `binding` turns it into sessions.
"""

from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import TYPE_CHECKING, Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from deputize import Session
from deputize.errors import DeputizeError
from deputize.runtime import ambient_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_deputize.steps import Gate

Kind = Literal["chain", "tool", "other"]


@dataclass(frozen=True, slots=True)
class Announced:
    """A hand-off that a tool's `Command` asked for and no run has taken yet. `to` is a node of the graph."""

    session: Session
    tool: str
    call_id: str | None
    to: str


@dataclass(frozen=True, slots=True)
class Over:
    """A session whose agent's run has ended, and which closes later: the activation may be tried again or resumed."""

    session: Session
    spot: tuple[object, ...]
    keyed: bool  # can be found again by its key, in another process too


@dataclass(slots=True, eq=False)
class Run:
    """One run, from its start event to its end event."""

    id: UUID  # a copy: the id that LangChain holds tells how long the run is remembered
    parent: "Run | None"
    kind: Kind
    name: str
    label: str | None = None  # metadata `lc_agent_name`: inherited, so it proves nothing by itself
    where: str | None = None  # metadata `langgraph_node`: of a graph's own run, the node that it was started in
    task: bool = False  # a task of its parent's graph (tag `graph:step:N`)
    ns: str | None = None  # metadata `langgraph_checkpoint_ns`: the same for each attempt, and after a resume
    thread: str | None = None  # metadata `thread_id`
    number: int = 0  # which one of its name in the task or tool around it: of chains, and of tools without a call id
    pushed: bool = False  # of a task: one of several of its node, asked for by `Send`
    base: Session | None = None  # of a run without parent: the session around it
    inside: bool = False  # of a run without parent: started in the body of a guarded tool
    teller: object = None  # of a run without parent: the thread and task that started it
    agents: "Mapping[str, str]" = field(default_factory=dict)  # the handler's registered names
    graph: bool = False  # has tasks
    session: Session | None = None  # bound to this very run
    owns: bool = False  # ... and opened for it, so closed after it
    lasts: bool = False  # ... and kept for the turns to come, so closed by whoever closes the one above
    spot: tuple[object, ...] = ()  # ... and found by it when the activation is tried again
    keyed: bool = False  # ... or, in another process, by its key
    refusal: DeputizeError | None = None  # an agent without identity, or one that was refused: nothing runs in it
    suspended: bool = False  # of a graph: it waits for a human
    call_id: str | None = None
    description: str | None = None  # of deepagents' `task`: what the other agent is asked to do
    expects: str | None = None  # of an unguarded hand-off tool: the node that its result has to name
    counts: dict[str, int] = field(default_factory=dict)  # of a task or tool: how many runs of each name it started
    over: list[Over] = field(default_factory=list)  # what ended below it and is not closed yet
    begun: bool = False  # of a graph: an agent ran in it
    known: dict[str, Session] = field(default_factory=dict)  # of a run without parent: what ran below it, by id
    waiting: list[Announced] = field(default_factory=list)  # of a graph
    entered: set[str] = field(default_factory=set)  # of a graph: ids of outer sessions that ran in it
    idle: dict[str, Session] = field(default_factory=dict)  # of a graph: agents that handed on and may come back
    deferred: list[Over] = field(default_factory=list)  # of a graph: closed when it ends
    open: "dict[UUID, Run]" = field(default_factory=dict)  # of a run without parent: all below it that go on
    lock: Lock = field(default_factory=Lock)
    gate: "Gate | None" = None  # of a graph: open once it is found out whose it is


class RunTree:
    """All runs that are going on in this process. One tree for all handlers, so that two never open twice."""

    def __init__(self) -> None:
        self._runs: dict[UUID, Run] = {}
        self._remembered: WeakKeyDictionary[UUID, Run] = WeakKeyDictionary()
        self.lock = RLock()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: Run, told: UUID) -> bool:
        """False where another handler told of this run before. `told`: its id, the very object that LangChain holds."""
        with self.lock:
            if run.id in self._runs:
                return False
            self._runs[run.id] = run
            self._remembered[told] = run
            top(run).open[run.id] = run
            return True

    def get(self, run_id: UUID | None) -> Run | None:
        """The run that is going on under this id."""
        return self._runs.get(run_id) if run_id is not None else None

    def remove(self, run_id: UUID) -> Run | None:
        """The run, once: the first handler that tells of its end gets it."""
        with self.lock:
            run = self._runs.pop(run_id, None)
            if run is not None:
                top(run).open.pop(run_id, None)
            return run

    def left_over(self, run: Run) -> list[Run]:
        """What still goes on below a run without parent that has ended, innermost first.

        Before langchain-core 1.7.5 no end is told of a tool that was cancelled.
        """
        with self.lock:
            left = list(reversed(run.open.values()))
            run.open.clear()
            for item in left:
                self._runs.pop(item.id, None)
            return left

    def enclosing(self, parent_run_id: UUID | None) -> Run | None:
        """The run that code with this parent id belongs to.

        LangSmith's own spans, or a callback manager made by hand, hide the parent's id; then the run that
        LangChain keeps in its context is asked, so that what is nested is never taken for a top-level call.
        Nor is what goes on in the background of a run that has ended: whoever holds that run's id still belongs to it.
        """
        run = self._remembered.get(parent_run_id) if parent_run_id is not None else None
        if run is None:
            context = _context_run_id()
            run = self._remembered.get(context) if context is not None else None
        return run


RUNS = RunTree()


def _context_run_id() -> UUID | None:
    from langchain_core.runnables.config import var_child_runnable_config  # noqa: PLC0415  # loaded once anything runs

    config = var_child_runnable_config.get()
    callbacks = config.get("callbacks") if config else None
    return getattr(callbacks, "parent_run_id", None)


def below(session: Session, other: Session) -> bool:
    """True where `session` is strictly below `other`."""
    up = session.parent
    while up is not None:
        if up.id == other.id:
            return True
        up = up.parent
    return False


def innermost(base: Session | None, ambient: Session | None) -> Session | None:
    """The session of the run, or the one that user code opened below it with `with`."""
    if base is None or (ambient is not None and below(ambient, base)):
        return ambient
    return base


def holder(run: Run | None) -> Run | None:
    """The nearest run, itself included, that a session is bound to. Raises where an unnamed agent is nearer."""
    while run is not None:
        if run.session is not None:
            return run
        if run.refusal is not None:
            raise run.refusal
        run = run.parent
    return None


def top(run: Run) -> Run:
    """The run that host code started."""
    while run.parent is not None:
        run = run.parent
    return run


def session_at(run: Run | None) -> Session | None:
    """The session that code in `run` acts in. Raises UnknownAgent inside an agent without identity."""
    if run is None:
        return ambient_session()
    held = holder(run)
    base = held.session if held is not None else top(run).base
    return innermost(base, ambient_session())


def graph_above(run: Run) -> tuple[Run | None, bool]:
    """(the graph that `run` is a part of, whether a tool's body started it). Never a graph beyond a tool."""
    last, up = run, run.parent
    while up is not None:
        if up.kind == "tool":
            return None, True
        if up.graph:
            return up, False
        last, up = up, up.parent
    return None, last.inside


def node_of(run: Run, graph: Run) -> str:
    """The node of `graph` that `run` happens in, itself included."""
    while run.parent is not None and run.parent is not graph:
        run = run.parent
    return run.name


def node_around(run: Run | None) -> str | None:
    """The node of the nearest graph that `run`, itself included, happens in; also beyond a tool."""
    while run is not None and not run.task:
        run = run.parent
    return run.name if run is not None else None
