"""The agents, as a LangGraph user writes a swarm. What Deputize adds is the import and `middleware=`.

Every agent is given every tool, as happens: what each may use is not decided here.
"""

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, tool
from langgraph_swarm import create_handoff_tool, create_swarm

from deputize_examples.answers import TellsTheModel
from deputize_examples.service import call
from langchain_deputize import DeputizeMiddleware

DESK = "You run the support desk. Hand tickets to support, and questions of invoices to the accountant. Then sum up."
SUPPORT = "You answer customers. Take the ticket that is open longest, answer it, and hand back to the desk."
ACCOUNTANT = "You know the invoices. Look up the one in question, say what it is, and hand back to the desk."


def build(model: BaseChatModel, *, helpdesk: str, finance: str) -> Runnable[Any, Any]:
    """Three agents that hand the conversation to each other. `helpdesk` and `finance` are the servers' URLs."""
    tools = _tools(helpdesk, finance)
    to_desk, to_support, to_accountant = (
        create_handoff_tool(agent_name=name, name=f"to_{name}") for name in ("desk", "support", "accountant")
    )
    guard = [TellsTheModel(), DeputizeMiddleware()]
    desk = create_agent(model, [to_support, to_accountant], name="desk", system_prompt=DESK, middleware=guard)
    support = create_agent(
        model, [*tools, to_accountant, to_desk], name="support", system_prompt=SUPPORT, middleware=guard
    )
    accountant = create_agent(model, [*tools, to_desk], name="accountant", system_prompt=ACCOUNTANT, middleware=guard)
    return create_swarm([desk, support, accountant], default_active_agent="desk").compile()


def _tools(helpdesk: str, finance: str) -> Sequence[BaseTool]:
    """Nothing in here knows of tokens or policies."""

    @tool
    def list_tickets() -> str:
        """The open tickets, those that wait longest first."""
        return call(helpdesk, "list_tickets")

    @tool
    def read_ticket(ticket: int) -> str:
        """One ticket with its text."""
        return call(helpdesk, "read_ticket", ticket=ticket)

    @tool
    def reply_to_ticket(ticket: int, text: str) -> str:
        """Answer the customer."""
        return call(helpdesk, "reply_to_ticket", ticket=ticket, text=text)

    @tool
    def read_invoice(invoice: int) -> str:
        """An invoice: customer, euros, and whether it was refunded. It has the number of the customer's ticket."""
        return call(finance, "read_invoice", invoice=invoice)

    @tool
    def issue_refund(invoice: int) -> str:
        """Pay an invoice back."""
        return call(finance, "issue_refund", invoice=invoice)

    return [list_tickets, read_ticket, reply_to_ticket, read_invoice, issue_refund]
