"""What becomes of a session when its agent's run has ended.

It closes; or it is left open, where the run waits to be resumed and a key finds the session again; or it closes later,
where the activation may be tried again, or be run again with what is suspended around it.
"""

from deputize import Session
from langchain_deputize.commands import fails
from langchain_deputize.runs import RUNS, Over, Run
from langchain_deputize.steps import Work, closed, noted


def end_session(run: Run, session: Session, error: BaseException | None) -> Work[None]:
    """The run that a session was bound to has ended. One that lasts is only noted as suspended."""
    if not (run.owns or run.lasts):
        return
    if run.suspended:
        yield from noted(session, "session.suspended")
    if not run.owns or (run.suspended and run.keyed):
        return
    if not run.suspended and (run.keyed or fails(error)):
        yield from _later(run, [Over(session=session, spot=run.spot, keyed=run.keyed)])
    else:
        yield from closed(session)


def end_graph(graph: Run, error: BaseException | None) -> Work[None]:
    """Hand-offs that no agent took are told; agents that waited for what they handed on have nothing to wait for."""
    for announced in list(graph.waiting):
        yield from noted(announced.session, "handoff.not_taken", announced, {"to": announced.to})
    for over in list(reversed(graph.deferred)):
        if graph.suspended and over.keyed:
            yield from noted(over.session, "session.suspended")
        elif fails(error) or over.keyed:
            graph.over.append(over)
        else:
            yield from closed(over.session)


def settle(run: Run, error: BaseException | None) -> Work[None]:
    """What ended below a run closes with the task that it was done in, unless that is suspended, or may be retried."""
    with RUNS.lock:
        ended, run.over = run.over, []
    if run.suspended:
        ended = [over for over in ended if not over.keyed]
    if not fails(error) and (run.task or run.parent is None or run.suspended):
        yield from _close(ended)
    else:
        yield from _later(run, ended)


def _later(run: Run, ended: list[Over]) -> Work[None]:
    """The nearest run that still goes on around `run` sees to it; where none does, it is seen to now.

    A sibling of what waits may end when all around it is suspended already: it will be run again with the rest.
    """
    up = run.parent
    with RUNS.lock:
        if up is not None and RUNS.get(up.id) is up:
            up.over.extend(ended)
            return
        waits = _suspended(run)
    yield from _close([over for over in ended if not (over.keyed and waits)])


def _suspended(run: Run) -> bool:
    up = run.parent
    while up is not None:
        if up.suspended:
            return True
        up = up.parent
    return False


def _close(ended: list[Over]) -> Work[None]:
    for over in ended:
        yield from closed(over.session)
