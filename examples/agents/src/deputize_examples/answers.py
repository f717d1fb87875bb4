"""What a server refuses is an answer to the model, not the end of the run."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import AgentMiddleware, ToolCallRequest
from langchain_core.messages import ToolMessage
from langgraph.types import Command

from deputize_examples.service import Refused

Result = ToolMessage | Command[Any]


class TellsTheModel(AgentMiddleware[Any, Any, Any]):
    """Stands before DeputizeMiddleware in the list, so around it: the exception passes ours first, as a failed call."""

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Result:
        """Run it; put a refusal into words."""
        try:
            return handler(request)
        except Refused as refused:
            return _told(request, refused)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        """Run it; put a refusal into words."""
        try:
            return await handler(request)
        except Refused as refused:
            return _told(request, refused)


def _told(request: ToolCallRequest, refused: Refused) -> ToolMessage:
    asked = request.tool_call
    return ToolMessage(str(refused), name=asked["name"], tool_call_id=asked["id"], status="error")
