"""Many at once: bombs against the limits, and exchanges that run into a revocation."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from deputize.authority import access, opening
from deputize.authority.parts import Bounded
from deputize.model.failure import DeputizeError
from deputize.model.limits import Limits
from deputize.model.session import State

AGENT = "spiffe://example.org/agent/"


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


def together(count: int, work: Callable[[int], object]) -> list[str]:
    """`work(number)` in as many threads, started at once; what came of each: `done` or the error's code."""
    outcomes: list[str] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait(30)
        try:
            work(number)
            outcomes.append("done")
        except DeputizeError as error:
            outcomes.append(error.code)
        except BaseException as error:  # noqa: BLE001  # a foreign error is a finding, not the end of a thread
            outcomes.append(repr(error))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return outcomes


@pytest.mark.requirement("A-10")
@pytest.mark.requirement("I5")
@pytest.mark.parametrize("kind", ["firm", "filed"])
def test_a_fan_out_bomb_of_32_threads_stops_at_the_limit(kind: str, request: Any, broken: Any, restless: None) -> None:
    firm = request.getfixturevalue(kind)
    root = firm.root()
    with broken(opening, "_within", lambda *_: None):
        assert together(4, lambda _: [root.delegate("reader") for _ in range(11)]) == ["done"] * 4
    bomb = firm.root(user="bob")
    outcomes = together(32, lambda _: [bomb.delegate("reader") for _ in range(2)])
    found = firm.engine.parts.store.read(lambda tx: tx.session(bomb.id)).children
    assert found == 40  # children_max
    assert len(bomb.tree().children) == 40
    assert set(outcomes) <= {"done", "too_many_children"}
    assert len(root.tree().children) == 44


@pytest.mark.requirement("A-10")
@pytest.mark.requirement("I5")
def test_a_bomb_that_spreads_over_a_tree_stops_at_the_trees_limit(firm: Any, restless: None) -> None:
    root = firm.root()
    branches = [root.delegate("boss") for _ in range(4)]
    outcomes = together(32, lambda number: [branches[number % 4].delegate("reader") for _ in range(3)])
    sessions = firm.engine.parts.store.read(lambda tx: tx.sessions(txn=root.id))
    assert len(sessions) == 60  # tree_max
    assert set(outcomes) <= {"done", "tree_full"}


@pytest.mark.requirement("A-10")
@pytest.mark.requirement("I5")
def test_a_cycle_of_hand_offs_ends_at_the_depth_limit_in_every_thread(firm: Any, broken: Any, restless: None) -> None:
    def down(_: int) -> None:
        session = firm.root()
        for _ in range(20):
            session = session.delegate("boss")

    assert together(32, down) == ["depth_exceeded"] * 32
    deepest = firm.engine.parts.store.read(lambda tx: max(node.depth for node in tx.sessions(limit=10_000)))
    assert deepest == 4
    parts = firm.engine.parts
    limits = Limits(depth_max=16)
    parts.rules = replace(parts.rules, configuration=replace(parts.rules.configuration, limits=limits))
    session = firm.root()
    for depth in range(1, 17):
        session = session.delegate("boss")
        assert session.depth == depth
    assert len(session.present()) <= 8192


@pytest.mark.requirement("I10")
def test_what_is_remembered_of_verified_tokens_stays_whole_when_many_remember_at_once(restless: None) -> None:
    shared: Bounded[int] = Bounded(8)
    assert together(6, lambda n: [shared.put(f"{n}-{i}", i) for i in range(3000)]) == ["done"] * 6
    assert sum(shared.get(f"{n}-{i}") is not None for n in range(6) for i in range(3000)) == 8


# --- revocation


def attempts(firm: Any, child: Any, number: int) -> list[Callable[[], object]]:
    """What can be got out of a session: access, a tool call, a hand-off, a repeat by key."""
    return [
        lambda: child.access("crm", ["crm:read"]),
        lambda: child.access("crm", ["crm:read"], key="same"),
        lambda: child.tool_call("search").start(),
        lambda: child.delegate("writer", key=f"k{number}"),
    ]


