"""Facts of the installed LangGraph and its companions that the design leans on, without our own code: graphs."""

import warnings
from collections.abc import Callable
from typing import Annotated, Any, NotRequired

import pytest
from langchain.agents import AgentState, create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import InjectedToolCallId, StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.watch import ADD, Watch, add, label, release, said, scripted

Invoke = Callable[..., Any]
LABELLED = release("langgraph") >= (1, 2, 3)


def watched(graph: Any, inputs: Any = None, **config: Any) -> Watch:
    watch = Watch()
    graph.invoke(inputs if inputs is not None else said("go"), {"callbacks": [watch], **config})
    return watch


def node(graph: Any) -> Any:
    """A graph of one node."""
    outer = StateGraph(MessagesState)
    outer.add_node("step", graph)
    outer.add_edge(START, "step")
    return outer.compile()


def inside(graph: Any) -> Any:
    """A function that runs an agent."""
    return lambda state: {"messages": graph.invoke({"messages": state["messages"]})["messages"][-1:]}


def asking(graph: Any) -> Any:
    def ask() -> str:
        return str(graph.invoke(said("?"))["messages"][-1].content)

    return StructuredTool.from_function(ask, name="ask", description="Ask.")


def functional(graph: Any) -> Any:
    @task
    def step(text: str) -> str:
        return str(graph.invoke(said(text))["messages"][-1].content)

    @entrypoint()
    def flow(inputs: dict[str, Any]) -> str:
        return str(step("?").result())

    return flow


def in_a_tool(graph: Any) -> Any:
    return scripted(None, calls(("ask", {}, "c0")), tools=[asking(graph)])


def as_tool(graph: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as_tool is in beta
        made = graph.as_tool(name="ask", description="Ask.", arg_types={"messages": list})
    return scripted(None, calls(("ask", {"messages": [("user", "?")]}, "c0")), tools=[made])


SHAPES = pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda graph: graph, id="alone"),
        pytest.param(node, id="subgraph node"),
        pytest.param(lambda graph: node(inside(graph)), id="invoked in a node"),
        pytest.param(in_a_tool, id="in a tool"),
        pytest.param(as_tool, id="as_tool"),
        pytest.param(lambda graph: RunnableParallel(one=graph), id="RunnableParallel"),
        pytest.param(lambda graph: RunnableLambda(lambda x: graph.batch([x])), id="batch"),
        pytest.param(functional, id="functional"),
    ],
)


@SHAPES
def test_an_agents_own_run_bears_its_name_in_every_shape_and_is_no_task(shape: Any) -> None:
    assert watched(shape(scripted("inner", ADD))).names("inner") == ["inner"]


@SHAPES
def test_an_agents_own_run_bears_its_label_from_langgraph_1_2_3_also_where_it_is_a_node(shape: Any) -> None:
    labels = [label(run) for run in watched(shape(scripted("inner", ADD))).runs("inner")]
    assert labels == ["inner" if shape is not node or LABELLED else None]


def test_deepagents_label_the_main_agent_and_its_sub_agents_and_a_compiled_one_as_it_was_listed() -> None:
    deepagents = pytest.importorskip("deepagents")  # the oldest LangChain that we support has none
    tasks = calls(*(("task", {"description": "?", "subagent_type": n}, n) for n in ("analyst", "compiled")))
    sub: Any = {
        "name": "analyst",
        "description": "a",
        "system_prompt": "p",
        "tools": [add],
        "model": ScriptedModel(steps=["counted"]),
    }
    compiled: Any = {"name": "compiled", "description": "c", "runnable": scripted("inside", ADD)}
    deep = deepagents.create_deep_agent(
        model=ScriptedModel(steps=[tasks, "done"]), tools=[add], name="deep", subagents=[sub, compiled]
    )
    watch = watched(deep)
    runs = watch.runs("deep", "analyst", "compiled", "inside")
    assert (runs[0]["name"], sorted(run["name"] for run in runs[1:])) == ("deep", ["analyst", "compiled"])
    assert all(label(run) == run["name"] for run in runs)
    asked = [run["inputs"] for run in watch.of("tool") if run["tool"] == "task"]
    assert [set(inputs) for inputs in asked] == [{"description", "subagent_type"}] * 2


class Director(ScriptedModel):
    """Takes its steps by how many workers answered."""

    def _turn(self, messages: list[BaseMessage]) -> Any:
        done = sum(isinstance(m, AIMessage) and str(m.content).endswith(" is done") for m in messages)
        return ScriptedModel(steps=[self.steps[min(done, len(self.steps) - 1)]])._turn([])


