"""What every store does. Runs over all BACKENDS of conftest.py."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deputize.model.failure import IntegrityError, NotFound, StoreError
from deputize.model.resource import Right
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Edge, Evidence, Grant, Mode, Node, State
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.store.rows import KeyRow, Remembered

Make = Any  # the fixture of conftest.py
T = TypeVar("T")


def bare(record: Any) -> Any:
    return replace(record, event=None)


# ---- transactions


def test_an_operation_reads_what_it_wrote(store: Store, make: Make) -> None:
    def op(tx: WriteTx) -> Node | None:
        tx.add_session(make.node("a"))
        return tx.session("a")

    assert store.write(op) == make.node("a")


def test_a_write_that_returned_is_seen_by_every_later_read(store: Store, make: Make) -> None:
    for number in range(20):
        sid = f"s{number}"
        store.write(lambda tx, sid=sid: tx.add_session(make.node(sid)))
        assert store.read(lambda tx, sid=sid: tx.session(sid)) is not None


@pytest.mark.requirement("I8")
def test_an_exception_undoes_all_of_its_operation_and_reaches_the_caller_unchanged(store: Store, make: Make) -> None:
    class Own(Exception):  # any exception of a caller
        pass

    raised = Own()

    def op(tx: WriteTx) -> None:
        make.append(tx, txn="a", sid="a")
        tx.add_tree("a", b"k")
        tx.add_session(make.node("a"))
        raise raised

    with pytest.raises(Own) as caught:
        store.write(op)
    assert caught.value is raised
    assert store.read(lambda tx: (tx.session("a"), tx.size(), tx.tree_secret("a"))) == (None, 0, None)


def test_after_a_failed_operation_the_next_one_works(store: Store, make: Make) -> None:
    with pytest.raises(ZeroDivisionError):
        store.write(lambda _tx: 1 // 0)
    store.write(lambda tx: tx.add_session(make.node("a")))
    assert store.read(lambda tx: tx.session("a")) == make.node("a")


def test_an_exception_undoes_no_other_operation_that_runs_at_the_same_time(store: Store, make: Make) -> None:
    failed: list[str] = []

    def run(name: str) -> None:
        for number in range(10):
            sid = f"{name}-{number}"

            def op(tx: WriteTx, sid: str = sid, number: int = number) -> None:
                tx.add_session(make.node(sid))
                if number % 2:
                    raise LookupError(sid)

            try:
                store.write(op)
            except LookupError as error:
                failed.append(str(error))

    threads = [threading.Thread(target=run, args=(str(each),)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = {node.sid for node in store.read(lambda tx: tx.sessions())}
    assert kept == {f"{name}-{number}" for name in range(8) for number in range(0, 10, 2)}
    assert len(failed) == 40


def test_thirty_two_threads_lose_no_write_and_leave_no_hole_in_the_log(store: Store, make: Make) -> None:
    seqs: list[int] = []

    def run(name: int) -> None:
        for number in range(6):
            sid = f"{name}-{number}"

            def op(tx: WriteTx, sid: str = sid) -> int:
                record = make.append(tx, txn=sid, sid=sid)
                tx.add_session(make.node(sid, leaf=record.seq))
                return int(record.seq)

            seqs.append(store.write(op))

    threads = [threading.Thread(target=run, args=(each,)) for each in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    nodes, size = store.read(lambda tx: (tx.sessions(limit=500), tx.size()))
    assert sorted(seqs) == list(range(192)) == sorted(node.leaf for node in nodes)
    assert size == 192


def test_readers_see_a_whole_transaction_or_nothing_of_it(store: Store, make: Make) -> None:
    stop = threading.Event()
    torn: list[tuple[int, int]] = []

    def look(tx: ReadTx) -> tuple[int, int]:
        return len(tx.sessions(limit=500)), tx.size()

    def watch() -> None:
        while not stop.is_set():
            seen = store.read(look)
            if seen[0] != seen[1]:
                torn.append(seen)

    def op(tx: WriteTx, number: int) -> None:
        tx.add_session(make.node(f"s{number}"))
        make.append(tx, sid=f"s{number}")

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(40):
        store.write(lambda tx, number=number: op(tx, number))
    stop.set()
    watcher.join()
    assert torn == []


def test_a_transaction_is_of_no_use_once_its_operation_returned(store: Store) -> None:
    kept = store.write(lambda tx: tx)
    seen = store.read(lambda tx: tx)
    for stale in (kept, seen):
        with pytest.raises(StoreError) as caught:
            stale.session("a")
        assert caught.value.code == "store_ended"


def test_a_transaction_inside_an_operation_of_the_same_store_is_refused(store: Store) -> None:
    for inner in (lambda: store.write(lambda _tx: None), lambda: store.read(lambda _tx: None), store.close):
        with pytest.raises(StoreError) as caught:
            store.write(lambda _tx, inner=inner: inner())
        assert caught.value.code == "store_nested"


def test_a_closed_store_refuses_and_may_be_closed_again(store: Store) -> None:
    store.write(lambda tx: tx.set_meta("a", "1"))
    store.close()
    store.close()
    for use in (lambda: store.write(lambda tx: tx.meta("a")), lambda: open_and_read(store), store.change_count):
        with pytest.raises(StoreError) as caught:
            use()
        assert caught.value.code == "store_closed"


def open_and_read(store: Store) -> object:
    """A read of the very store that was closed, also where `read` opens another."""
    inner = getattr(store, "_now", store)
    return inner.read(lambda tx: tx.meta("a"))


def test_change_count_moves_with_every_commit_and_only_then(store: Store) -> None:
    before = store.change_count()
    assert store.change_count() == before
    store.write(lambda tx: tx.set_meta("a", "1"))
    after = store.change_count()
    assert after != before
    with pytest.raises(ZeroDivisionError):
        store.write(lambda _tx: 1 // 0)
    assert store.change_count() == after


def test_a_synced_write_is_a_write_like_any_other(store: Store, make: Make) -> None:
    store.write(lambda tx: tx.add_session(make.node("a")), sync=True)
    store.write(lambda tx: tx.add_session(make.node("b")))
    assert [node.sid for node in store.read(lambda tx: tx.sessions())] == ["a", "b"]


# ---- sessions


IDS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-", min_size=1, max_size=16)
TEXT = st.text(min_size=0, max_size=20).filter(lambda text: "\0" not in text)
RIGHTS = st.frozensets(
    st.builds(
        Right, st.sampled_from(["https://a.example/", "urn:deputize:tools"]), st.sampled_from(["r", "w", "tool:x"])
    ),
    max_size=4,
)
SECONDS = st.integers(0, 2**40)
NODES = st.builds(
    Node,
    sid=IDS,
    txn=IDS,
    path=st.lists(IDS, max_size=3).map(tuple),
    parent=st.none() | IDS,
    kind=st.sampled_from(Edge),
    mode=st.sampled_from(Mode),
    sub=TEXT,
    agent=TEXT,
    chain=st.lists(TEXT, max_size=3).map(tuple),
    ceiling=RIGHTS,
    created=SECONDS,
    exp=SECONDS,
    depth=st.integers(0, 16),
    evidence=st.sampled_from(Evidence),
    workload=TEXT,
    attestation=TEXT,
    state=st.sampled_from(State),
    task=st.none() | TEXT,
    task_digest=st.none() | TEXT,
    key=st.none() | TEXT,
    leaf=st.integers(-1, 2**40),
    children=st.integers(0, 1000),
    continues=st.none() | IDS,
)
GRANTS = st.builds(
    Grant,
    jti=IDS,
    sid=IDS,
    txn=IDS,
    agent=TEXT,
    sub=TEXT,
    resource=TEXT,
    scope=st.frozensets(IDS, max_size=3),
    mode=st.sampled_from(Mode),
    iat=SECONDS,
    exp=SECONDS,
    jkt=st.none() | IDS,
    onward=RIGHTS,
    terminal=st.booleans(),
    claims=st.binary(max_size=40),
    key=st.none() | IDS,
    leaf=st.integers(-1, 2**40),
)
OVER_ALL = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Undone(Exception):
    """Ends an example, so that the next one finds the store as it was."""


def undone(store: Store, op: Callable[[WriteTx], T]) -> T:
    """What `op` comes to; nothing of it stays."""
    seen: list[T] = []

    def then_undo(tx: WriteTx) -> None:
        seen[:] = [op(tx)]
        raise Undone

    with pytest.raises(Undone):
        store.write(then_undo)
    return seen[0]


@OVER_ALL
@given(nodes=st.lists(NODES, max_size=4, unique_by=lambda node: node.sid))
def test_a_session_comes_back_as_it_was_put(store: Store, nodes: list[Node]) -> None:
    def op(tx: WriteTx) -> list[Node | None]:
        for node in nodes:
            tx.add_session(node)
        return [tx.session(node.sid) for node in nodes]

    assert undone(store, op) == nodes


def test_a_session_that_is_not_there_is_none(store: Store) -> None:
    assert store.read(lambda tx: tx.session("nobody")) is None


def test_a_second_session_of_the_same_id_is_refused(store: Store, make: Make) -> None:
    store.write(lambda tx: tx.add_session(make.node("a")))
    with pytest.raises(StoreError) as caught:
        store.write(lambda tx: tx.add_session(make.node("a", sub="local|bob")))
    assert caught.value.code == "store_conflict"
    assert store.read(lambda tx: tx.session("a")) == make.node("a")


def test_a_line_is_every_ancestor_root_first_then_itself_as_stored_now(store: Store, make: Make) -> None:
    line = [make.node("z-root")]
    for name in ("m", "a", "y", "b"):
        line.append(make.child(name, line[-1]))
    for node in reversed(line):
        store.write(lambda tx, node=node: tx.add_session(node))
    store.write(lambda tx: tx.end_session("a", State.CLOSED))
    expected = [replace(node, state=State.CLOSED) if node.sid == "a" else node for node in line]
    assert store.read(lambda tx: tx.line(line[-1])) == expected
    assert store.read(lambda tx: tx.line(line[0])) == line[:1]


def test_a_line_sees_what_its_own_operation_ended(store: Store, make: Make) -> None:
    root = make.node("root")
    below = make.child("below", root)
    store.write(lambda tx: (tx.add_session(root), tx.add_session(below)))
    store.read(lambda tx: tx.line(below))

    def op(tx: WriteTx) -> State:
        tx.end_session("root", State.REVOKED)
        return tx.line(below)[0].state

    assert store.write(op) is State.REVOKED


def test_a_line_with_a_missing_ancestor_is_an_integrity_error(store: Store, make: Make) -> None:
    root = make.node("root")
    middle = make.child("middle", root)
    below = make.child("below", middle)
    store.write(lambda tx: (tx.add_session(root), tx.add_session(below)))
    with pytest.raises(IntegrityError):
        store.read(lambda tx: tx.line(below))
    with pytest.raises(IntegrityError):
        store.read(lambda tx: tx.line(middle))


def test_a_line_deeper_than_any_tree_is_an_integrity_error(store: Store, make: Make) -> None:
    deep = make.node("deep", txn="root", path=tuple(f"p{number}" for number in range(40)))
    with pytest.raises(IntegrityError):
        store.read(lambda tx: tx.line(deep))


def test_sessions_are_found_by_tree_subject_and_agent_newest_kept_oldest_first(store: Store, make: Make) -> None:
    root = make.node("a1")
    nodes = [
        root,
        make.child("a2", root, agent="spiffe://example.org/agent/researcher"),
        make.node("b1", sub="local|bob", exp=1_750_000_010),
        make.node("c1", sub="local|bob"),
    ]
    for node in nodes:
        store.write(lambda tx, node=node: tx.add_session(node))
    store.write(lambda tx: tx.end_session("c1", State.CLOSED))

    def sids(**query: object) -> list[str]:
        return [node.sid for node in store.read(lambda tx: tx.sessions(**query))]

    assert sids() == ["a1", "a2", "b1", "c1"]
    assert sids(limit=2) == ["b1", "c1"]
    assert sids(txn="a1") == ["a1", "a2"]
    assert sids(sub="local|bob") == ["b1", "c1"]
    assert sids(agent="spiffe://example.org/agent/researcher") == ["a2"]
    assert sids(sub="local|bob", live_at=1_750_000_000) == ["b1"]
    assert sids(sub="local|bob", live_at=1_750_000_010) == []
    assert sids(sub="local|alice", agent="spiffe://example.org/agent/researcher", txn="b1") == []


def test_an_end_is_final(store: Store, make: Make) -> None:
    store.write(lambda tx: tx.add_session(make.node("a")))
    store.write(lambda tx: tx.end_session("a", State.REVOKED))
    store.write(lambda tx: tx.end_session("a", State.CLOSED))
    store.write(lambda tx: tx.end_session("a", State.OPEN))
    assert store.read(lambda tx: tx.session("a")) == make.node("a", state=State.REVOKED)


def test_ending_a_session_that_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(NotFound):
        store.write(lambda tx: tx.end_session("nobody", State.CLOSED))


@pytest.mark.requirement("I5")
def test_children_and_tree_are_counted_exactly_by_many_at_once(store: Store, make: Make) -> None:
    root = make.node("root")
    store.write(lambda tx: (tx.add_tree("root", b"k" * 32), tx.add_session(root)))
    counts: list[tuple[int, int]] = []

    def run() -> None:
        for _ in range(5):
            counts.append(store.write(lambda tx: tx.count_child("root", "root")))  # noqa: PERF401  # as it happens

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [(number + 1, number) for number in range(1, 41)]
    assert store.read(lambda tx: tx.session("root")) == make.node("root", children=40)


def test_counting_below_a_tree_or_parent_that_is_missing_is_an_integrity_error(store: Store, make: Make) -> None:
    store.write(lambda tx: (tx.add_tree("root", b"k"), tx.add_session(make.node("elsewhere"))))
    for txn, parent in (("root", "nobody"), ("nobody", "elsewhere"), ("root", "elsewhere")):
        with pytest.raises(IntegrityError):
            store.write(lambda tx, txn=txn, parent=parent: tx.count_child(txn, parent))
    store.write(lambda tx: tx.add_session(make.node("root")))
    assert store.write(lambda tx: tx.count_child("root", "root")) == (2, 1)


def test_a_tree_has_its_secret_until_it_is_erased_with_the_tasks(store: Store, make: Make) -> None:
    node = make.node("root", task="Q3 churn", task_digest="d" * 32)
    store.write(lambda tx: (tx.add_tree("root", b"\0" * 32), tx.add_session(node)))
    assert store.read(lambda tx: (tx.tree_secret("root"), tx.tree_secret("nobody"))) == (b"\0" * 32, None)
    store.write(lambda tx: tx.erase_tree("root"))
    assert store.read(lambda tx: (tx.tree_secret("root"), tx.session("root"))) == (None, make.node("root"))
    with pytest.raises(NotFound):
        store.write(lambda tx: tx.erase_tree("nobody"))


# ---- grants and idempotency


@OVER_ALL
@given(grants=st.lists(GRANTS, max_size=4, unique_by=lambda grant: grant.jti))
def test_a_grant_comes_back_as_it_was_put(store: Store, grants: list[Grant]) -> None:
    def op(tx: WriteTx) -> list[Grant | None]:
        for grant in grants:
            tx.add_grant(grant)
        return [tx.grant(grant.jti) for grant in grants]

    assert undone(store, op) == grants


def test_grants_of_a_tree_come_oldest_first(store: Store, make: Make) -> None:
    here, there = make.node("here"), make.node("there")
    grants = [make.grant("z", here), make.grant("a", here, terminal=True, onward=here.ceiling)]
    for grant in (*grants, make.grant("m", there)):
        store.write(lambda tx, grant=grant: tx.add_grant(grant))
    assert store.read(lambda tx: tx.grants(txn="here")) == grants
    assert store.read(lambda tx: (tx.grants(txn="nobody"), tx.grant("nobody"))) == ([], None)


def test_a_second_grant_of_the_same_id_is_refused(store: Store, make: Make) -> None:
    node = make.node("a")
    store.write(lambda tx: tx.add_grant(make.grant("j", node)))
    with pytest.raises(StoreError) as caught:
        store.write(lambda tx: tx.add_grant(make.grant("j", node)))
    assert caught.value.code == "store_conflict"


def test_an_outcome_is_remembered_replaced_and_forgotten(store: Store) -> None:
    first = Remembered(key="k1", digest="d", sid="s", jti=None, until=100)
    other = Remembered(key="k2", digest="d", jti="j1", until=200)
    store.write(lambda tx: (tx.remember(first), tx.remember(other), tx.remember(replace(other, jti="j2"))))
    assert store.read(lambda tx: (tx.remembered("k1"), tx.remembered("k2"))) == (first, replace(other, jti="j2"))
    store.write(lambda tx: tx.forget(100))
    assert store.read(lambda tx: tx.remembered("k1")) == first
    store.write(lambda tx: tx.forget(101))
    assert store.read(lambda tx: (tx.remembered("k1"), tx.remembered("k2"))) == (None, replace(other, jti="j2"))


def test_of_many_first_uses_of_a_key_at_once_one_wins_and_all_read_it(store: Store) -> None:
    answers: list[str | None] = []
    ready = threading.Barrier(8)

    def run(name: int) -> None:
        def op(tx: WriteTx) -> str | None:
            row = tx.remembered("k")
            if row is None:
                tx.remember(Remembered(key="k", digest="d", sid=str(name), until=1))
                return str(name)
            return row.sid

        ready.wait()
        answers.append(store.write(op))

    threads = [threading.Thread(target=run, args=(each,)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 1


@pytest.mark.requirement("I12")
def test_a_proof_is_spent_once_per_issuer(store: Store) -> None:
    spent = [
        store.write(lambda tx, pair=pair: tx.spend(*pair, 100))
        for pair in (("a", "j"), ("a", "j"), ("b", "j"), ("a", "k"))
    ]
    assert spent == [True, False, True, True]
    store.write(lambda tx: tx.forget(101))
    assert store.write(lambda tx: tx.spend("a", "j", 300))


# ---- revocation


def entry(kind: Kind, name: str, seq: int, **changes: Any) -> RevocationEntry:
    return RevocationEntry(kind=kind, id=name, at=50, until=100, seq=seq, reason="INC-1", **changes)


@pytest.mark.requirement("I7")
def test_what_is_revoked_stays_and_is_read_in_the_order_of_the_log(store: Store) -> None:
    rows = [
        entry(Kind.SESSION, "s", 3),
        entry(Kind.USER, "local|alice", 5, before=49),
        entry(Kind.TOKEN, "j", 9),
    ]
    for row in reversed(rows):
        store.write(lambda tx, row=row: tx.revoke(row), sync=True)
    assert store.read(lambda tx: tx.revocations()) == rows
    assert store.read(lambda tx: tx.revocations(after_seq=3)) == rows[1:]
    assert store.read(lambda tx: tx.revocations(after_seq=9)) == []
    assert store.read(lambda tx: tx.revocations(limit=2)) == rows[:2]
    assert store.read(lambda tx: tx.revocations(after_seq=3, limit=1)) == rows[1:2]
    assert store.read(lambda tx: tx.revocations(live_at=100)) == rows
    assert store.read(lambda tx: tx.revocations(live_at=101)) == []
    assert store.read(lambda tx: tx.revoked(Kind.USER, "local|alice")) == rows[1]
    assert store.read(lambda tx: (tx.revoked(Kind.CLOSE, "s"), tx.revoked(Kind.SESSION, "t"))) == (None, None)
    store.write(lambda tx: tx.forget(10**9))
    assert store.read(lambda tx: tx.revocations()) == rows


def test_causes_are_united_and_nothing_un_revokes(store: Store) -> None:
    store.write(lambda tx: tx.revoke(entry(Kind.USER, "u", 4, before=60)))
    store.write(lambda tx: tx.revoke(replace(entry(Kind.USER, "u", 7, before=40), until=20, reason="again")))
    united = store.read(lambda tx: tx.revoked(Kind.USER, "u"))
    assert united == replace(entry(Kind.USER, "u", 7, before=60), reason="again")
    store.write(lambda tx: tx.revoke(entry(Kind.CLOSE, "s", 8)))
    store.write(lambda tx: tx.revoke(entry(Kind.SESSION, "s", 9)))
    found = store.read(lambda tx: tx.revoked_among(["x", "s", "u", "s"]))
    assert sorted({(row.kind.value, row.id) for row in found}) == [("close", "s"), ("session", "s"), ("user", "u")]


CAUSES = st.builds(
    RevocationEntry,
    kind=st.just(Kind.USER),
    id=st.just("local|alice"),
    at=SECONDS,
    until=SECONDS,
    before=st.none() | SECONDS,
    seq=st.integers(0, 2**40),
    reason=TEXT,
)


@OVER_ALL
@given(causes=st.lists(CAUSES, min_size=1, max_size=4, unique_by=lambda cause: cause.seq))
def test_in_whatever_order_causes_come_they_unite_to_the_same(store: Store, causes: list[RevocationEntry]) -> None:
    def op(tx: WriteTx) -> RevocationEntry | None:
        for cause in causes:
            tx.revoke(cause)
        return tx.revoked(Kind.USER, "local|alice")

    newest = max(causes, key=lambda cause: cause.seq)
    assert undone(store, op) == replace(
        newest,
        at=min(cause.at for cause in causes),
        until=max(cause.until for cause in causes),
        before=max((cause.before for cause in causes if cause.before is not None), default=None),
    )


@OVER_ALL
@given(causes=st.lists(CAUSES, min_size=1, max_size=4, unique_by=lambda cause: cause.seq))
def test_of_an_agent_the_newest_record_says_whether_it_is_suspended(
    store: Store, causes: list[RevocationEntry]
) -> None:
    def op(tx: WriteTx) -> RevocationEntry | None:
        for cause in causes:
            tx.revoke(replace(cause, kind=Kind.AGENT, id="a"))
        return tx.revoked(Kind.AGENT, "a")

    newest = max(causes, key=lambda cause: cause.seq)
    found = undone(store, op)
    assert found is not None
    assert (found.before, found.reason, found.seq) == (newest.before, newest.reason, newest.seq)
    assert found.until == max(cause.until for cause in causes)


def test_all_rows_that_name_one_of_many_ids_come_in_one_call(store: Store) -> None:
    for number in range(60):
        store.write(lambda tx, number=number: tx.revoke(entry(Kind.SESSION, f"s{number}", number)))
    ids = [f"s{number}" for number in range(59, -1, -2)] + ["nobody"]
    found = store.read(lambda tx: tx.revoked_among(ids))
    assert [row.seq for row in found] == list(range(1, 60, 2))
    assert store.read(lambda tx: tx.revoked_among([])) == []


# ---- keys, names, tiles


def test_keys_are_put_replaced_and_dropped(store: Store) -> None:
    def key(kid: str, start: int) -> KeyRow:
        return KeyRow(
            kid=kid,
            use="sig",
            jwk=b'{"kty":"EC"}',
            sign_from=start,
            sign_until=start + 600,
            serve_until=start + 1200,
            instance="i",
            endorsement=b"e" if start else None,
            proof=None,
        )

    store.write(lambda tx: (tx.put_key(key("b", 5)), tx.put_key(key("a", 0)), tx.put_key(key("c", 9))))
    assert store.read(lambda tx: tx.keys()) == [key("a", 0), key("b", 5), key("c", 9)]
    store.write(lambda tx: (tx.put_key(key("a", 7)), tx.drop_key("c"), tx.drop_key("nobody")))
    assert store.read(lambda tx: tx.keys()) == [key("b", 5), key("a", 7)]


def test_names_and_tiles_are_replaced(store: Store) -> None:
    for value in ("1", "zwei"):
        store.write(lambda tx, value=value: tx.set_meta("policy", value))
    for data in (b"a" * 32, b"b" * 8192):
        store.write(lambda tx, data=data: tx.put_tile(1, 2, data))
    assert store.read(lambda tx: (tx.meta("policy"), tx.meta("nobody"))) == ("zwei", None)
    assert store.read(lambda tx: (tx.tile(1, 2), tx.tile(2, 1), tx.tile(0, 0))) == (b"b" * 8192, None, None)


# ---- the log


@pytest.mark.requirement("I14")
def test_the_log_grows_at_its_end_and_nowhere_else(store: Store, make: Make) -> None:
    assert store.read(lambda tx: (tx.size(), tx.newest_time(), tx.record(0))) == (0, 0, None)

    def op(tx: WriteTx) -> list[int]:
        numbers = []
        for _ in range(3):
            numbers.append(tx.next_seq())
            tx.add_record(make.record(tx.next_seq()))
        return numbers

    assert store.write(op) == [0, 1, 2]
    for seq in (0, 2, 4, -1):
        with pytest.raises(IntegrityError):
            store.write(lambda tx, seq=seq: tx.add_record(make.record(seq)))
    assert store.read(lambda tx: (tx.size(), tx.newest_time())) == (3, make.record(2).time)
    assert store.read(lambda tx: tx.record(1)) == bare(make.record(1))
    assert store.read(lambda tx: (tx.has_record(2), tx.has_record(3))) == (True, False)


def test_records_and_leaves_come_in_order_over_many_pages(store: Store, make: Make) -> None:
    store.write(lambda tx: [make.append(tx) for _ in range(600)])
    assert store.read(lambda tx: [record.seq for record in tx.records()]) == list(range(600))
    assert store.read(lambda tx: [record.seq for record in tx.records(start=250, end=520)]) == list(range(250, 520))
    assert store.read(lambda tx: list(tx.records(start=600))) == []
    assert store.read(lambda tx: tx.leaves(598, 700)) == [make.record(598).leaf, make.record(599).leaf]


def test_records_are_found_by_everything_that_people_search_by(store: Store, make: Make) -> None:
    events: list[dict[str, object]] = [
        {"type": "session.opened", "txn": "t1", "sid": "s1", "sub": "local|alice", "agent": "a"},
        {"type": "exchange.permitted", "txn": "t1", "sid": "s1", "jti": "j1", "resource": "r", "agent": "a"},
        {"type": "tool.denied", "txn": "t1", "sid": "s2", "tool": "drop", "outcome": "denied", "reference": "D-1"},
        {"type": "tool.started", "txn": "t2", "sid": "s3", "tool": "search", "call_id": "c1"},
        {"type": "tool.finished", "txn": "t2", "sid": "s3", "tool": "search", "call_id": "c1", "outcome": "done"},
    ]
    for event in events:
        store.write(lambda tx, event=event: make.append(tx, **event))

    def seqs(**query: object) -> list[int]:
        return [record.seq for record in store.read(lambda tx: tx.find(**query))]

    assert seqs() == [0, 1, 2, 3, 4]
    assert seqs(limit=2) == [3, 4]
    assert seqs(txn="t1") == [0, 1, 2]
    assert seqs(sid="s3") == [3, 4]
    store.write(lambda tx: tx.add_session(make.node("s1", txn="t1")))
    assert seqs(sid="s1") == [0, 1]
    assert seqs(sid="s1", type="session.opened", limit=1) == [0]
    assert seqs(jti="j1") == [1]
    assert seqs(agent="a") == [0, 1]
    assert seqs(sub="local|alice") == [0]
    assert seqs(tool="search", outcome="done") == [4]
    assert seqs(resource="r") == [1]
    assert seqs(outcome="denied") == [2]
    assert seqs(call_id="c1") == [3, 4]
    assert seqs(reference="D-1") == [2]
    assert seqs(type="tool.started") == [3]
    start = make.record(0).time
    assert seqs(since_ms=start + 1, until_ms=start + 3) == [1, 2]
    assert seqs(txn="t1", tool="search") == []
    assert store.read(lambda tx: tx.find(reference="D-1"))[0].event is None


def test_an_erased_record_keeps_its_leaf_and_its_ids_and_nothing_that_names_a_person(store: Store, make: Make) -> None:
    store.write(lambda tx: make.append(tx, txn="t", sid="s", sub="local|alice", agent="a", tool="x", reference="D"))
    store.write(make.append)
    store.write(lambda tx: tx.erase(0))
    erased = replace(bare(make.record(0)), salt=None, body=None)
    assert store.read(lambda tx: (tx.record(0), tx.size(), tx.has_record(0))) == (erased, 2, True)
    assert store.read(lambda tx: tx.leaves(0, 2)) == [make.record(0).leaf, make.record(1).leaf]
    assert store.read(lambda tx: tx.find(txn="t", sid="s")) == [erased]
    assert store.read(lambda tx: (tx.find(sub="local|alice"), tx.find(agent="a"), tx.find(reference="D"))) == (
        [],
        [],
        [],
    )
    with pytest.raises(NotFound):
        store.write(lambda tx: tx.erase(2))


def test_a_record_without_an_event_is_kept_and_found_by_type_and_time(store: Store, make: Make) -> None:
    store.write(lambda tx: tx.add_record(bare(make.record(0))))
    assert store.read(lambda tx: tx.find(type="session.opened")) == [bare(make.record(0))]


# ---- hostile text


@pytest.mark.parametrize("text", ["'; drop table sessions; --", '"', "\\", "é\u202e", "x" * 5000, "%_?"])
def test_text_is_data_wherever_it_is_put(store: Store, make: Make, text: str) -> None:
    node = make.node("a", sub=text, agent=text, task=text, chain=(text,))
    store.write(lambda tx: (tx.add_session(node), make.append(tx, sub=text, tool=text, call_id=text)))
    assert store.read(lambda tx: tx.sessions(sub=text, agent=text)) == [node]
    assert len(store.read(lambda tx: tx.find(sub=text, tool=text, call_id=text))) == 1
    assert store.read(lambda tx: tx.sessions(sub="nobody")) == []