def race(firm: Any, victim: Any, child: Any, number: int, revoke: Callable[[], object]) -> list[str]:
    """Exchange in three threads while a fourth revokes; returns what began after `revoke` had returned and succeeded.

    The fourth comes in after a number of exchanges that differs from race to race.
    """
    revoked = threading.Event()
    begun = threading.Semaphore(0)
    began_after: list[str] = []
    work = attempts(firm, child, number)

    def exchange(mine: int) -> None:
        if mine == 0:
            for _ in range(number % 13):
                begun.acquire(timeout=10)
            revoke()
            revoked.set()
            return
        for _ in range(60):
            late = revoked.is_set()
            begun.release()
            try:
                work[mine]()
            except DeputizeError:
                if late:
                    return
            else:
                if late:
                    began_after.append(f"attempt {mine} of race {number}")
                    return

    outcomes = together(4, exchange)
    assert [outcome for outcome in outcomes if outcome != "done"] == []
    return began_after


@pytest.mark.requirement("A-11")
@pytest.mark.requirement("I7")
def test_after_revoke_returned_no_exchange_that_begins_succeeds_on_a_file(
    filed: Any, broken: Any, restless: None
) -> None:
    """Three exchanging threads against one revoking, many trees: hundreds of interleavings with the commit."""
    with broken(access, "require_live", without_asking), broken(opening, "require_live", without_asking):
        root = filed.root(user="broken")
        assert race(filed, root, root.delegate("reader"), 0, lambda: root.revoke("stop")) != []
    late: list[str] = []
    for number in range(1, 121):
        root = filed.root(user=f"user{number}")
        child = root.delegate("reader")
        targets = [
            lambda root=root: root.revoke("stop"),
            lambda child=child: child.revoke("stop"),
            lambda root=root: root.close(),
            lambda number=number: filed.authority.revoke(user=f"user{number}", reason="stop"),
        ]
        late += race(filed, root, child, number, targets[number % 4])
        assert child.state != "open"
    assert late == []
    alive = [node.sid for node in filed.engine.parts.store.read(lambda tx: tx.sessions(limit=10_000)) if node.parent]
    assert [session.id for session in filed.authority.sessions(live=True) if session.id in alive] == []


def without_asking(tx: Any, shown: Any, now: float, **_: Any) -> Any:
    """A copy that trusts what it read of the session before the transaction."""
    from deputize.authority.subject import Cuts

    return Cuts(tx, [shown.node], ())


@pytest.mark.requirement("A-11")
@pytest.mark.requirement("I7")
def test_a_revocation_by_another_process_wins_the_same_race(filed: Any, restless: None) -> None:
    other = filed.open()
    for number in range(1, 25):
        root = filed.root(user=f"user{number}")
        child = root.delegate("reader")
        late = race(filed, root, child, number, lambda root=root: other.revoke(session=root.id, reason="stop"))
        assert late == []
        assert root.state == "revoked"


@pytest.mark.requirement("I7")
@pytest.mark.requirement("RV-03")
def test_a_token_that_left_in_the_same_moment_is_dead_when_revoke_returns(filed: Any, restless: None) -> None:
    """An exchange in flight may answer; what it answers with opens nothing."""
    for number in range(12):
        root = filed.root(user=f"user{number}")
        child = root.delegate("reader")
        tokens: list[str] = []
        left = threading.Semaphore(0)

        def take(mine: int, root: Any = root, child: Any = child, tokens: Any = tokens, left: Any = left) -> None:
            if mine == 0:
                for _ in range(1 + number % 5):  # noqa: B023  # all are done before it changes
                    left.acquire(timeout=10)
                root.revoke("stop")
            for _ in range(10):
                tokens.append(child.access("crm", ["crm:read"]).reveal())  # what left stays when one fails
                left.release()

        assert set(together(4, take)) <= {"session_revoked", "done"}
        assert tokens
        assert [token for token in tokens if filed.authority.introspect(token).active] == []


@pytest.mark.requirement("I7")
@pytest.mark.requirement("I12")
def test_closing_and_revoking_at_once_leave_one_final_state(firm: Any, restless: None) -> None:
    for _ in range(10):
        root = firm.root()
        child = root.delegate("reader")
        ends = [child.close, lambda child=child: child.revoke("stop"), root.close, lambda root=root: root.revoke("x")]
        assert together(4, lambda n, ends=ends: ends[n]()) == ["done"] * 4
        states = [firm.engine.parts.store.read(lambda tx, s=s: tx.session(s.id)).state for s in (root, child)]
        assert states[0] in {State.CLOSED, State.REVOKED}
        assert child.state in {"closed", "revoked"}
