import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deputize import Authority, Session
from deputize.errors import AuthorityUnavailable, ConfigurationError, Denied, InvalidRequest, NoSession, StoreError
from deputize.runtime import (
    ambient_session,
    answer_for_model,
    carry,
    current_access,
    current_call,
    current_session,
    guarded,
    handoff,
    is_refusal,
    on_enter,
    refused,
    tool,
    tool_call,
    within,
)

CRM = "https://crm.example/mcp"


@pytest.fixture
def authority() -> Iterator[Authority]:
    made = Authority(
        agents={"boss": ["search", "crm:read"], "clerk": ["search"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["clerk"]},
    )
    yield made
    made.close()


@pytest.fixture
def session(authority: Authority) -> Iterator[Session]:
    with authority.session(user="alice", agent="boss") as opened:
        yield opened


def kinds(authority: Authority, prefix: str) -> list[str]:
    return [str(row["type"]) for row in authority.audit if str(row["type"]).startswith(prefix)]


def test_outside_a_session_everything_that_needs_one_is_refused() -> None:
    assert ambient_session() is None
    for ask in (current_session, current_access, lambda: tool_call("search"), lambda: handoff("clerk")):
        with pytest.raises(NoSession) as refusal:
            ask()
        assert refusal.value.code == "no_session"


def test_a_tool_call_is_permitted_attributed_and_recorded(authority: Authority, session: Session) -> None:
    with tool_call("search", args={"q": 1}, call_id="c1") as call:
        assert current_call() is call
        assert current_session() is session
        assert guarded("c1")
        assert not guarded("c2")
        assert not guarded(None)
    assert current_call() is None
    assert kinds(authority, "tool.") == ["tool.started", "tool.finished"]


async def test_the_same_in_async(authority: Authority, session: Session) -> None:
    async with tool_call("search", call_id="c1") as call:
        await asyncio.sleep(0)
        assert current_call() is call
        assert await asyncio.to_thread(current_session) is session
    assert kinds(authority, "tool.") == ["tool.started", "tool.finished"]


def test_a_refused_call_leaves_nothing_ambient(authority: Authority, session: Session) -> None:
    with authority.session(user="alice", agent="clerk") as other, within(session):
        with pytest.raises(Denied), tool_call("drop", session=other):
            pytest.fail("the body ran")
        assert current_call() is None
        assert current_session() is session
    assert kinds(authority, "tool.") == ["tool.denied"]


async def test_a_refused_async_call_leaves_nothing_ambient(authority: Authority, session: Session) -> None:
    with authority.session(user="alice", agent="clerk") as other, within(session):
        with pytest.raises(Denied):
            async with tool_call("drop", session=other):
                pytest.fail("the body ran")
        assert current_session() is session


def test_a_second_guard_around_the_same_call_asks_and_records_nothing(authority: Authority, session: Session) -> None:
    with tool_call("search", call_id="c1") as outer, tool_call("search", call_id="c1") as inner:
        assert inner is outer
    assert kinds(authority, "tool.") == ["tool.started", "tool.finished"]


async def test_a_second_async_guard_around_the_same_call_asks_nothing(authority: Authority, session: Session) -> None:
    async with tool_call("search", call_id="c1") as outer, tool_call("search", call_id="c1") as inner:
        assert inner is outer
    assert kinds(authority, "tool.") == ["tool.started", "tool.finished"]


@pytest.mark.parametrize(("inner", "call_id"), [("search", "c2"), ("search", None), ("drop", "c1")])
def test_another_call_inside_a_guard_is_asked_for_itself(
    authority: Authority, session: Session, inner: str, call_id: str | None
) -> None:
    with tool_call("search", call_id="c1") as outer:
        try:
            with tool_call(inner, call_id=call_id) as call:
                assert call is not outer
        except Denied:
            assert inner == "drop"
    asked = [kind for kind in kinds(authority, "tool.") if kind in {"tool.started", "tool.denied"}]
    assert len(asked) == 2


def test_an_inner_guard_that_needs_other_scopes_is_asked_for_like_any_other(
    authority: Authority, session: Session
) -> None:
    """The outer guard asked for what the registry lists; the tool itself was told to need something else."""
    with tool_call("read", scopes=["crm:read"], resource=CRM, call_id="c1") as outer:
        with pytest.raises(Denied), tool_call("read", scopes=["crm:write"], resource=CRM, call_id="c1"):
            pytest.fail("the body ran")
        with pytest.raises(Denied), tool_call("read", call_id="c1"):
            pytest.fail("the body ran")
        with tool_call("read", scopes=["crm:read"], resource=CRM, call_id="c1") as same:
            assert same is outer


def test_a_call_of_another_session_is_never_taken_for_guarded(authority: Authority, session: Session) -> None:
    with session.delegate("clerk") as child, tool_call("search", call_id="c1", session=session) as outer:
        with tool_call("search", call_id="c1", session=child) as inner:
            assert inner.session is child
        assert outer.session is session


def test_a_call_with_other_arguments_is_another_call_though_a_model_gave_it_the_same_id(
    authority: Authority, session: Session
) -> None:
    with tool_call("search", args={"q": 1}, call_id="c1") as outer:
        with tool_call("search", args={"q": 2}, call_id="c1") as inner:
            assert inner is not outer
        with tool_call("search", args={"q": 1}, call_id="c1") as again:
            assert again is outer
    assert kinds(authority, "tool.") == ["tool.started"] * 2 + ["tool.finished"] * 2


def test_access_is_minted_once_per_call(authority: Authority, session: Session) -> None:
    with tool_call("read_customers", scopes=["crm:read"], resource=CRM, call_id="c1"):
        first = current_access()
        assert current_access(CRM) is first
        assert first.scopes == {"crm:read"}
    with tool_call("read_customers", scopes=["crm:read"], resource=CRM, call_id="c2"):
        assert current_access().id != first.id


def test_a_hand_off_tool_needs_delegate_alone_and_gets_no_access(authority: Authority, session: Session) -> None:
    with tool_call("ask_clerk", to=["clerk"]) as call:
        assert call.policies[0].startswith("agent.boss.delegate")
        with pytest.raises(InvalidRequest) as refusal:
            current_access()
        assert is_refusal(refusal.value)
    with session.delegate("clerk") as child:
        for to in (["boss"], ["nobody"]):
            with pytest.raises(Denied), tool_call("ask", to=to, session=child):
                pytest.fail("the body ran")


@pytest.mark.requirement("I4")
def test_the_call_around_a_session_gives_it_no_access(authority: Authority, session: Session) -> None:
    with tool_call("read_customers", scopes=["crm:read"], resource=CRM) as call:
        with handoff("clerk"):
            with pytest.raises(NoSession):
                current_access()
            with within(session):
                assert current_call() is None
        assert current_call() is call
        assert current_access().scopes == {"crm:read"}


@pytest.mark.requirement("I4")
async def test_tasks_that_share_a_session_are_each_inside_it(authority: Authority, session: Session) -> None:
    inside = asyncio.Barrier(2)

    async def work() -> tuple[str, str]:
        with session.delegate("clerk", key="the same") as child:
            await inside.wait()
            assert current_session() is child
            await inside.wait()
            name = current_session().name
        return name, current_session().name

    assert await asyncio.gather(work(), work()) == [("clerk", "boss")] * 2
    assert current_session() is session


def test_a_session_that_another_thread_closes_leaves_that_threads_own_alone(
    authority: Authority, session: Session
) -> None:
    with session.delegate("clerk") as child, ThreadPoolExecutor(1) as pool:

        def elsewhere() -> tuple[str | None, str | None]:
            with authority.session(user="bob", agent="boss") as other:
                child.close()
                return (ambient_session() or child).subject, other.subject

        assert pool.submit(elsewhere).result() == ("local|bob", "local|bob")
        assert current_session() is child
    assert current_session() is session


@pytest.mark.requirement("I1")
def test_a_hand_off_opens_a_narrower_session_and_closes_it(authority: Authority, session: Session) -> None:
    with handoff("clerk", via="ask_clerk", call_id="c1", task="look it up") as child:
        assert current_session() is child
        assert child.rights <= session.rights
    assert current_session() is session
    assert child.state == "closed"
    taken = authority.audit.find(type="handoff.taken")[0]
    assert (taken["tool"], taken["call_id"], taken["sid"]) == ("ask_clerk", "c1", session.id)


async def test_an_async_hand_off_is_closed_also_when_it_fails(authority: Authority, session: Session) -> None:
    opened: list[Session] = []

    async def fail() -> None:
        async with handoff("clerk") as child:
            opened.append(child)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert opened[0].state == "closed"
    assert current_session() is session


def test_a_guarded_function_is_refused_before_it_runs(authority: Authority, session: Session) -> None:
    ran: list[str] = []

    @tool
    def search(query: str) -> str:
        ran.append(query)
        return query

    @tool(name="drop")
    def drop_table(table: str) -> None:
        ran.append(table)

    assert search("x") == "x"
    with pytest.raises(Denied):
        drop_table("t")
    assert ran == ["x"]
    assert kinds(authority, "tool.") == ["tool.started", "tool.finished", "tool.denied"]


async def test_a_guarded_coroutine_function_has_its_own_access(authority: Authority, session: Session) -> None:
    @tool(scopes=["crm:read"], resource=CRM)
    async def read() -> str:
        await asyncio.sleep(0)
        return current_access().id

    assert len(set(await asyncio.gather(read(), read(), read()))) == 3


def test_a_generator_can_not_be_guarded_as_a_function() -> None:
    def rows() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigurationError):
        tool(rows)


