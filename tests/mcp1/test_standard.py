"""LangChain's own suites for tools, over secured tools of every kind: a guard changes nothing that they look at."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from pydantic import BaseModel

from deputize import Authority
from langchain_deputize import secure_tool


class Pair(BaseModel):
    """What the tools take."""

    a: int
    b: int


@tool
def by_decorator(a: int, b: int) -> int:
    """Add."""
    return a + b


class BySubclass(BaseTool):
    name: str = "by_subclass"
    description: str = "Add, and multiply by a factor that is the tool's own."
    args_schema: type[BaseModel] = Pair
    factor: int = 1

    def _run(self, a: int, b: int) -> int:
        return (a + b) * self.factor


def _add(a: int, b: int) -> int:
    return a + b


async def _aadd(a: int, b: int) -> int:
    return a + b


structured = StructuredTool.from_function(
    func=_add, coroutine=_aadd, name="structured", description="Add.", args_schema=Pair
)
# As the MCP adapters make them: a dictionary for a schema, an artifact beside the content. They are async only; these
# suites call tools both ways.
with_artifact = StructuredTool(
    name="with_artifact",
    description="Add.",
    args_schema={"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    func=lambda a, b: (str(a + b), {"sum": a + b}),
    response_format="content_and_artifact",
)
TOOLS: list[BaseTool] = [by_decorator, BySubclass(), structured, with_artifact]


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    """Agent and session that all of them run in."""
    names = [each.name for each in TOOLS]
    with Authority(agents={"solo": names}) as authority, authority.session(user="alice", agent="solo"):
        yield


class _Secured:
    """What the suites ask for. A subclass names the tool."""

    kind: BaseTool

    @property
    def tool_constructor(self) -> Any:
        return secure_tool(self.kind)

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"a": 2, "b": 3}


def _suites() -> Iterator[tuple[str, type]]:
    for kind in TOOLS:
        for suite in (ToolsUnitTests, ToolsIntegrationTests):
            name = f"Test_{kind.name}_{suite.__name__}"
            yield name, type(name, (_Secured, suite), {"kind": kind, "__module__": __name__})


globals().update(_suites())
