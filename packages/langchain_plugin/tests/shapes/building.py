"""Graphs of LangChain and LangGraph out of plans. Each call has an id that says where in the plan it stands."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, StructuredTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langchain_deputize import DeputizeMiddleware, secure_tool
from langchain_deputize.testing import ScriptedModel
from packages.langchain_plugin.tests.shapes.kit import said
from packages.langchain_plugin.tests.shapes.plans import TOOLS, Agent, Ask, Flow, Office, Plan, Scene, Team, Turn, Use

Call = dict[str, Any]
HAND = ".hand"  # how the ids of hand-offs end


class Planned(ScriptedModel):
    """Goes on behind the last of its turns that was answered; done where a hand-off was refused or is still to come."""

    turns: Any  # a list of (call id of the hand-off that has to come first, or None; the calls)

    def _turn(self, messages: list[BaseMessage]) -> Any:
        results = {message.tool_call_id: message for message in messages if isinstance(message, ToolMessage)}
        answered = [number for number, (_, turn) in enumerate(self.turns) if turn[0]["id"] in results]
        ahead = self.turns[answered[-1] + 1 :] if answered else self.turns
        last = results.get(self.turns[answered[-1]][1][0]["id"]) if answered else None
        refused = last is not None and last.tool_call_id.endswith(HAND) and last.status == "error"
        message = AIMessage("done")
        if ahead and not refused and ahead[0][0] in {None, *results}:
            message = AIMessage("", tool_calls=ahead[0][1])
        return ScriptedModel(steps=[message])._turn([])


def graph_of(scene: Scene) -> Any:
    """The graph that the host runs."""
    return _build(scene.plan, "p")


def _build(plan: Plan, at: str) -> Any:
    match plan:
        case Agent():
            return _agent(plan.name, [Visit(plan.turns, at)])
        case Flow():
            return _flow(plan, at)
        case Team():
            return _team(plan, at)
        case Office():
            return _office(plan, at)


@dataclass(frozen=True)
class Visit:
    """One stay in an agent: its turns, the hand-off that leads to it, and the one that ends it."""

    turns: tuple[Turn, ...]
    at: str
    after: str | None = None
    hand: tuple[str, str] | None = None  # call id, to


def _agent(name: str, visits: Iterable[Visit]) -> Any:
    turns: list[tuple[str | None, list[Call]]] = []
    tools: dict[str, BaseTool] = {tool: _tool(tool) for tool in TOOLS}
    for visit in visits:
        for t, turn in enumerate(visit.turns):
            turns.append((visit.after, [_call(action, f"{visit.at}.{t}.{a}", tools) for a, action in enumerate(turn)]))
        if visit.hand is not None:
            call_id, to = visit.hand
            tools.setdefault(f"transfer_to_{to}", _transfer(to))
            turns.append((visit.after, [{"name": f"transfer_to_{to}", "args": {}, "id": call_id}]))
    model = Planned(steps=[], turns=turns)
    return create_agent(model, list(tools.values()), name=name, middleware=[DeputizeMiddleware()])


def _call(action: Use | Ask, at: str, tools: dict[str, BaseTool]) -> Call:
    if isinstance(action, Use):
        return {"name": action.tool, "args": {}, "id": at}
    name = f"ask_{at.replace('.', '_')}"
    # Each of these tools runs a graph of its own, and all go by one name in the record.
    tools[name] = secure_tool(_asking(_build(action.plan, at), name), name="ask", handoff_to=action.plan.name)
    return {"name": name, "args": {}, "id": at}


def _tool(name: str) -> BaseTool:
    return StructuredTool.from_function(lambda: name, name=name, description="A tool.")


def _asking(graph: Any, name: str) -> BaseTool:
    def ask() -> str:
        return str(graph.invoke(said("?"))["messages"][-1].content)

    async def aask() -> str:
        return str((await graph.ainvoke(said("?")))["messages"][-1].content)

    return StructuredTool.from_function(ask, coroutine=aask, name=name, description="Ask.")


def _transfer(to: str) -> BaseTool:
    @tool(f"transfer_to_{to}")
    def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Hand on."""
        message = ToolMessage("transferred", tool_call_id=tool_call_id, name=f"transfer_to_{to}")
        return Command(goto=to, graph=Command.PARENT, update={"messages": [message]})

    return transfer


def _flow(flow: Flow, at: str) -> Any:
    graph = StateGraph(MessagesState)
    before: list[str] = [START]
    for s, stage in enumerate(flow.stages):
        nodes = [f"{at}.{s}.{n}" for n in range(len(stage))]
        for name, plan in zip(nodes, stage, strict=True):
            graph.add_node(name, _build(plan, name))
            graph.add_edge(before, name) if before != [START] else graph.add_edge(START, name)
        before = nodes
    return graph.compile(name=flow.name or None)


def _team(team: Team, at: str) -> Any:
    graph = StateGraph(MessagesState)
    visits: dict[str, list[Visit]] = {}
    for number, (visit, following) in enumerate(zip(team.visits, (*team.visits[1:], None), strict=True)):
        hand = (f"{at}.{number}{HAND}", following.name) if following is not None else None
        after = f"{at}.{number - 1}{HAND}" if number else None
        visits.setdefault(visit.name, []).append(Visit(visit.turns, f"{at}.{number}", after, hand))
    for name, own in visits.items():
        graph.add_node(name, _agent(name, own), destinations=tuple(other for other in visits if other != name))
    graph.add_edge(START, team.visits[0].name)
    return graph.compile(name=team.name or None)


def _office(office: Office, at: str) -> Any:
    graph = StateGraph(MessagesState)
    hands = [f"{at}.{number}{HAND}" for number in range(len(office.shifts))]
    workers: dict[str, list[Visit]] = {}
    for number, worker in enumerate(office.shifts):
        workers.setdefault(worker.name, []).append(Visit(worker.turns, f"{at}.{number}", hands[number]))
    chief = _agent(
        office.chief, [Visit((), at, hand=(hand, w.name)) for hand, w in zip(hands, office.shifts, strict=True)]
    )
    graph.add_node(office.chief, chief, destinations=tuple(workers))
    graph.add_edge(START, office.chief)
    for name, own in workers.items():
        graph.add_node(name, _agent(name, own))
        graph.add_edge(name, office.chief)
    return graph.compile(name=office.name or None)