def test_a_body_that_would_run_after_its_guard_does_not_run(authority: Authority, session: Session) -> None:
    ran: list[str] = []

    async def later() -> None:
        ran.append("coroutine")

    def rows() -> Iterator[int]:
        ran.append("generator")
        yield 1

    async def arows() -> AsyncIterator[int]:
        ran.append("async generator")
        yield 1

    for body in (later, rows, arows):
        guard = tool(lambda body=body: body(), name="search")
        with pytest.raises(ConfigurationError):
            guard()
    assert ran == []
    assert kinds(authority, "tool.") == ["tool.started", "tool.failed"] * 3


def test_a_thread_of_ones_own_has_nothing_unless_it_is_carried(session: Session) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ambient_session).result() is None
        assert pool.submit(carry(current_session)).result() is session


def test_one_carried_function_may_run_many_times_at_once(session: Session) -> None:
    together = threading.Barrier(4)

    def work(number: int) -> tuple[int, str]:
        together.wait(5)
        return number, current_session().id

    carried = carry(work)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(carried, range(4))) == {(number, session.id) for number in range(4)}


def test_a_carried_coroutine_function_runs_in_another_loop_with_what_was_current(session: Session) -> None:
    async def work() -> str:
        return current_session().id

    carried = carry(work)

    def elsewhere() -> str:
        assert ambient_session() is None
        return asyncio.run(carried())

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(elsewhere).result() == session.id


