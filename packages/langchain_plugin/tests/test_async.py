"""In async programs nothing of ours waits on the loop's thread, and what was begun is done to its end."""
# ruff: noqa: ARG002  # the signatures are LangChain's

import asyncio
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.callbacks.manager import AsyncCallbackManager
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool

from deputize import Authority, Denied, Session
from langchain_deputize import DeputizeCallbackHandler, DeputizeMiddleware
from langchain_deputize.companion import Companion
from langchain_deputize.runs import RUNS
from langchain_deputize.steps import Gate, adrive, done, drive
from langchain_deputize.testing import ScriptedModel, calls

GO: dict[str, Any] = {"messages": [("user", "go")]}
TEAM: dict[str, Any] = {"agents": {"boss": [], "research": ["add"]}, "delegations": {"boss": ["research"]}}


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    """Over a file, so that whatever is asked waits."""
    with Authority(**TEAM, store=str(tmp_path / "store.db")) as opened:
        yield opened


def team(add: BaseTool) -> Any:
    guard = DeputizeMiddleware(handoffs={"ask": "research"})
    steps = [calls(("add", {"a": 1, "b": 2}, "r1")), "3"]
    research = create_agent(ScriptedModel(steps=steps), [add], name="research", middleware=[guard])

    @tool
    async def ask(question: str) -> str:
        """Ask."""
        answer = await research.ainvoke({"messages": [("user", question)]})
        return str(answer["messages"][-1].text)

    model = ScriptedModel(steps=[calls(("ask", {"question": "?"}, "b1")), "done"])
    return create_agent(model, [ask], name="boss", middleware=[guard])


def states(session: Session) -> list[tuple[str, str]]:
    return [(node.agent, node.state) for node in session.tree().walk()]


