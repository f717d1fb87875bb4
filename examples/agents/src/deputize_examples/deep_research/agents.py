"""The graph, written by hand as deep research is: plan, research in parallel, write.

The researchers have no name, so nothing in LangChain tells whose they are. `AGENTS` does, by the node that starts
them; left out, their tools are refused.
"""

import asyncio
import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel, Field

from deputize_examples.answers import TellsTheModel
from deputize_examples.service import call
from langchain_deputize import DeputizeMiddleware, secure_tool

PLAN = "You plan research. Call ConductResearch once for each topic that the question names."
RESEARCHER = "You research one topic. Search, read what is cited most, and sum it up in a sentence."
EDITOR = "You write one sentence for each note that you are given."

AGENTS: Final[Mapping[str, str]] = {"@research": "researcher", "write": "editor"}  # for DeputizeCallbackHandler


class State(TypedDict):
    """What the nodes share."""

    question: str
    topics: list[str]
    notes: Annotated[list[str], operator.add]
    report: str


class ConductResearch(BaseModel):
    """Have a topic researched."""

    topic: str = Field(description="One topic, in the words of the question.")


def build(model: BaseChatModel, *, library: str, press: str) -> Runnable[Any, Any]:
    """The graph. `library` and `press` are the servers' URLs."""
    search, read_document, publish = _tools(library, press)
    planner = model.bind_tools([ConductResearch])
    publish_guarded = secure_tool(publish)  # called by a node, where no middleware is

    async def plan(state: State) -> dict[str, object]:
        answer = await planner.ainvoke([SystemMessage(PLAN), HumanMessage(state["question"])])
        return {"topics": [asked["args"]["topic"] for asked in answer.tool_calls]}

    async def research(state: State) -> dict[str, object]:
        researcher = _researcher(model, [search, read_document, publish])
        asked = [{"messages": [HumanMessage(topic)]} for topic in state["topics"]]
        answers = await asyncio.gather(*(researcher.ainvoke(one, {"recursion_limit": 30}) for one in asked))
        return {"notes": [str(answer["messages"][-1].text) for answer in answers]}

    async def write(state: State, config: RunnableConfig) -> dict[str, object]:
        answer = await model.ainvoke([SystemMessage(EDITOR), HumanMessage("\n".join(state["notes"]))])
        report = str(answer.text)
        await publish_guarded.ainvoke({"title": state["question"], "text": report}, config)
        return {"report": report}

    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("research", research)
    graph.add_node("write", write)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "research")
    graph.add_edge("research", "write")
    graph.add_edge("write", END)
    return graph.compile()


def _researcher(model: BaseChatModel, tools: Sequence[BaseTool]) -> Runnable[Any, Any]:
    """Without `name=`."""
    return create_agent(model, tools, system_prompt=RESEARCHER, middleware=[TellsTheModel(), DeputizeMiddleware()])


def _tools(library: str, press: str) -> tuple[BaseTool, BaseTool, BaseTool]:
    """Nothing in here knows of tokens or policies."""

    @tool
    async def search(topic: str) -> str:
        """Documents of a topic, those that are cited most first."""
        return await asyncio.to_thread(call, library, "search", topic=topic)

    @tool
    async def read_document(document: int) -> str:
        """One document with its text."""
        return await asyncio.to_thread(call, library, "read_document", document=document)

    @tool
    async def publish(title: str, text: str) -> str:
        """Publish a text, for good and for everybody."""
        return await asyncio.to_thread(call, press, "publish", title=title, text=text)

    return search, read_document, publish
