"""Which session an agent's run gets: opened when the agent runs, closed when it has ended."""

import logging
from functools import partial
from typing import Final
from uuid import UUID

from deputize import Session
from deputize.errors import DeputizeError, UnknownAgent
from deputize.runtime import ambient_session, refused
from langchain_deputize.commands import destinations, suspends
from langchain_deputize.endings import end_graph, end_session, settle
from langchain_deputize.places import place_of
from langchain_deputize.runs import (
    RUNS,
    Announced,
    Over,
    Run,
    below,
    graph_above,
    holder,
    innermost,
    node_of,
    session_at,
    top,
)
from langchain_deputize.steps import Caller, Gate, Work, closed, done, noted
from langchain_deputize.threads import open_at, resume_below

UNNAMED: Final = "LangGraph"  # what LangGraph calls a graph that was given no name

_LOG: Final = logging.getLogger("langchain_deputize")


def enter_graph(graph: Run) -> Work[None]:
    """A first task shows that `graph` is one: find out whose it is, before any model or tool call in it."""
    with graph.lock:
        first, graph.graph = not graph.graph, True
        gate = graph.gate = graph.gate or Gate()
    if not first:
        yield from gate.passed()
        return
    try:
        if graph.session is None:
            yield from _identify(graph)
    except DeputizeError as error:
        graph.refusal = error
        raise
    finally:
        gate.open()


def _identify(graph: Run) -> Work[None]:
    above, called = graph_above(graph)
    hosted = above is None and not called
    agent = _name_of(graph)
    if agent is not None:
        yield from bind(graph, agent)
    elif hosted:
        graph.session = session_at(graph)  # the host named the agent when it opened the session
    else:
        graph.refusal = _unnamed(graph)


def _name_of(graph: Run) -> str | None:
    """From registration and structure: the handler's names, create_agent's label, a registered graph name."""
    listed = graph.agents.get(graph.name) or (graph.agents.get(f"@{graph.where}") if graph.where else None)
    if listed is not None:
        return listed
    outer = graph.parent.label if graph.parent is not None else None
    if graph.label is not None and graph.label != outer:
        return graph.agents.get(graph.label, graph.label)
    session = session_at(graph)
    if graph.name != UNNAMED and session is not None and session.authority.registry.agent(graph.name) is not None:
        return graph.name
    return None


def _unnamed(graph: Run) -> UnknownAgent:
    session = session_at(graph)
    under = session.name if session is not None else "no session"
    where = f"@{graph.where}" if graph.where else graph.name
    return refused(
        UnknownAgent,
        "unknown_agent",
        asked=f'an agent without a name ("{graph.name[:64]}") runs under {under}; no tool of it is executed',
        enough='create_agent(..., name="<name>") with [agents.<name>] registered, '
        f'or DeputizeCallbackHandler(agents={{"{where[:64]}": "<name>"}})',
        hint="an unnamed agent is never taken for the one that started it",
        reference=session.id if session is not None else "",
    )


def bind(run: Run, agent: str) -> Work[None]:
    """Give an agent's run its session: opened below the delegator's, or the one that it had before."""
    held = holder(run.parent)
    inherited = held.session if held is not None else top(run).base
    base = innermost(inherited, ambient_session())
    if base is None:
        return  # no session: whatever needs one is refused there
    opened_by_hand = base is not inherited
    graph, called = graph_above(run)
    if graph is None or opened_by_hand:
        if base.name == agent and (opened_by_hand or not called):
            run.session = base
        else:
            yield from _open(run, base, agent)
        return
    announced = _take(graph, node_of(run, graph))
    if announced is not None:
        yield from _take_over(run, graph, base, announced, agent)
    elif base.name == agent:
        yield from _enter(run, graph, base, same=held is not None and _between(held, graph))
    else:
        with RUNS.lock:
            back = graph.idle.pop(agent, None)
        if back is None:
            yield from _open(run, base, agent, first=not graph.begun)
        else:
            _go_on(run, graph, back)
            yield from noted(back, "session.reentered")
    graph.begun = True


def _between(held: Run, graph: Run) -> bool:
    """True where the session was bound inside `graph`: a node and the agent in it are one activation."""
    up = held.parent
    while up is not None:
        if up is graph:
            return True
        up = up.parent
    return False


def _enter(run: Run, graph: Run, base: Session, *, same: bool) -> Work[None]:
    run.session = base
    if same:
        return
    with RUNS.lock:
        again = base.id in graph.entered
        graph.entered.add(base.id)
    if again:
        yield from noted(base, "session.reentered")


def _take(graph: Run, node: str) -> Announced | None:
    with RUNS.lock:
        for announced in graph.waiting:
            if announced.to == node:
                graph.waiting.remove(announced)
                return announced
    return None


def _take_over(run: Run, graph: Run, base: Session, announced: Announced, agent: str) -> Work[None]:
    """The other agent runs: below the delegator, or back in its own session where it is above the delegator."""
    back = _outer(announced.session, base, agent)
    if back is not None:
        with RUNS.lock:
            graph.idle.pop(agent, None)
            graph.entered.add(back.id)
            over_now = [over for over in graph.deferred if below(over.session, back)]
            graph.deferred = [over for over in graph.deferred if over not in over_now]
            over = {waiting.session.id for waiting in over_now}
            graph.idle = {name: session for name, session in graph.idle.items() if session.id not in over}
        _go_on(run, graph, back)
        yield from noted(back, "session.returned", announced)
        for waiting in reversed(over_now):
            yield from closed(waiting.session)
        return
    yield from _open(run, announced.session, agent)
    if run.session is not None:
        yield from noted(announced.session, "handoff.taken", announced, {"to": agent, "sid": run.session.id})


