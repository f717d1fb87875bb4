"""Graphs that nobody thought of: the tree and the records of each are those that its plan says."""

import ast
import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from deputize import Authority
from deputize.config import from_mappings
from deputize.model.limits import Limits
from deputize.testing import FakeClock
from langchain_deputize.runs import RUNS
from packages.langchain_plugin.tests.shapes import plans
from packages.langchain_plugin.tests.shapes.building import graph_of
from packages.langchain_plugin.tests.shapes.kit import said
from packages.langchain_plugin.tests.shapes.plans import (
    HOST,
    NAMES,
    TOOLS,
    Agent,
    Ask,
    Expected,
    Flow,
    Office,
    Plan,
    Scene,
    Session,
    Team,
    Use,
)

Draw = Callable[[Any], Any]
Make = Callable[..., Plan]
DEPTH = 3  # of plans in plans
LIMITS = Limits(depth_max=16)
KINDS = ("session.", "tool.", "handoff.", "agent.", "exchange.")
SEEDED = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def scenes(draw: Draw, kind: Make) -> Scene:
    """A scene whose outermost plan is of this kind."""
    use = {name: draw(st.frozensets(st.sampled_from(TOOLS))) for name in NAMES}
    pairs = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))
    refused = draw(st.frozensets(pairs, max_size=3))
    plan = kind(draw, DEPTH, draw(_names(HOST, refused)), refused)
    root = HOST
    if isinstance(plan, Agent):
        root = draw(st.sampled_from([HOST, plan.name]))
    elif draw(st.booleans()):
        plan = replace(plan, name="")  # the graph that the host starts may be without a name
    return Scene(plan, use, refused, root)


def _plan(draw: Draw, depth: int, around: str, refused: frozenset[tuple[str, str]]) -> Plan:
    """A plan of an agent that the one around it may have."""
    kinds = [_agent] if depth == 0 else [_agent, _flow, _team, _office]
    made: Plan = draw(st.sampled_from(kinds))(draw, depth, draw(_names(around, refused)), refused)
    return made


def _names(around: str, refused: frozenset[tuple[str, str]]) -> st.SearchStrategy[str]:
    return st.sampled_from([name for name in NAMES if name != around and (around, name) not in refused])


def _agent(draw: Draw, depth: int, name: str, refused: frozenset[tuple[str, str]]) -> Agent:
    def action() -> Use | Ask:
        if depth == 0 or draw(st.booleans()):
            return Use(draw(st.sampled_from(TOOLS)))
        asked = draw(st.sampled_from(NAMES))  # may be refused, or itself
        kind = draw(st.sampled_from([_agent, _flow, _team, _office])) if depth > 1 else _agent
        return Ask(kind(draw, depth - 1, asked, refused))

    sizes = draw(st.lists(st.integers(1, 2), max_size=2))
    return Agent(name, tuple(tuple(action() for _ in range(size)) for size in sizes))


def _flow(draw: Draw, depth: int, name: str, refused: frozenset[tuple[str, str]]) -> Flow:
    sizes = draw(st.lists(st.integers(1, 2), min_size=1, max_size=2))
    return Flow(name, tuple(tuple(_plan(draw, depth - 1, name, refused) for _ in range(size)) for size in sizes))


def _team(draw: Draw, depth: int, name: str, refused: frozenset[tuple[str, str]]) -> Team:
    names = [draw(_names(name, refused))]
    for _ in range(draw(st.integers(0, 3))):
        back = [other for other in names[:-1] if other != names[-1]]  # hand-offs back are rare by chance
        others = [other for other in NAMES if other not in {name, names[-1]}]
        names.append(draw(st.sampled_from(back) if back and draw(st.booleans()) else st.sampled_from(others)))
    return Team(name, tuple(_agent(draw, depth - 1, member, refused) for member in names))


