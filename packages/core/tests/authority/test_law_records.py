"""SEMANTICS, "Records" and "Time": one record for each decision and each outcome, and a time that never goes back."""

import hashlib
import json
import sqlite3
from typing import Any

import pytest

from deputize import Denied, DeputizeError, Mode, UnknownAgent

RESEARCHER = "spiffe://example.org/agent/researcher"
SUPERVISOR = "spiffe://example.org/agent/supervisor"


def types(world: Any) -> list[str]:
    return [record["type"] for record in world.authority.audit]


@pytest.mark.requirement("AU-01")
def test_everything_that_happens_leaves_its_record(world: Any) -> None:
    root = world.root(task="churn")
    root.note("handoff.announced", tool="transfer_to_researcher", call_id="c0")
    child = root.delegate("researcher")
    child.note("handoff.taken", call_id="c0")
    link = root.delegate("loner", mode=Mode.SELF)
    with child.tool_call("read_customers", call_id="c1") as call:
        call.access()
    with pytest.raises(ZeroDivisionError), child.tool_call("search", call_id="c2"):
        raise ZeroDivisionError
    with pytest.raises(Denied), child.tool_call("merge_customers", call_id="c3"):
        pytest.fail("the body ran")
    with pytest.raises(Denied):
        child.access("crm", ["crm:write"])
    with pytest.raises(UnknownAgent):
        child.delegate("stranger")
    with pytest.raises(Denied):
        world.root(user="mallory")
    child.close()
    link.revoke("test")
    world.authority.revoke(agent="writer", reason="test")
    world.authority.revoke(user="bob", reason="test")
    assert types(world) == [
        "policy.applied",
        "key.published",
        "identity.issued",  # attestation
        "session.opened",
        "handoff.announced",
        "identity.issued",
        "session.opened",  # delegated
        "handoff.taken",
        "identity.issued",
        "session.opened",  # linked
        "tool.started",
        "exchange.permitted",
        "tool.finished",
        "tool.started",
        "tool.failed",
        "tool.denied",
        "exchange.denied",
        "handoff.denied",
        "session.denied",
        "session.closed",
        "session.revoked",
        "agent.revoked",
        "user.revoked",
    ]
    opened = world.authority.audit.find(type="session.opened")
    assert [record["detail"]["kind"] for record in opened] == ["root", "child", "link"]


