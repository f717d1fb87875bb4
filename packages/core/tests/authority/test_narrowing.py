"""SEMANTICS, "Narrowing": every ceiling is an intersection, every use is decided again."""

from typing import Any

import pytest

from deputize import Denied, InvalidRequest, Right, UnknownAgent

CRM = "https://crm.example/mcp"
WIKI = "https://wiki.example/mcp"


def scopes(session: Any) -> set[str]:
    return {right.scope for right in session.rights}


def test_a_root_holds_what_is_registered_for_its_agent_when_nothing_is_asked(world: Any) -> None:
    with world.root() as session:
        assert scopes(session) == {"crm:read", "crm:write", "tool:plan", "tool:search", "tool:draft"}
        assert session.narrowed == ()


def test_a_root_holds_no_more_than_was_asked_for(world: Any) -> None:
    with world.root(scopes=["crm:read"], resources=["crm"]) as session:
        assert session.rights == {Right(CRM, "crm:read")}


def test_a_scope_of_two_resources_has_to_be_told_apart(world: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.root(scopes=["crm:read"])
    assert refused.value.code == "invalid_scope"


def test_the_same_scope_name_at_another_resource_is_another_right(world: Any) -> None:
    with pytest.raises(Denied) as refused:
        world.root(scopes=["crm:read"], resources=["wiki"])
    assert refused.value.code == "invalid_scope"


@pytest.mark.requirement("I1")
def test_a_child_holds_the_intersection_and_is_told_what_fell_out(world: Any) -> None:
    with world.root() as root, root.delegate("writer") as child:
        assert scopes(child) == {"crm:read", "crm:write", "tool:draft"}
        assert child.rights <= root.rights
        assert child.narrowed == ((Right(WIKI, "wiki:read"), "parent-ceiling"),)


@pytest.mark.requirement("I1")
def test_what_a_parent_gave_up_does_not_come_back_below(world: Any) -> None:
    root = world.root(scopes=["crm:read", "tool:search"], resources=["crm", "local"])
    last = root.delegate("researcher").delegate("writer")
    assert last.rights == {Right(CRM, "crm:read")}


@pytest.mark.requirement("I16")
def test_each_dropped_right_is_recorded_with_what_dropped_it(world: Any) -> None:
    with world.root() as root, root.delegate("writer") as child:
        record = world.authority.audit.find(session=child.id, type="session.opened")[0]
    assert record["detail"]["dropped"] == [[WIKI, "wiki:read", "parent-ceiling"]]


def test_nothing_left_is_a_refusal_and_no_empty_session(world: Any) -> None:
    with world.root(scopes=["plan"]) as root:
        with pytest.raises(Denied) as refused:
            root.delegate("researcher")
        assert refused.value.code == "invalid_scope"
        assert [node["agent"] for node in root.tree().to_dict()["children"]] == []


@pytest.mark.requirement("TT-02")
def test_an_unknown_scope_is_refused_and_never_dropped_in_silence(world: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        world.root(scopes=["crm:everything"], resources=["crm"])
    assert refused.value.code == "invalid_scope"


def test_an_empty_list_of_scopes_never_means_all(world: Any) -> None:
    with pytest.raises(Denied) as refused:
        world.root(scopes=[])
    assert refused.value.code == "invalid_scope"


def test_a_right_may_be_handed_on_without_being_usable(world: Any) -> None:
    with world.root() as root:
        with pytest.raises(Denied) as refused:
            root.access("crm", ["crm:read"])
        assert refused.value.denial.policy == "default-deny"
        with root.delegate("researcher") as child:
            assert child.access("crm", ["crm:read"]).resource == CRM


def test_use_is_refused_unless_the_session_holds_every_right_asked(world: Any) -> None:
    with world.root() as root, root.delegate("writer", scopes=["crm:read"], resources=["crm"]) as child:
        assert child.access("crm", ["crm:read"]).scopes == {"crm:read"}
        with pytest.raises(Denied) as refused:
            child.access("crm", ["crm:read", "crm:write"])
        assert refused.value.denial.policy == "session-ceiling"


def test_the_refusing_policy_is_named_and_recorded(world: Any) -> None:
    with pytest.raises(Denied) as refused:
        world.root(user="mallory")
    assert refused.value.denial.policy == "mallory-is-nobody"
    record = world.authority.audit.find(reference=refused.value.reference)[0]
    assert record["policies"] == ["mallory-is-nobody"]
    assert record["sub"] == "local|mallory"


def test_who_may_not_open_a_root_is_refused(world: Any) -> None:
    with pytest.raises(Denied) as refused:
        world.authority.session(user="alice", agent="writer")
    assert refused.value.code == "invalid_scope"


def test_an_agent_that_is_not_registered_is_named_with_its_nearest(world: Any) -> None:
    with world.root() as root, pytest.raises(UnknownAgent) as refused:
        root.delegate("resercher")
    assert '"researcher"' in refused.value.denial.asked
    assert "[agents.resercher]" in refused.value.denial.enough


def test_a_hand_off_to_whom_nobody_delegates_is_refused(world: Any) -> None:
    with world.root() as root, root.delegate("researcher") as middle, pytest.raises(Denied) as refused:
        middle.delegate("supervisor")
    assert refused.value.code == "invalid_scope"


def test_a_tool_needs_every_scope_of_its_operation(world: Any) -> None:
    with world.root() as root, root.delegate("researcher") as child:
        with child.tool_call("read_customers", call_id="c1") as call:
            assert call.access().scopes == {"crm:read"}
        with pytest.raises(Denied), child.tool_call("merge_customers"):
            pytest.fail("the body ran")


def test_an_unregistered_tool_is_a_local_one_and_unknown(world: Any) -> None:
    with world.root() as root, pytest.raises(Denied) as refused, root.tool_call("rm_rf"):
        pytest.fail("the body ran")
    assert refused.value.denial.policy == "unknown-right"


def test_a_framework_tool_runs_by_list_and_is_recorded(world: Any) -> None:
    with world.root() as root:
        with root.tool_call("write_todos"):
            pass
        assert root.tree().to_dict()["calls"] == [
            {"tool": "write_todos", "outcome": "done", "policy": "registry.framework-tools"}
        ]


@pytest.mark.requirement("I6")
@pytest.mark.requirement("TX-04")
def test_an_unknown_resource_is_invalid_target(world: Any) -> None:
    with world.root() as root:
        for name in ("https://crm.example/mcp/", "https://CRM.example/mcp", "https://crm.example/mcp.evil", "nowhere"):
            with pytest.raises(InvalidRequest) as refused:
                root.access(name, ["crm:read"])
            assert refused.value.code == "invalid_target"


@pytest.mark.requirement("AT-06")
@pytest.mark.requirement("TX-05")
def test_a_scope_of_one_resource_never_lands_in_a_token_for_another(world: Any) -> None:
    with world.root() as root, root.delegate("writer") as child, pytest.raises(InvalidRequest) as refused:
        child.access("wiki", ["crm:write"])
    assert refused.value.code == "invalid_scope"
