"""SEMANTICS, "Modes and hops" and "State machine": links, impersonation, and what dies with what."""

from typing import Any

import pytest

from deputize import Denied, DeputizeError, InvalidRequest, Mode
from deputize.wire import json_strict
from deputize.wire.base64url import decode_text

WRITER = "spiffe://example.org/agent/writer"
LONER = "spiffe://example.org/agent/loner"
SUPERVISOR = "spiffe://example.org/agent/supervisor"
OPENS = ("[agents.writer]\n", "[agents.writer]\nopen = true\n")


def claims(token: str) -> dict[str, Any]:
    return json_strict.loads(decode_text(token.split(".")[1]))


def writer_opens(world: Any) -> None:
    from deputize.config import load

    world.path.write_text(world.path.read_text(encoding="utf-8").replace(*OPENS), encoding="utf-8")
    world.authority.engine.apply(load(str(world.path)))


@pytest.mark.requirement("I3")
def test_an_agent_acting_for_itself_may_appear_for_the_user_of_its_stored_grant(filed: Any) -> None:
    writer_opens(filed)
    alone = filed.authority.session(agent="writer", mode=Mode.SELF)
    access = alone.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, user="alice", reason="INC-4711")
    said = claims(access.reveal())
    assert (said["sub"], said["client_id"], said["sid"], said["txn"]) == ("local|alice", WRITER, alone.id, alone.id)
    assert "act" not in said
    assert said["urn:deputize:ctx"]["mode"] == "impersonation"
    assert filed.authority.introspect(access.reveal()).chain == (WRITER,)
    record = filed.authority.audit.find(token=access.id)[0]
    assert (record["agent"], record["detail"]["impersonated"]) == (WRITER, "local|alice")
    assert record["detail"]["reason"] == "INC-4711"
    with pytest.raises(Denied) as refused:
        alone.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, user="bob", reason="INC-4711")
    assert refused.value.denial.policy == "impersonation-grant"
    filed.authority.revoke(user="alice", reason="left the firm")  # who is impersonated has no root here
    assert not filed.authority.introspect(access.reveal()).active
    assert alone.state == "open"


@pytest.mark.requirement("I3")
def test_impersonation_keeps_the_place_in_the_tree_and_lasts_two_minutes_at_most(world: Any) -> None:
    root = world.root()
    middle = root.delegate("researcher")
    last = middle.delegate("writer")
    access = last.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-4711")
    said = claims(access.reveal())
    assert (said["sid"], said["txn"], said["urn:deputize:ctx"]["path"]) == (last.id, root.id, middle.id)
    assert said["exp"] - said["iat"] == 120
    with pytest.raises(InvalidRequest) as refused:
        last.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-4711", ttl=121)
    assert refused.value.code == "ttl_too_long"


@pytest.mark.requirement("A-08")
def test_impersonation_ends_with_its_grant(filed: Any) -> None:
    from deputize.config import load

    text = filed.path.read_text(encoding="utf-8")
    filed.path.write_text(text.replace("2099-01-01", "2025-01-01"), encoding="utf-8")
    filed.authority.engine.apply(load(str(filed.path)))
    last = filed.root().delegate("writer")
    with pytest.raises(Denied) as refused:
        last.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-4711")
    assert refused.value.denial.policy == "impersonation-grant"


@pytest.mark.requirement("A-08")
def test_no_token_of_a_session_for_somebody_is_the_agents_own(world: Any) -> None:
    child = world.root().delegate("researcher")
    with pytest.raises(InvalidRequest):
        child.access("crm", ["crm:read"], mode=Mode.SELF)


def test_a_link_says_whom_it_is_for_and_nothing_of_a_chain(world: Any) -> None:
    root = world.root()
    link = root.delegate("loner", mode=Mode.SELF)
    said = claims(link.present())
    assert (said["sub"], said["client_id"], said["txn"]) == (LONER, SUPERVISOR, root.id)
    assert "act" not in said
    access = claims(link.access("wiki", ["wiki:read"]).reveal())
    assert (access["sub"], access["client_id"]) == (LONER, LONER)
    assert "act" not in access
    assert link.depth == 1
    assert world.authority.audit.find(session=link.id)[0]["detail"]["kind"] == "link"


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("which", ["cause", "root", "user", "agent of the cause", "itself"])
def test_a_link_dies_with_its_cause_and_with_all_above(world: Any, which: str) -> None:
    root = world.root()
    cause = root.delegate("supervisor")
    link = cause.delegate("loner", mode=Mode.SELF)
    token = link.access("wiki", ["wiki:read"]).reveal()
    assert link.node.ancestors == (root.id, cause.id)
    {
        "cause": lambda: cause.revoke("test"),
        "root": root.close,
        "user": lambda: world.authority.revoke(user="alice", reason="test"),
        "agent of the cause": lambda: world.authority.revoke(agent="supervisor", reason="test"),
        "itself": lambda: link.revoke("test"),
    }[which]()
    assert not world.authority.introspect(token).active
    with pytest.raises(DeputizeError):
        link.access("wiki", ["wiki:read"])
    assert root.state == ("open" if which in {"cause", "itself"} else root.state)


@pytest.mark.requirement("I2")
def test_a_link_ends_no_later_than_its_cause(world: Any) -> None:
    root = world.root(ttl=300)
    assert root.delegate("loner", mode=Mode.SELF).expires_at <= root.expires_at
    with pytest.raises(InvalidRequest) as refused:
        root.delegate("loner", mode=Mode.SELF, ttl=301)
    assert refused.value.code == "ttl_too_long"


def test_a_pause_is_a_record_and_no_state(world: Any) -> None:
    root = world.root()
    root.note("session.interrupted")
    root.note("session.reentered")
    assert root.state == "open"
    kinds = [record["type"] for record in world.authority.audit.find(session=root.id)]
    assert kinds == ["session.opened", "session.interrupted", "session.reentered"]


@pytest.mark.requirement("A-12")
def test_the_token_of_a_child_is_bound_to_the_child_and_not_to_who_handed_on(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher")
    key = world.authority.engine.identity(child.agent).key.kid
    assert claims(child.present())["cnf"] == {"jkt": key}
    assert claims(child.access("crm", ["crm:read"]).reveal())["cnf"] == {"jkt": key}
    assert claims(root.present())["cnf"] != {"jkt": key}


def test_closing_the_outer_block_ends_everything_below_whatever_was_closed_before(world: Any) -> None:
    with world.root() as root:
        with root.delegate("researcher") as first:
            inner = first.delegate("writer")
        second = root.delegate("researcher")
    assert [one.state for one in (root, first, inner, second)] == ["closed"] * 4