def _office(draw: Draw, depth: int, name: str, refused: frozenset[tuple[str, str]]) -> Office:
    chief = draw(_names(name, refused))
    others = st.sampled_from([other for other in NAMES if other not in {name, chief}])
    workers = draw(st.lists(others, min_size=1, max_size=2))
    return Office(name, chief, tuple(_agent(draw, depth - 1, worker, refused) for worker in workers))


def authority_for(scene: Scene) -> Authority:
    """Each agent has what the scene says, and a tool that nobody calls: a session holds at least one right."""
    agents = {HOST: ["idle"], **{name: ["idle", *sorted(tools)] for name, tools in scene.use.items()}}
    delegations = {name: [to for to in NAMES if (name, to) not in scene.refused] for name in NAMES}
    configuration = from_mappings(agents=agents, delegations={HOST: list(NAMES), **delegations})
    return Authority.from_configuration(replace(configuration, limits=LIMITS), clock=FakeClock())


def drawn(node: Any) -> Session:
    """What the authority tells of a session, as the oracle writes it."""
    calls = [(call["tool"], call["outcome"]) for call in node["calls"]]
    return Session(node["agent"], calls=calls, below=[drawn(child) for child in node["children"]])


def told(records: list[Any]) -> Counter[plans.Row]:
    """The records as the oracle writes them: whose session it is stands in the one that opened it."""
    chains = {
        record["sid"]: tuple(str(actor).rpartition("/")[2] for actor in reversed(record["chain"]))
        for record in records
        if record["type"] == "session.opened"
    }
    return Counter((chains[record["sid"]], str(record["type"]), record.get("tool")) for record in records)


def check(scene: Scene, waits: bool) -> None:
    expected = Expected(scene)
    note(expected.root.drawn())
    assume(max(len(chain) for chain, _, _ in expected.rows) <= LIMITS.depth_max)
    graph = graph_of(scene)
    authority = authority_for(scene)
    config: Any = {"recursion_limit": 200}
    try:
        if waits:

            async def main() -> Any:
                async with await authority.asession(user="alice", agent=scene.root) as session:
                    await graph.ainvoke(said("go"), config)
                    return await session.atree()

            tree = asyncio.run(main())
        else:
            with authority.session(user="alice", agent=scene.root) as session:
                graph.invoke(said("go"), config)
                tree = session.tree()
        records = [record for record in authority.audit.find() if str(record["type"]).startswith(KINDS)]
    finally:
        authority.close()
    assert drawn(tree.to_dict()).drawn() == expected.root.drawn()
    assert told(records) == expected.rows
    assert {node.state for node in tree.walk()} <= {"open", "closed"}
    assert [node.agent for node in tree.walk() if node.state == "open"] == [scene.root]
    nested(records)
    assert len(RUNS) == 0


def nested(records: list[Any]) -> None:
    """Each session's records lie between those that open and close it, and these within the ones of its parent."""
    spans: dict[str, list[int]] = {}
    for record in records:
        spans.setdefault(str(record["sid"]), []).append(int(record["seq"]))
    ends = {"session.opened": min, "session.closed": max}
    for record in records:
        if end := ends.get(str(record["type"])):
            assert record["seq"] == end(spans[str(record["sid"])])


def explore(kind: Make, examples: int) -> None:
    @given(scene=scenes(kind), waits=st.booleans())
    @settings(SEEDED, max_examples=examples)
    def each(scene: Scene, waits: bool) -> None:
        check(scene, waits)

    each()


KINDS_OF_PLANS = pytest.mark.parametrize("kind", [_agent, _flow, _team, _office])


@KINDS_OF_PLANS
def test_a_graph_opens_the_sessions_and_writes_the_records_that_its_plan_says(kind: Make) -> None:
    explore(kind, 7)


@pytest.mark.deep
@KINDS_OF_PLANS
def test_each_of_many_graphs_opens_the_sessions_and_writes_the_records_that_its_plan_says(kind: Make) -> None:
    explore(kind, 125)


def test_the_oracle_imports_nothing_but_pythons_own() -> None:
    tree = ast.parse(Path(str(plans.__file__)).read_text(encoding="utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
