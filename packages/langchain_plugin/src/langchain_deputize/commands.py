"""LangGraph's `Command`, read without importing LangGraph: a program without it has none."""

import sys
from typing import Final

PARENT: Final = "__parent__"  # Command.PARENT
_END: Final = "__end__"


def _commands(output: object) -> list[object]:
    types = sys.modules.get("langgraph.types")
    if types is None:
        return []
    items = output if isinstance(output, list) else [output]
    return [item for item in items if isinstance(item, types.Command)]


def destinations(output: object) -> list[str]:
    """The nodes of the parent graph that a tool's result hands on to, each once, in order."""
    nodes: dict[str, None] = {}
    for command in _commands(output):
        if getattr(command, "graph", None) != PARENT:
            continue
        goto = getattr(command, "goto", ())
        for item in goto if isinstance(goto, list | tuple) else [goto]:
            node = item if isinstance(item, str) else getattr(item, "node", None)
            if isinstance(node, str) and node != _END:
                nodes[node] = None
    return list(nodes)


def hands_off(output: object, allowed: frozenset[str]) -> bool:
    """True where a result is a hand-off to one of `allowed` and to nobody else."""
    found = destinations(output)
    return (
        bool(found)
        and allowed.issuperset(found)
        and all(getattr(command, "graph", None) == PARENT for command in _commands(output))
    )


def suspends(error: BaseException | None) -> bool:
    """True where a run ended by `GraphInterrupt`: it waits, for a human as a rule, and runs again on resume."""
    return any(kind.__name__ == "GraphInterrupt" for kind in type(error).__mro__)


def fails(error: BaseException | None) -> bool:
    """True where a run failed. `ParentCommand` hands on to another node of the graph above."""
    return error is not None and not suspends(error) and type(error).__name__ != "ParentCommand"
