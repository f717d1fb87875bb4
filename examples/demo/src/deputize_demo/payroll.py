"""The payroll server: guarded in the same way, and nothing that a churn report is about."""

import sqlite3
from contextlib import closing

from mcp.server.mcpserver import MCPServer

from deputize_demo.serve import options, serve, tell_who_calls
from deputize_mcp import AgentGuard


def main() -> None:
    """Serve until the demo ends."""
    given = options()
    mcp = MCPServer("payroll")

    @mcp.tool()
    def read_salaries(team: str) -> list[dict[str, object]]:
        """What the people of a team earn, in euros a month."""
        tell_who_calls("read_salaries")
        with closing(sqlite3.connect(given.database)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("select name, salary from salaries where team = ?", (team,))]

    def guarded() -> AgentGuard:
        app = mcp.streamable_http_app()
        tools = {"read_salaries": ["salaries:read"]}
        return AgentGuard(app, authority=given.authority, resource=given.url, tools=tools, binding="dpop")

    serve(guarded, given.socket)


if __name__ == "__main__":
    main()
