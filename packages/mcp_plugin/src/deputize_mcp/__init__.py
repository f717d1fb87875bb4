"""Deputize for MCP: a guard for servers, token exchange for clients.

app = AgentGuard(mcp.streamable_http_app(), authority="deputize.toml", resource=URL, tools={"drop": ["db:write"]})
client = httpx2.AsyncClient(auth=TokenExchangeAuth(resource="crm"))
"""

from deputize.runtime import carry
from deputize_mcp.calling import get_caller
from deputize_mcp.client import TokenExchangeAuth
from deputize_mcp.declared import requires
from deputize_mcp.failure import ResourceMismatch, StepUpDenied
from deputize_mcp.guard import AgentGuard
from deputize_mcp.trust import Sources

__all__ = [
    "AgentGuard",
    "ResourceMismatch",
    "Sources",
    "StepUpDenied",
    "TokenExchangeAuth",
    "carry",
    "get_caller",
    "requires",
]