class Held:
    """Makes the opening of sessions wait for a word, in its thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        delegate = Session.delegate

        def held(session: Session, *args: Any, **kwargs: Any) -> Session:
            opened = delegate(session, *args, **kwargs)
            self.began.set()
            assert self.go_on.wait(30)
            return opened

        monkeypatch.setattr(Session, "delegate", held)


def test_a_session_that_was_being_opened_when_its_run_was_cancelled_is_closed(
    authority: Authority, add: BaseTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)

    async def main() -> list[tuple[str, str]]:
        async with await authority.asession(user="alice", agent="boss") as session:
            running = asyncio.create_task(team(add).ainvoke(GO))
            await asyncio.to_thread(held.began.wait, 30)
            running.cancel()
            held.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await running
            return states(session)

    assert asyncio.run(main()) == [("boss", "open"), ("research", "closed")]
    assert len(RUNS) == 0


def test_the_loop_goes_on_while_a_session_is_opened(
    authority: Authority, add: BaseTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)

    async def main() -> str:
        async with await authority.asession(user="alice", agent="boss"):
            running = asyncio.create_task(team(add).ainvoke(GO))
            await asyncio.to_thread(held.began.wait, 30)  # an answer comes back through the loop
            held.go_on.set()
            return str((await running)["messages"][-1].text)

    assert asyncio.run(main()) == "done"


@pytest.mark.parametrize("explicit", [False, True], ids=["ambient", "given by hand"])
def test_a_sync_call_on_the_thread_of_a_loop_is_refused_where_it_stands(
    authority: Authority, add: BaseTool, explicit: bool
) -> None:
    stranger = create_agent(
        ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, "s1")), "done"]),
        [add],
        name="stranger",
        middleware=[DeputizeMiddleware()],
    )

    async def main() -> None:
        session = await authority.asession(user="alice", agent="boss")
        config: Any = {"callbacks": [DeputizeCallbackHandler(session)]} if explicit else None
        async with session:
            with pytest.raises(Denied):
                RunnableLambda(lambda _: stranger.invoke(GO)).invoke("go", config)

    asyncio.run(main())
    assert len(RUNS) == 0


def test_sync_programs_never_run_the_companion(
    authority: Authority, add: BaseTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for name in ("on_chain_start", "on_chain_end", "on_tool_start", "on_tool_end"):
        monkeypatch.setattr(Companion, name, lambda *_, name=name, **__: ran.append(name))
    solo = create_agent(
        ScriptedModel(steps=[calls(("add", {"a": 1, "b": 2}, "c1")), "done"]),
        [add],
        name="research",
        middleware=[DeputizeMiddleware()],
    )
    with authority.session(user="alice", agent="boss") as session:
        RunnableLambda(lambda _: solo.invoke(GO)).invoke("go")
        assert states(session) == [("boss", "open"), ("research", "closed")]
    assert ran == []


def test_without_a_companion_behind_it_the_handler_waits_itself(authority: Authority, add: BaseTool) -> None:
    del add

    async def main() -> list[tuple[str, str]]:
        async with await authority.asession(user="alice", agent="boss") as session:
            manager = AsyncCallbackManager(handlers=[DeputizeCallbackHandler(session)])
            manager.metadata = {"lc_agent_name": "research"}
            run = await manager.on_chain_start(None, {}, name="research")
            opened = states(session)
            await run.on_chain_end({})
            return [*opened, *states(session)]

    assert asyncio.run(main()) == [("boss", "open"), ("research", "open"), ("boss", "open"), ("research", "closed")]


def test_work_is_sent_what_came_of_each_step_in_both_ways(authority: Authority) -> None:
    def fails() -> str:
        raise KeyError("x")

    def work() -> Iterator[Any]:
        one = yield from done(session, lambda: 1)
        try:
            yield from done(session, fails)
        except KeyError as error:
            return one, str(error)

    with authority.session(user="alice", agent="boss") as session:
        assert drive(work()) == asyncio.run(adrive(work())) == (1, "'x'")


def test_a_gate_lets_threads_and_tasks_through_when_it_opens() -> None:
    gate, passed = Gate(), []

    def wait(name: str) -> None:
        drive(gate.passed())
        passed.append(name)

    async def main() -> None:
        tasks = [asyncio.create_task(adrive(gate.passed())) for _ in range(3)]
        await asyncio.sleep(0)
        threading.Thread(target=gate.open).start()
        await asyncio.gather(*tasks)
        await adrive(gate.passed())

    thread = threading.Thread(target=wait, args=("thread",))
    thread.start()
    asyncio.run(main())
    thread.join(30)
    assert passed == ["thread"]


def test_langchain_awaits_inline_handlers_in_their_order_and_its_frames_tell_so() -> None:
    told: list[Any] = []

    class First(BaseCallbackHandler):
        run_inline = True

        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            one = sys._getframe(1)
            every = one.f_back
            assert every is not None
            told.append((one.f_code.co_name, every.f_code.co_name, one.f_locals["handler"] is self))
            told.append([type(handler).__name__ for handler in every.f_locals["handlers"]][:2])

    class Second(AsyncCallbackHandler):
        run_inline = True

        async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            await asyncio.sleep(0)
            told.append("second")

    handlers: list[BaseCallbackHandler] = [First(), Second()]
    asyncio.run(RunnableLambda(lambda x: x).ainvoke(1, {"callbacks": handlers}))
    assert told == [("_ahandle_event_for_handler", "ahandle_event", True), ["First", "Second"], "second"]


def test_a_companion_stands_behind_the_handlers_that_a_nested_call_brings(authority: Authority) -> None:
    seen: list[list[str]] = []

    class Watch(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            frame = inspect.currentframe()
            while frame is not None and "handlers" not in frame.f_locals:
                frame = frame.f_back
            assert frame is not None
            seen.append([type(handler).__name__ for handler in frame.f_locals["handlers"]])

    inner = RunnableLambda(lambda x: x)
    outer = RunnableLambda(lambda x: inner.invoke(x, {"callbacks": [Watch()]}))
    with authority.session(user="alice", agent="boss"):
        outer.invoke(1)
    assert seen[0].index("Watch") < len(seen[0]) - 1
    assert seen[0][-1] == "Companion"