def test_entering_a_session_tells_those_who_asked(authority: Authority) -> None:
    seen: list[str] = []
    watching = contextvars.ContextVar("watching", default=False)

    def listener(session: Session) -> None:
        if watching.get():
            seen.append(session.id)

    on_enter(listener)
    on_enter(listener)
    watching.set(True)
    with authority.session(user="alice", agent="boss") as opened:
        assert seen == [opened.id]
    watching.set(False)


def test_what_a_model_reads_holds_code_policy_and_reference_only(session: Session) -> None:
    with pytest.raises(Denied) as refusal, tool_call("drop"):
        pytest.fail("the body ran")
    text = answer_for_model(refusal.value)
    assert all(word not in text for word in ("alice", "boss", "tool:drop", session.id))
    assert refusal.value.denial.reference in text
    assert "authority_unavailable" in answer_for_model(AuthorityUnavailable("db.internal:5432 is down"))
    assert "internal" not in answer_for_model(AuthorityUnavailable("db.internal:5432 is down"))


def test_mistakes_and_broken_stores_are_for_people_not_for_models() -> None:
    assert is_refusal(refused(Denied, "tool_unguarded", asked="a", enough="b"))
    assert is_refusal(InvalidRequest("x"))
    assert is_refusal(AuthorityUnavailable("x"))
    assert not is_refusal(ConfigurationError("x"))
    assert not is_refusal(StoreError("x"))
    assert not is_refusal(ValueError("x"))


@pytest.mark.parametrize("waits", [False, True], ids=["sync", "async"])
def test_a_session_scope_opens_a_root_makes_it_current_and_closes_it(waits: bool) -> None:
    from deputize.runtime import aaccess, access, current_session, session

    crm = "https://crm.example/mcp"
    with Authority(agents={"solo": ["crm:read"]}, resources={crm: ["crm:read"]}) as authority:
        scope = session(authority, agent="solo", user="alice", task="t")

        def work() -> Session:
            with scope as opened:
                assert current_session() is opened
                assert access(crm, ["crm:read"]).scopes == {"crm:read"}
                return opened

        async def wait() -> Session:
            async with scope as opened:
                assert current_session() is opened
                assert (await aaccess(crm, ["crm:read"])).scopes == {"crm:read"}
                return opened

        opened = asyncio.run(wait()) if waits else work()
        assert (opened.state, opened.subject) == ("closed", "local|alice")
        with pytest.raises(NoSession):
            access(crm, ["crm:read"])
