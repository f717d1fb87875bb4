"""The supervisor of the package langgraph-supervisor (scenarios 7 and 8)."""

import warnings
from collections.abc import Callable
from typing import Any

from deputize.errors import Denied
from langchain_deputize import DeputizeCallbackHandler
from langchain_deputize.testing import calls
from packages.langchain_plugin.tests.shapes.kit import Director, Stage, adder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # langgraph-supervisor imports what LangGraph 1 deprecates
    from langgraph_supervisor import create_supervisor

Build = Callable[..., Stage]
TEAM: dict[str, Any] = {
    "agents": {"supervisor": [], "math": ["add"], "web": ["add"]},
    "delegations": {"supervisor": ["math", "web"]},
}
TO_MATH, TO_WEB = calls(("transfer_to_math", {}, "h1")), calls(("transfer_to_web", {}, "h2"))
BOTH = calls(("transfer_to_math", {}, "h1"), ("transfer_to_web", {}, "h2"))


def supervised(*names: str, steps: list[Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_supervisor([adder(name) for name in names], model=Director(steps=steps)).compile()


def test_workers_have_sessions_below_the_supervisors_in_turn(stage: Build) -> None:
    told = stage(**TEAM).run(supervised("math", "web", steps=[TO_MATH, TO_WEB, "all done"]), agent="supervisor")
    assert told.result["messages"][-1].content == "all done"
    assert told.tree == "supervisor{math(add), web(add)}"
    assert all(set(node.scopes) <= set(told.nodes[0].scopes) for node in told.nodes)
    assert told.rows == [
        "supervisor session.opened",
        "supervisor handoff.announced transfer_to_math",
        "math session.opened",
        "supervisor handoff.taken transfer_to_math",
        "math tool.started add",
        "math tool.finished add",
        "math session.closed",
        "supervisor session.reentered",
        "supervisor handoff.announced transfer_to_web",
        "web session.opened",
        "supervisor handoff.taken transfer_to_web",
        "web tool.started add",
        "web tool.finished add",
        "web session.closed",
        "supervisor session.reentered",
        "supervisor session.closed",
    ]


def test_of_two_hand_offs_at_once_one_is_taken_and_the_other_mints_nothing(stage: Build) -> None:
    """Which of the two runs is up to langgraph-supervisor (issue 230), and it may run both one day."""
    told = stage(**TEAM).run(supervised("math", "web", steps=[BOTH, "all done", "all done"]), agent="supervisor")
    lost = {row["detail"]["to"] for row in told.of("handoff.not_taken")}
    opened = {str(row["agent"]).rpartition("/")[2] for row in told.of("session.opened")} - {"supervisor"}
    assert len(told.of("handoff.announced")) == 2
    assert {row["detail"]["to"] for row in told.of("handoff.taken")} == opened
    assert opened | lost == {"math", "web"}
    assert not opened & lost
    assert told.tree in {"supervisor{math(add)}", "supervisor{web(add)}", "supervisor{math(add), web(add)}"}
    for name in lost:
        assert not any(row.startswith(name) for row in told.rows)


def test_a_hand_off_that_policy_refuses_stops_the_run_and_opens_nothing(stage: Build) -> None:
    place = stage(agents=TEAM["agents"], delegations={"supervisor": ["math"]})
    told = place.run(supervised("math", "web", steps=[TO_WEB, "done"]), agent="supervisor", raises=Denied)
    assert isinstance(told.error, Denied)
    assert len(told.nodes) == 1
    assert len(told.of("handoff.denied")) == 1


def test_the_supervisor_is_known_by_registration_alone(stage: Build) -> None:
    """create_react_agent gives no label: its name in the registry, or in the handler's, is what tells."""
    place = stage(agents={"desk": [], "chief": [], "math": ["add"]}, delegations={"desk": ["chief"], "chief": ["math"]})
    told = place.run(
        supervised("math", steps=[TO_MATH, "all done"]),
        agent="desk",
        callbacks=[DeputizeCallbackHandler(agents={"supervisor": "chief"})],
    )
    assert told.tree == "desk{chief{math(add)}}"
