"""What the shapes share: agents that say what they were told to, and what an authority has to tell afterwards."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, tool

import deputize
import langchain_deputize
from deputize import Authority, Session
from deputize.runtime import ambient_session, current_call
from langchain_deputize import DeputizeMiddleware
from langchain_deputize.runs import RUNS
from langchain_deputize.testing import ScriptedModel, calls

KINDS = ("session.", "tool.", "handoff.", "agent.", "exchange.")
ONE = calls(("add", {"a": 1, "b": 2}, "c1"))


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent(
    name: str | None,
    *steps: Any,
    tools: Sequence[BaseTool] = (add,),
    handoffs: Mapping[str, str] | None = None,
    guard: DeputizeMiddleware | None = None,
    **asked: Any,
) -> Any:
    """A guarded agent that takes these steps, "done" at the end."""
    used = guard if guard is not None else DeputizeMiddleware(handoffs=handoffs)
    return create_agent(ScriptedModel(steps=[*steps, "done"]), list(tools), name=name, middleware=[used], **asked)


def adder(name: str) -> Any:
    """An agent that adds once and is done. It counts only its own turns, so that agents can share a history."""
    model = ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, f"{name}1")), f"{name} is done"], speaker=name)
    return create_agent(model, [add], name=name, middleware=[DeputizeMiddleware()])


def asking(graph: Any, name: str = "ask") -> BaseTool:
    """The docs' pattern: an agent in the body of a plain tool, sync and async."""

    def ask(question: str) -> str:
        return str(graph.invoke(said(question))["messages"][-1].content)

    async def aask(question: str) -> str:
        return str((await graph.ainvoke(said(question)))["messages"][-1].content)

    return StructuredTool.from_function(ask, coroutine=aask, name=name, description="Ask the other agent.")


def asked(*ids: str, name: str = "ask") -> AIMessage:
    """A turn that asks the other agent, once per call id."""
    return calls(*((name, {"question": "?"}, call_id) for call_id in ids))


class Director(ScriptedModel):
    """Takes its steps by how many hand-offs were answered or refused: those that it hands to share its history."""

    def _turn(self, messages: list[BaseMessage]) -> Any:
        answered = sum(isinstance(m, AIMessage) and str(m.content).endswith(" is done") for m in messages)
        refused = sum(isinstance(m, ToolMessage) and m.status == "error" for m in messages)
        step = self.steps[min(answered + refused, len(self.steps) - 1)]
        return ScriptedModel(steps=[step])._turn([])


def said(text: str) -> dict[str, Any]:
    """What a graph of messages starts from."""
    return {"messages": [("user", text)]}


def answers(result: Any) -> list[ToolMessage]:
    """The results of tools, as the model read them."""
    return [message for message in result["messages"] if isinstance(message, ToolMessage)]


def drawn(node: Mapping[str, Any]) -> str:
    """A tree in one line: `boss(ask, drop:denied){research(add)}`.

    A call that was done is its tool's name. Siblings are sorted, since parallel ones come in any order: it is the
    rows that tell the order.
    """
    made = [
        call["tool"] if call["outcome"] == "done" else f"{call['tool']}:{call['outcome']}" for call in node["calls"]
    ]
    below = sorted(drawn(child) for child in node["children"])
    return node["agent"] + (f"({', '.join(made)})" if made else "") + (f"{{{', '.join(below)}}}" if below else "")


OURS = [deputize, langchain_deputize]  # no call of theirs may block a thread with an event loop


@dataclass(frozen=True, slots=True)
class Told:
    """A run that is over: what came of it, the tree while its root was open, and the record in short."""

    session: Session
    result: Any
    error: BaseException | None
    tree: str
    nodes: list[Any]  # of the tree, depth first
    rows: list[str]
    records: list[Mapping[str, Any]]

    @property
    def counted(self) -> Counter[str]:
        """The rows of what ran in parallel."""
        return Counter(self.rows)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """The records of one type."""
        return [record for record in self.records if record["type"] == kind]


@dataclass(frozen=True, slots=True)
class Stage:
    """An authority in one form, asked in one mode."""

    authority: Authority
    find: Callable[[], list[Mapping[str, Any]]]  # the log, as its owner reads it
    waits: bool

    def run(
        self,
        graph: Any,
        inputs: Any = "go",
        *,
        agent: str,
        user: str = "alice",
        task: str | None = None,
        raises: type[BaseException] | tuple[type[BaseException], ...] = (),
        stays: Sequence[str] = (),
        **config: Any,
    ) -> Told:
        """`graph` in a session of `agent`; an exception of `raises` is told.

        Nothing may be left over: no session below the root but those of the agents in `stays`, no run, no context.
        """
        given = said(inputs) if isinstance(inputs, str) else inputs

        async def wait(session: Session) -> Any:
            return await graph.ainvoke(given, config)

        def work(session: Session) -> Any:
            return graph.invoke(given, config)

        return self.play(work, wait, agent=agent, user=user, task=task, raises=raises, stays=stays)

    def play(
        self,
        work: Callable[[Session], Any],
        wait: Callable[[Session], Any],
        *,
        agent: str,
        user: str = "alice",
        task: str | None = None,
        raises: type[BaseException] | tuple[type[BaseException], ...] = (),
        stays: Sequence[str] = (),
    ) -> Told:
        """`work` in a session of `agent`, in async mode `wait`."""
        result, error = None, None
        if not self.waits:
            with self.authority.session(agent=agent, user=user, task=task) as session:
                try:
                    result = work(session)
                except raises as raised:
                    error = raised
                tree = session.tree()
        else:

            async def main() -> tuple[Session, Any, BaseException | None, Any]:
                result, error = None, None
                async with await self.authority.asession(agent=agent, user=user, task=task) as session:
                    try:
                        with blockbuster_ctx(OURS):
                            result = await wait(session)
                    except raises as raised:
                        error = raised
                    return session, result, error, await session.atree()

            session, result, error, tree = asyncio.run(main())
        assert [node.agent for node in tree.walk() if node is not tree and node.state == "open"] == [*stays]
        assert (len(RUNS), ambient_session(), current_call()) == (0, None, None)
        records = self.find()
        return Told(
            session=session,
            result=result,
            error=error,
            tree=drawn(tree.to_dict()),
            nodes=list(tree.walk()),
            rows=[_row(record) for record in records if str(record["type"]).startswith(KINDS)],
            records=records,
        )


def _row(record: Mapping[str, Any]) -> str:
    """`agent type [tool]`."""
    agent = str(record["agent"]).rpartition("/")[2]
    return " ".join(str(part) for part in (agent, record["type"], record.get("tool")) if part)
