"""For the facts: a handler that writes down what it is told, and agents without anything of ours on them."""
# ruff: noqa: ARG002  # the signatures are LangChain's

import importlib.metadata
from typing import Any

from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import BaseTool, tool

from langchain_deputize.testing import ScriptedModel, calls

ADD = calls(("add", {"a": 1, "b": 2}, "c1"))


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Watch(BaseCallbackHandler):
    """Writes down what it is told."""

    raise_error = True
    run_inline = True

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self.told.append(("chain", kwargs))

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.told.append(("chain end", kwargs))

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append((type(error).__name__, kwargs))

    def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.told.append(("tool", {**kwargs, "tool": serialized["name"]}))

    def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.told.append(("tool end", {**kwargs, "output": output}))

    def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        self.told.append(("tool error", {**kwargs, "error": type(error).__name__}))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was told of one kind."""
        return [kwargs for name, kwargs in self.told if name == kind]

    def runs(self, *names: str) -> list[dict[str, Any]]:
        """The runs of these names that are no tasks of a graph: an agent's own."""
        return [run for run in self.of("chain") if run["name"] in names and not task(run)]

    def names(self, *names: str) -> list[str]:
        """The names of those runs, in their order."""
        return [str(run["name"]) for run in self.runs(*names)]

    def tasks(self, name: str) -> list[dict[str, Any]]:
        """The runs of a node."""
        return [run for run in self.of("chain") if run["name"] == name and task(run)]


def release(package: str) -> tuple[int, ...]:
    """The release that is installed: facts that changed say with which."""
    return tuple(int(part) for part in importlib.metadata.version(package).split(".")[:3])


def label(run: dict[str, Any]) -> str | None:
    """`lc_agent_name`."""
    found = run["metadata"].get("lc_agent_name")
    return str(found) if found is not None else None


def task(run: dict[str, Any]) -> bool:
    """Whether a run is a task of a graph."""
    return any(tag.startswith("graph:step:") for tag in run["tags"])


def scripted(name: str | None, *steps: Any, tools: Any = (add,), middleware: Any = (), **asked: Any) -> Any:
    """An agent that takes these steps, "done" at the end, and nothing of ours around it."""
    model = ScriptedModel(steps=[*steps, "done"])
    chosen: list[BaseTool] = list(tools)
    return create_agent(model, chosen, name=name, middleware=middleware, **asked)


def said(text: str) -> dict[str, Any]:
    """What a graph of messages starts from."""
    return {"messages": [("user", text)]}
