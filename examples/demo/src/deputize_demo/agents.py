"""The agents, as a LangChain user writes them. What Deputize adds is the import and `middleware=`."""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool

from langchain_deputize import DeputizeMiddleware

Agent = Runnable[Any, Any]  # what create_agent returns, less its many parameters

SUPERVISOR = "You answer for the business. You know nothing of the data: ask the researcher. Let the writer write."
RESEARCHER = "You find things out with your tools. Read rows before you speak of them. Answer with figures."
WRITER = "You write short reports from what you are given, and save them."


def build(model: BaseChatModel, *, analytics: Sequence[BaseTool], writing: Sequence[BaseTool]) -> Agent:
    """A supervisor with two agents that it hands work to."""
    researcher = create_agent(
        model, analytics, name="researcher", system_prompt=RESEARCHER, middleware=[DeputizeMiddleware()]
    )
    writer = create_agent(model, writing, name="writer", system_prompt=WRITER, middleware=[DeputizeMiddleware()])

    @tool
    async def ask_researcher(task: str) -> str:
        """Have the researcher find something out about customers."""
        answer = await researcher.ainvoke({"messages": [{"role": "user", "content": task}]})
        return str(answer["messages"][-1].text)

    @tool
    async def ask_writer(task: str) -> str:
        """Have the writer write and save a report. Give all the facts."""
        answer = await writer.ainvoke({"messages": [{"role": "user", "content": task}]})
        return str(answer["messages"][-1].text)

    handoffs = {"ask_researcher": "researcher", "ask_writer": "writer"}
    return create_agent(
        model,
        [ask_researcher, ask_writer],
        name="supervisor",
        system_prompt=SUPERVISOR,
        middleware=[DeputizeMiddleware(handoffs=handoffs)],
    )
