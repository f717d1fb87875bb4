"""A lead with two agents behind tools. What Deputize adds is the import and `middleware=`.

Analyst and steward are given the same tools: which of them may use `execute` is not decided here.
"""

from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool

from deputize_examples.answers import TellsTheModel
from deputize_examples.service import call
from langchain_deputize import DeputizeMiddleware

LEAD = "You answer for the data team. Have the analyst find things out, and the steward correct data. Then sum up."
ANALYST = "You answer questions about the table orders with SQL. Look at rows before you speak of them."
STEWARD = "You correct single rows of the table orders with SQL, exactly as you are told."


def build(model: BaseChatModel, *, warehouse: str) -> Runnable[Any, Any]:
    """The team. `warehouse` is the server's URL."""
    tools = _tools(warehouse)
    guard = [TellsTheModel(), DeputizeMiddleware()]
    analyst = create_agent(model, tools, name="analyst", system_prompt=ANALYST, middleware=guard)
    steward = create_agent(model, tools, name="steward", system_prompt=STEWARD, middleware=guard)

    @tool
    def ask_analyst(question: str) -> str:
        """Have the analyst find something out about orders."""
        return _ask(analyst, question)

    @tool
    def ask_steward(correction: str) -> str:
        """Have the steward correct an order."""
        return _ask(steward, correction)

    handoffs = {"ask_analyst": "analyst", "ask_steward": "steward"}
    return create_agent(
        model,
        [ask_analyst, ask_steward],
        name="lead",
        system_prompt=LEAD,
        middleware=[DeputizeMiddleware(handoffs=handoffs)],
    )


def _ask(agent: Runnable[Any, Any], task: str) -> str:
    answer = agent.invoke({"messages": [{"role": "user", "content": task}]}, {"recursion_limit": 30})
    return str(answer["messages"][-1].text)


def _tools(warehouse: str) -> list[BaseTool]:
    """Nothing in here knows of tokens or policies."""

    @tool
    def query(sql: str) -> str:
        """Rows of orders(id, customer, region, product, quantity, euros, returned, note), by SQL."""
        return call(warehouse, "query", sql=sql)

    @tool
    def execute(sql: str) -> str:
        """Change rows of orders by SQL."""
        return call(warehouse, "execute", sql=sql)

    return [query, execute]
