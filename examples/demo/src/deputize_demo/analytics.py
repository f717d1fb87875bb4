"""The analytics server: the official MCP SDK over streamable HTTP, guarded, in a process of its own."""

import sqlite3
from contextlib import closing
from pathlib import Path

from mcp.server.mcpserver import MCPServer

from deputize_demo.serve import options, serve, tell_who_calls
from deputize_mcp import AgentGuard

# What this server asks for, whatever its clients believe.
TOOLS = {
    "churn_by_plan": ["customers:read"],
    "read_customers": ["customers:read"],
    "drop_table": ["customers:admin"],
}


def build(database: Path) -> MCPServer:
    """The server itself knows nothing of tokens."""
    mcp = MCPServer("analytics")

    def rows(query: str, *values: object) -> list[dict[str, object]]:
        with closing(sqlite3.connect(database)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query, values)]

    @mcp.tool()
    def churn_by_plan() -> list[dict[str, object]]:
        """Customers, cancellations and the rate in percent, by plan."""
        tell_who_calls("churn_by_plan")
        return rows(
            "select plan, count(*) as customers, sum(cancelled) as cancelled, "
            "round(100.0 * sum(cancelled) / count(*), 1) as rate from customers group by plan order by rate desc"
        )

    @mcp.tool()
    def read_customers(plan: str, limit: int = 5) -> list[dict[str, object]]:
        """Customers of a plan who are likely to leave: few logins, many tickets. With their notes."""
        tell_who_calls("read_customers")
        return rows(
            "select id, name, country, logins_30d, tickets_90d, note from customers "
            "where plan = ? and cancelled = 0 order by logins_30d, tickets_90d desc, id limit ?",
            plan,
            min(limit, 100),
        )

    @mcp.tool()
    def drop_table(table: str) -> str:
        """Remove a table with everything in it."""
        tell_who_calls("drop_table")
        with closing(sqlite3.connect(database)) as db, db:
            db.execute('drop table "{}"'.format(table.replace('"', '""')))
        return f"{table} is gone"

    return mcp


def main() -> None:
    """Serve until the demo ends."""
    given = options()

    def guarded() -> AgentGuard:
        app = build(given.database).streamable_http_app()
        return AgentGuard(app, authority=given.authority, resource=given.url, tools=TOOLS, binding="dpop")

    serve(guarded, given.socket)


if __name__ == "__main__":
    main()
