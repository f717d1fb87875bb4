"""What the scenarios share: an authority, a way to run an agent in both modes, and the record as short rows."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.tools import BaseTool, tool

from deputize import Authority, Session
from langchain_deputize.runs import RUNS

Make = Callable[..., Authority]
Outline = tuple[str, list[tuple[str, str]], list[Any]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Authorities in memory, closed at the end; afterwards no run may be left over."""
    made: list[Authority] = []

    def build(**mappings: Any) -> Authority:
        made.append(Authority(**mappings))
        return made[-1]

    yield build
    for authority in made:
        authority.close()
    assert len(RUNS) == 0


@pytest.fixture(params=["sync", "async"])
def invoke(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`invoke(graph, text, **config)`: by invoke, or by ainvoke in a loop of its own."""

    def run(graph: Any, text: str = "go", **config: Any) -> Any:
        if request.param == "sync":
            return graph.invoke({"messages": [("user", text)]}, config)
        return asyncio.run(graph.ainvoke({"messages": [("user", text)]}, config))

    return run


@pytest.fixture
def outline() -> Callable[[Session], Outline]:
    """The tree without ids: (agent, [(tool, outcome)], [children])."""

    def of(node: dict[str, Any]) -> Outline:
        return (
            node["agent"],
            [(call["tool"], call["outcome"]) for call in node["calls"]],
            [of(child) for child in node["children"]],
        )

    return lambda session: of(session.tree().to_dict())


@pytest.fixture
def rows() -> Callable[[Authority], list[str]]:
    """The record as `agent type [tool]`, without keys, identities and policies."""

    def of(authority: Authority) -> list[str]:
        kinds = ("session.", "tool.", "handoff.", "agent.", "exchange.")
        return [
            " ".join(str(part) for part in (str(row["agent"]).rpartition("/")[2], row["type"], row.get("tool")) if part)
            for row in authority.audit
            if str(row["type"]).startswith(kinds)
        ]

    return of


@pytest.fixture
def add() -> BaseTool:
    """A tool that adds."""

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    return add
