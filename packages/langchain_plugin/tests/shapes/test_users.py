"""One compiled graph, many users at once: nobody acts in another's session or with another's token (scenario 19)."""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import StructuredTool, tool

from deputize import Session
from langchain_deputize import DeputizeMiddleware, current_access, current_session, secure_tool, session_config
from langchain_deputize.testing import ScriptedModel, calls
from packages.langchain_plugin.tests.shapes.kit import Stage, drawn, said

Build = Callable[..., Stage]
Way = Callable[[Stage], tuple[list[Session], list[Any]]]
CRM = "https://crm.example/mcp"
USERS = 40

pytestmark = pytest.mark.requirement("I15")


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def lines(result: Any) -> str:
    return "\n".join(str(m.content) for m in result["messages"] if isinstance(m, ToolMessage))


def graph() -> Any:
    @tool
    async def aread() -> str:
        """Say for whom."""
        await asyncio.sleep(0)
        access, session = current_access(), current_session()
        await asyncio.sleep(0)
        assert current_access() is access
        return f"{session.subject} {session.name} {access.id} {digest(access.reveal())}"

    @tool
    def read() -> str:
        """Say for whom."""
        session, access = current_session(), current_access()
        return f"{session.subject} {session.name} {access.id} {digest(access.reveal())}"

    guarded = [secure_tool(t, name="read", scopes=["crm:read"], resource=CRM) for t in (aread, read)]
    guard = DeputizeMiddleware(handoffs={"ask": "research"})
    turn = calls(("read", {}, "r1"), ("read", {}, "r2"))
    inner_sync = create_agent(ScriptedModel(steps=[turn, "done"]), guarded[1:], name="research", middleware=[guard])
    aturn = calls(("aread", {}, "r1"), ("aread", {}, "r2"))
    inner_async = create_agent(ScriptedModel(steps=[aturn, "done"]), guarded[:1], name="research", middleware=[guard])

    def ask() -> str:
        return lines(inner_sync.invoke(said("?")))

    async def aask() -> str:
        return lines(await inner_async.ainvoke(said("?")))

    asking = StructuredTool.from_function(ask, coroutine=aask, name="ask", description="Ask.")
    both = calls(("ask", {}, "a1"), ("ask", {}, "a2"))
    return create_agent(ScriptedModel(steps=[both, "done"]), [asking], name="boss", middleware=[guard])


SHARED = graph()


def named() -> list[str]:
    return [f"u{n}" for n in range(USERS)]


def in_one_loop(place: Stage) -> tuple[list[Session], list[Any]]:
    async def one(user: str) -> tuple[Session, Any]:
        async with await place.authority.asession(user=user, agent="boss") as session:
            return session, await SHARED.ainvoke(said("go"))

    async def main() -> list[tuple[Session, Any]]:
        return await asyncio.gather(*(one(user) for user in named()))

    done = asyncio.run(main())
    return [session for session, _ in done], [result for _, result in done]


def in_threads(place: Stage) -> tuple[list[Session], list[Any]]:
    def one(user: str) -> tuple[Session, Any]:
        with place.authority.session(user=user, agent="boss") as session:
            return session, SHARED.invoke(said("go"))

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda user: copy_context().run(one, user), named()))
    return [session for session, _ in done], [result for _, result in done]


def in_a_batch(place: Stage) -> tuple[list[Session], list[Any]]:
    sessions = [place.authority.session(user=user, agent="boss") for user in named()]
    configs: Any = [{**session_config(session), "max_concurrency": 8} for session in sessions]
    return sessions, SHARED.batch([said("go")] * USERS, configs)


def in_an_async_batch(place: Stage) -> tuple[list[Session], list[Any]]:
    sessions = [place.authority.session(user=user, agent="boss") for user in named()]
    configs: Any = [{**session_config(session), "max_concurrency": 8} for session in sessions]
    return sessions, asyncio.run(SHARED.abatch([said("go")] * USERS, configs))


@pytest.mark.parametrize("waits", [False], ids=["both"], indirect=True)
@pytest.mark.parametrize(
    ("form", "way"),
    [
        ("embedded", in_one_loop),
        ("embedded", in_threads),
        ("embedded", in_a_batch),
        ("embedded", in_an_async_batch),
        ("remote", in_one_loop),
        ("remote", in_threads),
    ],
    indirect=["form"],
)
def test_forty_users_of_one_graph_do_not_mix(stage: Build, way: Way) -> None:
    place = stage(
        agents={"boss": [], "research": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["research"]},
    )
    sessions, results = way(place)
    accesses: list[str] = []
    tokens: set[str] = set()
    for user, result in zip(named(), results, strict=True):
        told = [line.split(" ") for line in lines(result).split("\n")]
        assert [(subject, agent) for subject, agent, _, _ in told] == [(f"local|{user}", "research")] * 4
        accesses += [access for _, _, access, _ in told]
        tokens |= {token for _, _, _, token in told}
    assert len(tokens) == len(set(accesses)) == len(accesses) == 4 * USERS
    for user, session in zip(named(), sessions, strict=True):
        tree = session.tree()
        assert drawn(tree.to_dict()) == "boss(ask, ask){research(read, read), research(read, read)}"
        assert {node.subject for node in tree.walk()} == {f"local|{user}"}
        assert {node.state for node in tree.children} == {"closed"}
