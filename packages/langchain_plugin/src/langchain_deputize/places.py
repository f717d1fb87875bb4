"""Where in a thread an agent runs: the key under which its session is found again, after a resume or in a later turn.

Run ids are new on every resume. What stays is the thread, the path of tasks (`langgraph_checkpoint_ns`), the id of the
tool call, and the agent. A key holds for one delegator: the authority takes its session into account.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import NamedTuple

from langchain_deputize.runs import RUNS, Run, top


class Spot(NamedTuple):
    """One activation of an agent, in this process: each attempt at it is there."""

    ns: str | None
    call_id: str | None
    agent: str
    number: int


@dataclass(frozen=True, slots=True)
class Place:
    """One place for all attempts at one activation; where it is `lasting`, for all turns of the thread.

    An agent that sits in the nodes of a graph lasts: the next turn may begin with it, and nothing tells then who handed
    on. One that a tool call or a `Send` asked for is over with that.
    """

    spot: Spot
    thread: str | None
    steps: tuple[str, ...]  # from the innermost outwards, to the first that is there for one activation alone
    lasting: bool

    def key(self, agent: str | None = None) -> str | None:
        """The key of the agent's session, or of another agent's in the nodes of the same graph. None: no thread."""
        if self.thread is None:
            return None
        told = [self.thread, list(self.steps), agent or self.spot.agent, self.spot.number]
        return f"langgraph:{hashlib.sha256(json.dumps(told).encode()).hexdigest()}"


def place_of(run: Run, agent: str) -> Place:
    """The place of an agent's run."""
    steps: list[str] = []
    lasting, nodes, call_id = True, 0, None
    up: Run | None = run
    while up is not None and lasting:
        if up.kind == "tool":
            call_id = up.call_id or f"{up.name} {up.number}"
            steps += [up.ns or "", call_id]
            lasting = False
        elif up.task and up.pushed:
            steps.append(up.ns or "")
            lasting = False
        elif up.task:
            nodes += 1
            if nodes > 1:  # its own node's name counts for nothing: hand-offs are found by agents
                steps.append(up.name)
        up = up.parent
    # Code that a tool's body started without its callbacks: nothing tells two such calls apart.
    thread = None if lasting and top(run).inside else run.thread
    spot = Spot(run.ns, call_id, agent, run.number)
    return Place(spot=spot, thread=thread, steps=tuple(steps), lasting=lasting and thread is not None)


def number(run: Run) -> None:
    """Count a chain or a tool that starts, among those of its name in one task or tool: what is gathered is told apart.

    On resume LangGraph starts all of them again, in their order, also those that have nothing left to do.
    """
    site = run.parent
    while site is not None and site.parent is not None and not (site.task or site.kind == "tool"):
        site = site.parent
    if site is not None:
        with RUNS.lock:
            run.number = site.counts.get(run.name, 0)
            site.counts[run.name] = run.number + 1
