"""SEMANTICS, "Idempotency", clause by clause."""

import sqlite3
from typing import Any

import pytest

from deputize import InvalidRequest, Mode, SessionEnded
from deputize.config import load


def code_of(attempt: Any) -> str:
    with pytest.raises((InvalidRequest, SessionEnded)) as refused:
        attempt()
    return refused.value.code


def test_a_key_belongs_to_one_operation_agent_and_parent(world: Any) -> None:
    root = world.root(key="k")
    other = world.root(key="k", user="bob")
    child = root.delegate("researcher", key="k")
    sids = {root.id, other.id, child.id, other.delegate("researcher", key="k").id}
    sids.add(child.delegate("writer", key="k").id)
    sids.add(world.authority.session(user="alice", agent="researcher", key="k").id)
    sids.add(world.authority.session(agent="researcher", mode=Mode.SELF, key="k").id)
    assert len(sids) == 7
    assert child.access("crm", ["crm:read"], key="k").id


def test_everything_that_a_request_names_is_compared(world: Any) -> None:
    root = world.root(key="r", task="churn")
    child = root.delegate("writer", key="c", task="part")
    child.access("crm", ["crm:read"], key="a")
    attempts = [
        lambda: world.root(key="r"),
        lambda: world.root(key="r", task="churn", resources=["crm"]),
        lambda: root.delegate("researcher", key="c", task="part"),
        lambda: root.delegate("writer", key="c", task="other"),
        lambda: root.delegate("writer", key="c", task="part", scopes=["draft"]),
        lambda: child.access("crm", ["crm:write"], key="a"),
        lambda: child.access("crm", ["crm:read", "crm:write"], key="a"),
        lambda: child.access("crm", ["crm:read"], key="a", mode=Mode.IMPERSONATION, reason="INC-4711"),
    ]
    assert [code_of(attempt) for attempt in attempts] == ["idempotency_mismatch"] * len(attempts)
    assert len(world.authority.audit.find(outcome="denied")) == len(attempts)


