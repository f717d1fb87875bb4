"""One compiled graph, many users at once: nobody acts in another's session or with another's access."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool, tool

from deputize import Authority
from langchain_deputize import DeputizeMiddleware, current_access, current_session, secure_tool, session_config
from langchain_deputize.testing import ScriptedModel, calls

Make = Callable[..., Authority]
CRM = "https://crm.example/mcp"
USERS = 40

pytestmark = pytest.mark.requirement("I15")


def graph() -> Any:
    @tool
    async def aread() -> str:
        """Say for whom."""
        await asyncio.sleep(0)
        access, session = current_access(), current_session()
        await asyncio.sleep(0)
        assert current_access() is access
        return f"{session.subject} {session.name} {access.id}"

    @tool
    def read() -> str:
        """Say for whom."""
        session = current_session()
        return f"{session.subject} {session.name} {current_access().id}"

    guarded = [secure_tool(t, name="read", scopes=["crm:read"], resource=CRM) for t in (aread, read)]
    guard = DeputizeMiddleware(handoffs={"ask": "research"})
    turn = calls(("read", {}, "r1"), ("read", {}, "r2"))
    inner_sync = create_agent(ScriptedModel(steps=[turn, "done"]), guarded[1:], name="research", middleware=[guard])
    aturn = calls(("aread", {}, "r1"), ("aread", {}, "r2"))
    inner_async = create_agent(ScriptedModel(steps=[aturn, "done"]), guarded[:1], name="research", middleware=[guard])

    def said(result: Any) -> str:
        return "\n".join(str(m.content) for m in result["messages"] if isinstance(m, ToolMessage))

    def ask() -> str:
        return said(inner_sync.invoke({"messages": [("user", "?")]}))

    async def aask() -> str:
        return said(await inner_async.ainvoke({"messages": [("user", "?")]}))

    asking = StructuredTool.from_function(ask, coroutine=aask, name="ask", description="Ask.")
    both = calls(("ask", {}, "a1"), ("ask", {}, "a2"))
    return create_agent(ScriptedModel(steps=[both, "done"]), [asking], name="boss", middleware=[guard])


def authority_for(make: Make) -> Authority:
    return make(
        agents={"boss": [], "research": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["research"]},
    )


def check(results: list[tuple[str, Any]], authority: Authority) -> None:
    accesses: list[str] = []
    for user, result in results:
        lines = "\n".join(str(m.content) for m in result["messages"] if isinstance(m, ToolMessage)).split("\n")
        assert len(lines) == 4
        for line in lines:
            subject, agent, access = line.split(" ")
            assert (subject, agent) == (f"local|{user}", "research")
            accesses.append(access)
    assert len(set(accesses)) == len(accesses) == 4 * USERS
    permitted = authority.audit.find(type="exchange.permitted")
    assert {str(row["jti"]) for row in permitted} == set(accesses)


def test_forty_users_in_one_loop_do_not_mix(make: Make) -> None:
    authority, shared = authority_for(make), graph()

    async def one(user: str) -> tuple[str, Any]:
        async with authority.session(user=user, agent="boss"):
            return user, await shared.ainvoke({"messages": [("user", "go")]})

    async def main() -> list[tuple[str, Any]]:
        return await asyncio.gather(*(one(f"u{n}") for n in range(USERS)))

    check(asyncio.run(main()), authority)


def test_forty_users_in_threads_do_not_mix(make: Make) -> None:
    authority, shared = authority_for(make), graph()

    def one(user: str) -> tuple[str, Any]:
        with authority.session(user=user, agent="boss"):
            return user, shared.invoke({"messages": [("user", "go")]})

    with ThreadPoolExecutor(8) as pool:
        check(list(pool.map(lambda n: copy_context().run(one, f"u{n}"), range(USERS))), authority)


def test_forty_users_in_one_batch_do_not_mix(make: Make) -> None:
    authority, shared = authority_for(make), graph()
    sessions = [authority.session(user=f"u{n}", agent="boss") for n in range(USERS)]
    configs: Any = [{**session_config(session), "max_concurrency": 8} for session in sessions]
    results = shared.batch([{"messages": [("user", "go")]}] * USERS, configs)
    check([(f"u{n}", result) for n, result in enumerate(results)], authority)
    assert all(child.state == "closed" for session in sessions for child in session.tree().children)