def _go_on(run: Run, graph: Run, session: Session) -> None:
    run.session = session
    run.lasts = session.id in top(run).known and all(over.session is not session for over in graph.deferred)


def _outer(session: Session, base: Session, agent: str) -> Session | None:
    """The session of `agent` strictly above `session`, never above the one that the graph runs in."""
    while session.id != base.id and session.parent is not None:
        session = session.parent
        if session.name == agent:
            return session
    return None


def _open(run: Run, base: Session, agent: str, *, first: bool = False) -> Work[None]:
    """Below `base`, or again what the same place had before. `first` of its graph: an earlier turn may tell more."""
    place = place_of(run, agent)
    run.spot, run.lasts, run.owns = place.spot, place.lasting, not place.lasting
    failed = _tried_before(run, base)
    if failed is not None:
        run.session, run.keyed = failed.session, failed.keyed
        yield from noted(failed.session, "session.reentered")
        return
    key = place.key()
    run.keyed = key is not None
    if key is None:
        run.session = yield from done(base, partial(base.delegate, agent, task=_task(run)))
        return
    earlier = first and place.lasting and place.spot.number == 0
    found = (yield from resume_below(base, place, agent)) if earlier else None
    run.session = found or (yield from open_at(base, agent, key, _task(run)))
    known = top(run).known
    if run.session.id in known:
        yield from noted(run.session, "session.reentered")
    elif run.session.reissued:
        yield from noted(run.session, "session.resumed")
    known[run.session.id] = run.session


def _tried_before(run: Run, base: Session) -> Over | None:
    """The session of an attempt at the same activation that failed: a retry goes on in it."""
    up = run.parent
    with RUNS.lock:
        while up is not None:
            for over in up.over:
                if over.spot == run.spot and over.session.node.parent == base.id:
                    up.over.remove(over)
                    return over
            up = up.parent
    return None


def _task(run: Run) -> str | None:
    """What deepagents' `task` tool was asked to have done; other shapes keep it in their messages."""
    up = run.parent
    while up is not None and up.kind != "tool":
        up = up.parent
    return up.description if up is not None else None


def announce(run: Run, output: object) -> Work[None]:
    """A tool ended: note the hand-offs that its `Command` asks the graph above its agent for."""
    nodes = destinations(output)
    agent, _ = graph_above(run)
    graph, _ = graph_above(agent) if agent is not None else (None, False)
    session = session_at(run)
    if graph is None or session is None:
        return
    for node in nodes:
        announced = Announced(session=session, tool=run.name, call_id=run.call_id, to=node)
        yield from noted(session, "handoff.announced", announced, {"to": node})
        with RUNS.lock:
            graph.waiting.append(announced)


def ended(run_id: UUID, error: BaseException | None) -> Work[None]:
    """LangChain, or a guard, tells that a run is over. Only the first word counts."""
    run = RUNS.remove(run_id)
    if run is None:
        return
    if run.parent is None:
        for left in RUNS.left_over(run):
            yield from finish(left, error)
    yield from finish(run, error)


def finish(run: Run, error: BaseException | None) -> Work[None]:
    """A run ended: see to what was opened for it, unless its agent waits for what it handed on."""
    if suspends(error):
        run.suspended = True
        if run.task and run.parent is not None:
            run.parent.suspended = True
    session = run.session
    graph, _ = graph_above(run)
    if run.kind == "chain" and session is not None and graph is not None:
        with RUNS.lock:
            waits = (run.owns or run.lasts) and any(announced.session is session for announced in graph.waiting)
            if waits and run.owns:
                graph.deferred.append(Over(session=session, spot=run.spot, keyed=run.keyed))
            if waits or any(over.session is session for over in graph.deferred):
                graph.idle[session.name] = session
                run.owns = False
    if run.graph:
        yield from end_graph(run, error)
    if session is not None:
        yield from end_session(run, session, error)
    yield from settle(run, error)


def note_unnamed(run: Run | None, tool: str, call_id: str | None, error: DeputizeError) -> Work[None]:
    """Record a refusal because of who runs: in the session of the host, for it belongs to no agent's."""
    base = top(run).base if run is not None else None
    if base is not None:
        yield from noted(base, "agent.unnamed", Caller(tool, call_id), {"code": error.code})


def refuse_unguarded(run: Run, session: Session) -> Work[None]:
    """Record a tool that no guard saw."""
    yield from noted(session, "tool.unguarded", Caller(run.name, run.call_id))
    _LOG.warning("tool %r runs under %s without a guard and was refused", run.name, session.name)


def is_registered(name: str, resource: str | None, session: Session) -> bool:
    """Whether the registry knows a tool of that name: then `use` governs it, whatever else it looks like."""
    entry = session.authority.tool(name, resource)
    return name in entry.resource.tools or not entry.scopes or entry.rights <= entry.resource.rights