def test_a_repeat_gets_a_new_token_id_and_is_recorded_as_reissued(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher", key="c")
    first = child.present()
    again = root.delegate("researcher", key="c")
    assert again is child
    records = [record for record in world.authority.audit if record.get("sid") == child.id]
    assert [record["type"] for record in records] == ["session.opened", "session.reissued"]
    assert records[0]["jti"] != records[1]["jti"]
    assert world.authority.introspect(first).active


def test_a_repeat_never_widens_what_the_session_holds(filed: Any) -> None:
    root = filed.root()
    child = root.delegate("researcher", key="c")
    text = filed.path.read_text(encoding="utf-8")
    filed.path.write_text(
        text.replace('use = { crm = ["crm:read"], local', 'use = { crm = ["crm:read", "crm:write"], local'),
        encoding="utf-8",
    )
    filed.authority.engine.apply(load(str(filed.path)))
    again = root.hand_off(child._request)
    assert again.node.ceiling == child.rights
    assert root.delegate("researcher").rights > child.rights


def test_a_new_process_goes_on_with_a_whole_tree_under_keys_of_its_own(filed: Any) -> None:
    root = filed.root(key="thread")
    child = root.delegate("researcher", key="c")
    last = child.delegate("writer", key="w")
    sids, keys = [root.id, child.id, last.id], [one._opened.jkt for one in (root, child, last)]
    filed.reopen()
    root = filed.root(key="thread")
    child = root.delegate("researcher", key="c")
    last = child.delegate("writer", key="w")
    assert [root.id, child.id, last.id] == sids
    assert not set(keys) & {one._opened.jkt for one in (root, child, last)}
    assert last.access("crm", ["crm:read"])
    assert len(list(root.tree().walk())) == 3


@pytest.mark.requirement("I8")
def test_a_bound_access_is_a_new_token_under_a_new_processes_key_and_a_bearer_the_same(filed: Any) -> None:
    def twice() -> tuple[Any, Any]:
        bound = filed.root(key="t").delegate("researcher", key="c").access("crm", ["crm:read"], key="a")
        bearer = filed.authority.session(user="alice", agent="loner", key="t").access("wiki", ["wiki:read"], key="a")
        return bound, bearer

    first = twice()
    filed.reopen()
    second = twice()
    assert first[0].id != second[0].id
    assert filed.authority.audit.find(token=second[0].id)[0]["type"] == "exchange.reissued"
    assert first[1].id == second[1].id
    assert first[1].reveal().split(".")[1] == second[1].reveal().split(".")[1]
    assert filed.authority.introspect(second[1].reveal()).active


def test_a_repeat_asks_for_no_more_time_than_there_was(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher", ttl=3500, key="c")
    access = child.access("crm", ["crm:read"], ttl=300, key="a")
    world.clock.advance(200)
    assert root.delegate("researcher", ttl=3500, key="c") is child
    assert child.access("crm", ["crm:read"], ttl=300, key="a").id == access.id
    assert code_of(lambda: root.delegate("researcher", ttl=3500, key="d")) == "ttl_too_long"


def test_a_session_with_an_explicit_lifetime_gets_new_tokens_until_its_end(world: Any) -> None:
    child = world.root().delegate("researcher", ttl=3500)
    for _ in range(17):
        world.clock.advance(200)
        assert child.access("crm", ["crm:read"])


@pytest.mark.requirement("TT-03")
def test_a_final_session_answers_its_key_with_its_error_for_good(world: Any) -> None:
    root = world.root()
    root.delegate("researcher", key="closed").close()
    root.delegate("researcher", key="revoked").revoke("over")
    root.delegate("researcher", key="expired", ttl=60)
    world.clock.advance(61)
    for _ in range(2):
        codes = [code_of(lambda key=key: root.delegate("researcher", key=key)) for key in ("closed", "revoked")]
        assert codes == ["session_closed", "session_revoked"]
        assert code_of(lambda: root.delegate("researcher", key="expired")) == "session_expired"
    assert len(root.tree().children) == 3


def test_a_root_that_ended_answers_its_key_with_its_error_also_after_the_store_was_swept(world: Any) -> None:
    world.root(key="expired", ttl=60)
    world.root(key="revoked", ttl=60).revoke("over")
    world.clock.advance(10_000)
    parts = world.authority.engine.parts
    for _ in range(2):
        codes = [code_of(lambda key=key: world.root(key=key, ttl=60)) for key in ("expired", "revoked")]
        assert codes == ["session_expired", "session_revoked"]
        parts.store.write(lambda tx: tx.forget(int(parts.now())))


def test_the_key_of_a_revoked_token_gives_no_token(world: Any) -> None:
    child = world.root().delegate("researcher")
    access = child.access("crm", ["crm:read"], key="a")
    world.authority.revoke(token=access.id, reason="leaked")
    assert code_of(lambda: child.access("crm", ["crm:read"], key="a")) == "token_revoked"
    assert child.access("crm", ["crm:read"], key="b").id != access.id


def test_a_row_lives_as_long_as_its_session_or_its_roots_record_and_holds_no_token(filed: Any) -> None:
    root = filed.root(key="t")
    child = root.delegate("researcher", key="c", ttl=600)
    token = child.access("crm", ["crm:read"], key="a").reveal()
    with sqlite3.connect(filed.path.parent / "deputize.db") as db:
        rows = db.execute("select sid, jti, until from remembered").fetchall()
        dump = "\n".join(db.iterdump())
    db.close()
    assert {(sid, until) for sid, jti, until in rows if jti is None} == {
        (root.id, root.node.created + filed.authority.engine.parts.rules.configuration.retention),
        (child.id, int(child.expires_at)),
    }
    assert [until for _, jti, until in rows if jti] == [int(child.expires_at)]
    for secret in (token, token.split(".")[2], root.present(), child.present()):
        assert secret not in dump


def test_a_grant_whose_record_is_gone_is_not_signed_again(filed: Any) -> None:
    from deputize import IntegrityError

    child = filed.root().delegate("researcher")
    access = child.access("crm", ["crm:read"], key="a")
    child.access("crm", ["crm:read"])
    with sqlite3.connect(filed.path.parent / "deputize.db") as db:
        db.execute("delete from records where jti = ?", (access.id,))
    db.close()
    with pytest.raises(IntegrityError):
        child.access("crm", ["crm:read"], key="a")
    assert not filed.authority.introspect(access.reveal()).active


def test_a_root_of_another_process_needs_its_user_named_again(filed: Any) -> None:
    sid = filed.root(key="t").id
    filed.reopen()
    for wrong in ({"user": None}, {"user": "bob"}):
        try:
            assert filed.root(key="t", **wrong).id != sid
        except InvalidRequest as refused:
            assert refused.code == "invalid_request"  # noqa: PT017  # one of the two is refused, the other is bob's own
