"""SEMANTICS, "Idempotency": a key grants nothing and repeats exactly what it named."""

import threading
from typing import Any

import pytest

from deputize import Denied, InvalidRequest, SessionEnded
from deputize.authority.rules import rules_of
from deputize.config import load


def test_a_chat_threads_key_gives_the_live_session_again(world: Any) -> None:
    first = world.root(key="thread-1", task="churn")
    again = world.root(key="thread-1", task="churn")
    assert first is again
    assert world.root(key="thread-2", task="churn").id != first.id
    assert world.root(key="thread-1", task="churn", user="bob").id != first.id


def test_a_new_process_gets_the_same_session_under_its_own_key(filed: Any) -> None:
    first = filed.root(key="thread-1")
    sid, jkt = first.id, first._opened.jkt
    filed.reopen()
    again = filed.root(key="thread-1")
    assert again.id == sid
    assert again.rights == first.rights
    assert again._opened.jkt != jkt
    kinds = [record["type"] for record in filed.authority.audit.find(session=sid)]
    assert kinds == ["session.opened", "session.reissued"]


def test_the_same_key_for_another_request_is_refused_and_recorded(world: Any) -> None:
    world.root(key="thread-1", task="churn")
    for change in ({"task": "payroll"}, {"task": "churn", "scopes": ["plan"]}):
        with pytest.raises(InvalidRequest) as refused:
            world.root(key="thread-1", **change)
        assert refused.value.code == "idempotency_mismatch"
        assert world.authority.audit.find(reference=refused.value.reference)


def test_a_key_whose_session_ended_gives_its_error_and_never_a_new_session(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher", key="call-1")
    child.close()
    with pytest.raises(SessionEnded):
        root.delegate("researcher", key="call-1")
    assert root.delegate("researcher", key="call-2").id != child.id


@pytest.mark.requirement("I8")
def test_a_retried_access_is_one_token_signed_again(world: Any) -> None:
    child = world.root().delegate("researcher")
    first = child.access("crm", ["crm:read"], key="call-1")
    second = child.access("crm", ["crm:read"], key="call-1")
    assert first.id == second.id
    assert first.reveal().split(".")[1] == second.reveal().split(".")[1]
    assert len(world.authority.audit.find(token=first.id)) == 1
    writer = world.root().delegate("writer")
    writer.access("crm", ["crm:read"], key="call-2")
    with pytest.raises(InvalidRequest) as refused:
        writer.access("crm", ["crm:write"], key="call-2")
    assert refused.value.code == "idempotency_mismatch"


def test_a_retry_after_the_token_expired_is_a_new_one_under_the_same_key(world: Any) -> None:
    child = world.root().delegate("researcher")
    first = child.access("crm", ["crm:read"], key="call-1")
    world.clock.advance(301)
    second = child.access("crm", ["crm:read"], key="call-1")
    assert first.id != second.id
    assert world.authority.audit.find(token=second.id)[0]["type"] == "exchange.reissued"


def test_a_repeat_is_decided_by_the_policy_of_now(filed: Any) -> None:
    root = filed.root()
    child = root.delegate("researcher")
    child.access("crm", ["crm:read"], key="call-1")
    filed.path.write_text(
        filed.path.read_text(encoding="utf-8").replace(
            'use = { crm = ["crm:read"], local = ["search"] }', 'use = { local = ["search"] }'
        ),
        encoding="utf-8",
    )
    filed.authority.engine.apply(load(str(filed.path)))
    assert rules_of(load(str(filed.path))).policy.digest == filed.authority.engine.parts.rules.policy.digest
    with pytest.raises(Denied) as refused:
        child.access("crm", ["crm:read"], key="call-1")
    assert refused.value.denial.policy == "default-deny"


def test_racing_first_uses_of_a_key_are_one_child(world: Any) -> None:
    root = world.root()
    found: list[str] = []
    barrier = threading.Barrier(8)

    def race() -> None:
        barrier.wait()
        found.append(root.delegate("researcher", key="call-1").id)

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(root.tree().children) == 1


def test_a_key_has_a_length(world: Any) -> None:
    with pytest.raises(InvalidRequest):
        world.root(key="x" * 513)