def supervised(step: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langgraph-supervisor imports what LangGraph 1 deprecates
        from langgraph_supervisor import create_supervisor

        workers = [
            create_agent(ScriptedModel(steps=[f"{name} is done"], speaker=name), [add], name=name)
            for name in ("math", "web")
        ]
        return create_supervisor(workers, model=Director(steps=[step, "all done", "all done"])).compile()


def test_a_supervisor_has_a_name_and_no_label_and_its_workers_have_one() -> None:
    watch = watched(supervised(calls(("transfer_to_math", {}, "h1"))))
    assert {label(run) for run in watch.of("chain") if run["name"] == "supervisor"} == {None}
    assert watch.names("supervisor", "math", "web") == ["supervisor", "math", "supervisor"]
    assert {label(run) for run in watch.runs("math")} == {"math" if LABELLED else None}


def test_a_hand_off_tool_of_the_companions_names_its_destination_in_its_metadata() -> None:
    from langgraph_swarm import create_handoff_tool

    watch = watched(supervised(calls(("transfer_to_math", {}, "h1"))))
    assert [run["metadata"]["__handoff_destination"] for run in watch.of("tool")] == ["math"]
    assert create_handoff_tool(agent_name="bob").metadata == {"__handoff_destination": "bob"}


def test_of_two_hand_offs_at_once_a_supervisor_may_lose_one() -> None:
    """Upstream's issue 230. Both are announced, always; should both run one day, the design holds as well."""
    watch = watched(supervised(calls(("transfer_to_math", {}, "h1"), ("transfer_to_web", {}, "h2"))))
    assert len([run for run in watch.of("tool end") if isinstance(run["output"], Command)]) == 2
    assert set(watch.names("math", "web")) in [{"math"}, {"web"}, {"math", "web"}]


def test_the_next_turn_of_a_swarm_begins_with_its_active_agent_and_no_hand_off_is_told() -> None:
    from langgraph_swarm import create_handoff_tool, create_swarm

    alice = create_agent(
        ScriptedModel(steps=[calls(("transfer_to_bob", {}, "a1"))]),
        [create_handoff_tool(agent_name="bob")],
        name="alice",
    )
    bob = create_agent(ScriptedModel(steps=["bob is here"]), [add], name="bob")
    swarm = create_swarm([alice, bob], default_active_agent="alice").compile(checkpointer=InMemorySaver())
    first, second = (watched(swarm, configurable={"thread_id": "t1"}) for _ in range(2))
    assert first.names("alice", "bob") == ["alice", "bob"]
    assert second.names("alice", "bob") == ["bob"]
    assert second.of("tool") == []


def test_steps_by_a_member_of_the_state_are_one_run_to_callbacks() -> None:
    class State(AgentState[Any]):
        current_step: NotRequired[str]

    @tool
    def go_on(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Go on."""
        return Command(update={"current_step": "two", "messages": [ToolMessage("on", tool_call_id=tool_call_id)]})

    graph = scripted("desk", calls(("go_on", {}, "s1")), ADD, tools=[go_on, add], state_schema=State)
    watch = watched(graph)
    assert watch.names("desk", "two") == ["desk"]
    assert "two" not in repr([run["metadata"] for run in watch.of("chain") + watch.of("tool")])


def test_each_of_two_parallel_tool_calls_is_a_task_of_its_own() -> None:
    watch = watched(scripted("solo", calls(("add", {"a": 1, "b": 1}, "c1"), ("add", {"a": 1, "b": 1}, "c2"))))
    tasks = watch.tasks("tools")
    assert len({run["run_id"] for run in tasks}) == 2
    assert {run["parent_run_id"] for run in watch.of("tool")} == {run["run_id"] for run in tasks}


def waits() -> Any:
    """An agent in a tool of another; its own tool waits for a human, and a sibling does not."""
    ran: list[str] = []

    @tool
    def approve() -> str:
        """Wait for a human."""
        ran.append("approve")
        return str(interrupt("?"))

    @tool
    def quick() -> str:
        """Wait for nobody."""
        ran.append("quick")
        return "ran"

    inner = scripted("inner", calls(("approve", {}, "i1"), ("quick", {}, "i2")), tools=[approve, quick])
    boss = scripted("boss", calls(("ask", {}, "c0")), tools=[asking(inner)], checkpointer=InMemorySaver())
    return boss, ran


def test_over_a_resume_task_path_call_id_and_thread_stay_and_run_ids_do_not() -> None:
    boss, _ = waits()
    config = {"configurable": {"thread_id": "t1"}}
    before, after = watched(boss, **config), watched(boss, Command(resume="yes"), **config)

    def keys(watch: Watch) -> set[tuple[str, ...]]:
        return {
            tuple(str(x) for x in (run["tool_call_id"], run["metadata"]["langgraph_checkpoint_ns"], run["tool"]))
            for run in watch.of("tool")
            if run["tool"] in {"ask", "approve"}
        }

    assert keys(before) == keys(after)
    assert len(keys(before)) == 2
    assert {run["metadata"]["thread_id"] for run in before.of("tool") + after.of("tool")} == {"t1"}
    assert not {run["run_id"] for run in before.of("tool")} & {run["run_id"] for run in after.of("tool")}


def test_an_interrupt_is_told_as_an_error_and_what_waited_runs_again() -> None:
    boss, ran = waits()
    before = watched(boss, configurable={"thread_id": "t1"})
    assert {run["error"] for run in before.of("tool error")} == {"GraphInterrupt"}
    watched(boss, Command(resume="yes"), configurable={"thread_id": "t1"})
    assert ran.count("approve") == 2


def test_what_had_ended_beside_it_runs_again_before_langgraph_1_2_16_and_not_since() -> None:
    boss, ran = waits()
    watched(boss, configurable={"thread_id": "t1"})
    watched(boss, Command(resume="yes"), configurable={"thread_id": "t1"})
    assert ran.count("quick") == (1 if release("langgraph") >= (1, 2, 16) else 2)


def test_a_node_that_is_tried_again_is_a_new_run_under_the_same_task_path() -> None:
    tries: list[int] = []

    def flaky(state: MessagesState) -> dict[str, Any]:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return {}

    graph = StateGraph(MessagesState)
    policy = RetryPolicy(max_attempts=2, initial_interval=0.0, jitter=False, retry_on=ConnectionError)
    graph.add_node("step", RunnableLambda(flaky).with_config(run_name="body"), retry_policy=policy)
    graph.add_edge(START, "step")
    bodies = [run for run in watched(graph.compile()).of("chain") if run["name"] == "body"]
    assert len({run["run_id"] for run in bodies}) == 2
    assert len({run["metadata"]["langgraph_checkpoint_ns"] for run in bodies}) == 1


def test_a_graph_without_a_name_is_called_langgraph() -> None:
    assert scripted(None).name == node(scripted("inner")).name == "LangGraph"


def test_a_task_of_a_graph_carries_a_step_tag_and_the_agents_own_run_does_not(invoke: Invoke) -> None:
    watch = Watch()
    invoke(scripted("solo", ADD), callbacks=[watch])
    root, *tasks = watch.of("chain")
    assert (root["name"], root["metadata"]["lc_agent_name"], root["tags"]) == ("solo", "solo", [])
    assert {task["name"] for task in tasks} == {"model", "tools"}
    assert all(any(tag.startswith("graph:step:") for tag in task["tags"]) for task in tasks)
    assert all(task["parent_run_id"] == root["run_id"] for task in tasks)


def test_an_unnamed_agent_inherits_the_label_of_the_agent_around_it(invoke: Invoke) -> None:
    inner = scripted(None, ADD)

    @tool
    def ask() -> str:
        """Ask."""
        return str(inner.invoke({"messages": [("user", "?")]})["messages"][-1].content)

    watch = Watch()
    invoke(scripted("boss", calls(("ask", {}, "c0")), tools=[ask]), callbacks=[watch])
    unnamed = next(run for run in watch.of("chain") if run["name"] == "LangGraph")
    assert unnamed["metadata"]["lc_agent_name"] == "boss"
    assert unnamed["metadata"]["langgraph_node"] == "tools"


def test_a_command_to_the_parent_graph_ends_the_delegator_with_an_error_and_starts_a_sibling(invoke: Invoke) -> None:
    @tool
    def hand_on() -> Command[Any]:
        """Hand on."""
        return Command(goto="other", graph=Command.PARENT)

    graph = StateGraph(MessagesState)
    graph.add_node("first", scripted("first", calls(("hand_on", {}, "h")), tools=[hand_on]), destinations=("other",))
    graph.add_node("other", scripted("other", tools=[]))
    graph.add_edge(START, "first")
    watch = Watch()
    invoke(graph.compile(), callbacks=[watch])
    assert isinstance(watch.of("tool end")[0]["output"], Command)
    assert len(watch.of("ParentCommand")) == 3
    nodes = {run["name"]: run for run in watch.of("chain") if run["name"] in {"first", "other"} and run["tags"]}
    root = watch.of("chain")[0]
    tasks = [run for run in watch.of("chain") if run["parent_run_id"] == root["run_id"]]
    assert [task["name"] for task in tasks] == ["first", "other"]
    assert set(nodes) == {"first", "other"}
