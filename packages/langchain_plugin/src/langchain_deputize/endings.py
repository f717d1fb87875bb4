"""What becomes of a session when its agent's run has ended.

It closes; or it is left open, where the run waits to be resumed and a key finds the session again; or it closes later,
where the activation may be tried again, or be run again with what is suspended around it.
"""

from deputize import Session
from langchain_deputize.commands import fails
from langchain_deputize.runs import RUNS, Over, Run


def end_session(run: Run, session: Session, error: BaseException | None) -> None:
    """The run that a session was bound to has ended. One that lasts is only noted as suspended."""
    if not (run.owns or run.lasts):
        return
    if run.suspended:
        session.note("session.suspended")
    if not run.owns or (run.suspended and run.keyed):
        return
    if not run.suspended and (run.keyed or fails(error)):
        _later(run, [Over(session=session, spot=run.spot, keyed=run.keyed)])
    else:
        session.close()


def end_graph(graph: Run, error: BaseException | None) -> None:
    """Hand-offs that no agent took are told; agents that waited for what they handed on have nothing to wait for."""
    for announced in graph.waiting:
        detail = {"to": announced.to}
        announced.session.note("handoff.not_taken", tool=announced.tool, call_id=announced.call_id, detail=detail)
    for over in reversed(graph.deferred):
        if graph.suspended and over.keyed:
            over.session.note("session.suspended")
        elif fails(error) or over.keyed:
            graph.over.append(over)
        else:
            over.session.close()


def settle(run: Run, error: BaseException | None) -> None:
    """What ended below a run closes with the task that it was done in, unless that is suspended, or may be retried."""
    with RUNS.lock:
        ended, run.over = run.over, []
    if run.suspended:
        ended = [over for over in ended if not over.keyed]
    if not fails(error) and (run.task or run.parent is None or run.suspended):
        _close(ended)
    else:
        _later(run, ended)


def _later(run: Run, ended: list[Over]) -> None:
    """The nearest run that still goes on around `run` sees to it; where none does, it is seen to now."""
    up = run.parent
    with RUNS.lock:
        if up is not None and RUNS.get(up.id) is up:
            up.over.extend(ended)
            return
    _close(ended)


def _close(ended: list[Over]) -> None:
    for over in ended:
        over.session.close()