@pytest.mark.requirement("AU-01")
def test_a_record_says_who_for_whom_through_whom_where_from_and_by_which_policy(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher")
    with child.tool_call("read_customers", call_id="c1") as call:
        access = call.access()
    started = world.authority.audit.find(call_id="c1")[0]
    permitted = world.authority.audit.find(token=access.id)[0]
    for record in (started, permitted):
        assert record["agent"] == RESEARCHER
        assert record["chain"] == [RESEARCHER, SUPERVISOR]
        assert record["sub"] == "local|alice"
        assert record["workload"] == "spiffe://example.org/workload/embedded"
        assert (record["sid"], record["txn"]) == (child.id, root.id)
        assert (record["tool"], record["resource"]) == ("read_customers", "https://crm.example/mcp")
        assert record["scopes"] == ["crm:read"]
        assert record["policies"] == ["agent.researcher.use", "users.unrestricted"]
        assert record["policy_set"] == world.authority.engine.parts.rules.policy.digest
        assert record["time"] == int(world.clock.now() * 1000)


@pytest.mark.requirement("TT-04")
def test_digests_of_tasks_and_arguments_are_keyed_by_the_tree(world: Any) -> None:
    found = []
    for user in ("alice", "bob"):
        root = world.root(user=user, task="churn")
        for _ in range(2):
            with root.tool_call("plan", args={"q": "churn"}, call_id=user):
                pass
        opened = world.authority.audit.find(session=root.id)[0]
        calls = world.authority.audit.find(call_id=user, type="tool.started")
        found += [opened["detail"]["task_digest"], *{call["detail"]["arguments_digest"] for call in calls}]
        assert "task" not in opened["detail"]
    assert len(set(found)) == 4  # the same within a tree, another in every other
    for text in (b"churn", b'{"q":"churn"}', json.dumps({"q": "churn"}).encode()):
        plain = hashlib.sha256(text).hexdigest()
        assert not [digest for digest in found if plain.startswith(digest)]


def test_the_text_of_a_task_is_kept_only_where_the_configuration_says_so(filed: Any) -> None:
    filed.path.write_text(filed.path.read_text(encoding="utf-8") + '\n[audit]\ntask_text = "clear"\n', encoding="utf-8")
    authority = filed.reopen()
    root = authority.session(user="alice", agent="supervisor", task="Q3 churn")
    assert authority.audit.find(session=root.id)[0]["detail"]["task"] == "Q3 churn"


@pytest.mark.requirement("I14")
def test_what_was_erased_is_gone_and_every_proof_stands(filed: Any) -> None:
    root = filed.root(task="churn")
    root.delegate("researcher").access("crm", ["crm:read"])
    kept = filed.authority.audit.checkpoint()
    store = filed.authority.engine.parts.store
    store.write(lambda tx: tx.erase(root.node.leaf))
    store.write(lambda tx: tx.erase_tree(root.root))
    report = filed.authority.audit.verify(against=kept)
    assert report.ok
    assert [finding.kind.value for finding in report.findings if finding.seq == root.node.leaf] == ["erased"]
    assert root.delegate("researcher").access("crm", ["crm:read"])  # an erased record is no missing one


def test_two_records_of_the_same_have_nothing_in_common_to_an_outsider(world: Any) -> None:
    root = world.root()
    for _ in range(2):
        with root.tool_call("plan", args={}, call_id="c"):
            pass
    store = world.authority.engine.parts.store
    first, second = store.read(lambda tx: tx.find(type="tool.started"))
    assert first.body == second.body
    assert len(first.salt) == len(second.salt) == 16
    assert first.salt != second.salt
    assert first.leaf != second.leaf


@pytest.mark.requirement("I10")
@pytest.mark.parametrize("name", ["x" * 100_000, "\ud800", "\x1b[2J", "", "re\nsearcher"])
def test_a_caller_that_no_registry_names_leaves_one_bounded_record(world: Any, name: str) -> None:
    before = len(world.authority.audit)
    with pytest.raises(DeputizeError) as refused:
        world.root(agent=name)
    assert len(world.authority.audit) == before + 1
    record = world.authority.audit.find(reference=refused.value.reference)[0]
    assert (record["type"], record["code"]) == ("identity.denied", "unknown_agent")
    assert len(json.dumps(record)) < 6000


def test_nothing_is_issued_where_its_record_cannot_be_written(filed: Any) -> None:
    root = filed.root()
    child = root.delegate("researcher")
    with sqlite3.connect(filed.path.parent / "deputize.db") as db:
        db.execute("create trigger no_more before insert on records begin select raise(abort, 'full'); end")
    for attempt in (
        lambda: child.access("crm", ["crm:read"]),
        lambda: root.delegate("researcher"),
        lambda: child.tool_call("search").start(),
        lambda: root.revoke("test"),
    ):
        with pytest.raises(DeputizeError) as refused:
            attempt()
        assert refused.value.code.startswith("store")
    counts = db.execute("select (select count(*) from grants), (select count(*) from revocations)").fetchone()
    with sqlite3.connect(filed.path.parent / "deputize.db") as again:
        again.execute("drop trigger no_more")
    again.close()
    db.close()
    assert counts == (0, 0)
    assert len(root.tree().children) == 1
    assert child.access("crm", ["crm:read"])


def test_time_in_the_log_never_goes_back_and_neither_do_tokens(world: Any) -> None:
    root = world.root()
    first = root.delegate("researcher")
    world.clock.step(-3600)
    second = root.delegate("researcher")
    access = second.access("crm", ["crm:read"])
    assert second.node.created == first.node.created
    assert access.expires_at == first.node.created + 300
    times = [record["time"] for record in world.authority.audit]
    assert times == sorted(times)
    assert world.authority.introspect(access.reveal()).active


@pytest.mark.requirement("I12")
def test_another_processes_clock_that_is_behind_revives_nothing(filed: Any) -> None:
    from deputize import Authority
    from deputize.testing import FakeClock

    root = filed.root(ttl=100, key="t")
    child = root.delegate("researcher", key="c")
    token = child.access("crm", ["crm:read"]).reveal()
    filed.clock.advance(101)
    filed.root(user="bob")
    with Authority.open(filed.path, clock=FakeClock()) as behind:
        assert not behind.introspect(token).active
        with pytest.raises(DeputizeError) as refused:
            behind.session(user="alice", agent="supervisor", ttl=100, key="t")
        assert refused.value.code == "session_expired"


def test_what_ran_out_says_expired_everywhere(world: Any) -> None:
    root = world.root(ttl=100)
    child = root.delegate("researcher", ttl=50)
    world.clock.advance(51)
    assert (root.state, child.state) == ("open", "expired")
    world.clock.advance(50)
    assert (root.state, child.state) == ("expired", "expired")
    assert [node.state for node in root.tree().walk()] == ["expired", "expired"]
    child.close()  # had ended: no record of a second end
    assert "session.closed" not in types(world)
    with pytest.raises(Denied) as refused:
        child.tool_call("search").start()
    assert refused.value.code == "session_expired"


@pytest.mark.requirement("I8")
def test_an_identity_too_names_its_record(world: Any) -> None:
    from deputize.audit.record import rec_claim
    from deputize.wire import json_strict
    from deputize.wire.base64url import decode_text

    said = json_strict.loads(decode_text(world.authority.engine.identity(RESEARCHER).token.split(".")[1]))
    store = world.authority.engine.parts.store
    records = store.read(lambda tx: tx.find(jti=said["jti"]))
    assert [rec_claim(record) for record in records] == [said["urn:deputize:ctx"]["rec"]]
