"""The agents' tools, as anybody would write them for LangChain: nothing in here knows of tokens or policies."""

import json
from pathlib import Path

import httpx2
from langchain_core.tools import BaseTool, tool
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from deputize_mcp import TokenExchangeAuth


class McpServer:
    """A client of an MCP server. `auth` puts on each request a token of whoever is calling, for this call alone."""

    def __init__(self, alias: str, url: str) -> None:
        self._auth = TokenExchangeAuth(resource=alias)
        self._url = url

    async def call(self, name: str, **arguments: object) -> str:
        """The result of one tool, as JSON text for a model."""
        async with (
            httpx2.AsyncClient(auth=self._auth, trust_env=False) as http,
            Client(streamable_http_client(self._url, http_client=http)) as client,
        ):
            result = await client.call_tool(name, arguments)
        if result.is_error:
            return f"{name} failed at the server."
        return json.dumps((result.structured_content or {}).get("result"))


def analytics_tools(url: str) -> list[BaseTool]:
    """Everything that the analytics server offers, as adapters hand it to a model: all of it."""
    server = McpServer("analytics", url)

    @tool
    async def churn_by_plan() -> str:
        """Customers, cancellations and the rate in percent, by plan."""
        return await server.call("churn_by_plan")

    @tool
    async def read_customers(plan: str, limit: int = 5) -> str:
        """Customers of a plan who are likely to leave, with their notes."""
        return await server.call("read_customers", plan=plan, limit=limit)

    @tool
    async def drop_table(table: str) -> str:
        """Remove a table with everything in it."""
        return await server.call("drop_table", table=table)

    return [churn_by_plan, read_customers, drop_table]


def payroll_tools(url: str) -> list[BaseTool]:
    """What the payroll server offers."""
    server = McpServer("payroll", url)

    @tool
    async def read_salaries(team: str) -> str:
        """What the people of a team earn."""
        return await server.call("read_salaries", team=team)

    return [read_salaries]


def report_tools(folder: Path) -> list[BaseTool]:
    """Tools in the agent's own process."""

    @tool
    def save_report(text: str) -> str:
        """Save the report for the user."""
        (folder / "report.md").write_text(text, encoding="utf-8")
        return f"saved, {len(text.split())} words"

    return [save_report]
