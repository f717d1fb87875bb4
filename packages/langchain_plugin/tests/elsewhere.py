"""A turn of each of three threads, begun or resumed: what the interpreters of test_resume_elsewhere run."""

import asyncio
import json
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command, interrupt

from deputize import Authority, Session
from deputize.client.evidence import Join
from deputize.errors import DeputizeError
from langchain_deputize import DeputizeMiddleware, session_config
from langchain_deputize.testing import ScriptedModel, calls


@tool
def look() -> str:
    """Look."""
    return "seen"


@tool
def ask_human() -> str:
    """Wait for a human."""
    return f"they say {interrupt('may I?')}"


def graph(saver: Any) -> Any:
    """A boss with a sub-agent in a tool, which looks and then waits."""
    steps = [calls(("look", {}, "s0")), calls(("ask_human", {}, "s1")), "asked"]
    solo = create_agent(ScriptedModel(steps=steps), [look, ask_human], name="solo", middleware=[DeputizeMiddleware()])

    @tool
    def ask() -> str:
        """Ask the other agent."""
        return str(solo.invoke({"messages": [("user", "?")]})["messages"][-1].content)

    return create_agent(
        ScriptedModel(steps=[calls(("ask", {}, "b1")), "done"]),
        [ask],
        name="boss",
        middleware=[DeputizeMiddleware(handoffs={"ask": "solo"})],
        checkpointer=saver,
    )


def session_of(authority: Authority, thread: str) -> Session:
    """The root of a thread."""
    return authority.session(user="alice", agent="desk", key=thread)


def turn(session: Session, thread: str, checkpoints: str, *, resume: bool, waits: bool) -> list[str]:
    """What is said in the end, or why nothing is. `waits`: in async."""
    given: Any = Command(resume="yes") if resume else {"messages": [("user", "go")]}
    config: Any = session_config(session, thread_id=thread)

    async def later() -> Any:
        async with AsyncSqliteSaver.from_conn_string(checkpoints) as saver:
            return await graph(saver).ainvoke(given, config)

    def now() -> Any:
        with SqliteSaver.from_conn_string(checkpoints) as saver:
            return graph(saver).invoke(given, config)

    result = asyncio.run(later()) if waits else now()
    if "__interrupt__" in result:
        return ["waits"]
    return [str(message.content).partition(" (")[0] for message in result["messages"][-2:]]


def threads(authority: Authority, checkpoints: str, *, resume: bool) -> dict[str, list[str]]:
    """A turn of each thread."""
    told: dict[str, list[str]] = {}
    for thread in ("sync", "async", "revoked"):
        try:
            session = session_of(authority, thread)
            told[thread] = turn(session, thread, checkpoints, resume=resume, waits=thread == "async")
        except DeputizeError as error:
            told[thread] = [error.code]
    return told


def main(phase: str, authority_at: str, checkpoints: str, join: str) -> None:
    """Print what came of each thread."""
    authority = Authority.connect(authority_at, attestor=Join(join)) if join else Authority.open(authority_at)
    with authority:
        told = threads(authority, checkpoints, resume=phase == "resume")
    print(json.dumps(told))  # noqa: T201  # the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
