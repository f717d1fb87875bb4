"""SEMANTICS, "Modes and hops": the table, row by row."""

from typing import Any

import pytest

from deputize import Denied, InvalidRequest, Mode, Right
from deputize.wire import json_strict
from deputize.wire.base64url import decode_text

SUPERVISOR = "spiffe://example.org/agent/supervisor"
RESEARCHER = "spiffe://example.org/agent/researcher"
WRITER = "spiffe://example.org/agent/writer"
LONER = "spiffe://example.org/agent/loner"


def claims(token: str) -> dict[str, Any]:
    return json_strict.loads(decode_text(token.split(".")[1]))


def chain_of(act: dict[str, Any] | None) -> list[str]:
    found = []
    while act is not None:
        found.append(act["sub"])
        act = act.get("act")
    return found


@pytest.mark.requirement("BCP-01")
@pytest.mark.requirement("I4")
def test_alice_starts_an_agent(world: Any) -> None:
    with world.root() as root:
        said = claims(root.present())
        assert (said["sub"], said["client_id"], chain_of(said["act"])) == ("local|alice", SUPERVISOR, [SUPERVISOR])
        assert said["aud"] == said["iss"]
        assert said["cnf"]["jkt"] == world.authority.engine.identity(SUPERVISOR).key.kid
        assert (said["sid"], said["txn"]) == (root.id, root.id)


@pytest.mark.requirement("I4")
@pytest.mark.requirement("TX-16")
def test_a_hand_off_appends_its_actor_outermost_and_an_access_appends_nothing(world: Any) -> None:
    with world.root() as root, root.delegate("researcher") as middle, middle.delegate("writer") as last:
        said = claims(last.present())
        assert chain_of(said["act"]) == [WRITER, RESEARCHER, SUPERVISOR]
        assert said["client_id"] == RESEARCHER
        access = claims(last.access("crm", ["crm:read"]).reveal())
        assert chain_of(access["act"]) == [WRITER, RESEARCHER, SUPERVISOR]
        assert (access["client_id"], access["sub"], access["scope"]) == (WRITER, "local|alice", "crm:read")
        assert access["urn:deputize:ctx"]["path"] == middle.id


@pytest.mark.requirement("I4")
def test_the_same_agent_again_is_appended_again(world: Any) -> None:
    with world.root() as root, root.delegate("supervisor") as again:
        assert again.chain == (SUPERVISOR, SUPERVISOR)


@pytest.mark.requirement("I3")
def test_an_agent_on_its_own_behalf_has_itself_as_subject_and_no_actor(world: Any) -> None:
    with world.authority.session(agent="researcher", mode=Mode.SELF) as root:
        said = claims(root.present())
        assert said["sub"] == RESEARCHER
        assert "act" not in said
        access = claims(root.access("crm", ["crm:read"]).reveal())
        assert "act" not in access
        assert access["sub"] == access["client_id"] == RESEARCHER
        with root.delegate("writer") as child:
            assert chain_of(claims(child.present())["act"]) == [WRITER]
            assert child.subject == RESEARCHER


def test_self_mode_takes_no_user_and_the_default_takes_one(world: Any) -> None:
    for options in ({"mode": Mode.SELF, "user": "alice"}, {"mode": Mode.ON_BEHALF_OF}):
        with pytest.raises(InvalidRequest):
            world.authority.session(agent="researcher", **options)


@pytest.mark.requirement("I3")
def test_a_link_acts_for_itself_inside_the_tree_and_dies_with_its_cause(world: Any) -> None:
    with world.root() as root:
        link = root.delegate("loner", mode=Mode.SELF)
        assert link.subject == LONER
        assert link.chain == ()
        assert link.rights == {Right("https://wiki.example/mcp", "wiki:read")}
        assert not link.rights <= root.rights
        assert link.root == root.id
        token = link.access("wiki", ["wiki:read"]).reveal()
        assert world.authority.introspect(token).active
    assert not world.authority.introspect(token).active
    assert link.state == "closed"


def test_no_registry_default_permits_a_link(world: Any) -> None:
    with world.root() as root, pytest.raises(Denied) as refused:
        root.delegate("researcher", mode=Mode.SELF)
    assert refused.value.code == "invalid_scope"


@pytest.mark.requirement("I3")
def test_impersonation_needs_a_grant_and_a_policy_and_shows_the_actor_to_introspection_alone(world: Any) -> None:
    with world.root() as root, root.delegate("writer") as child:
        access = child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-4711")
        said = claims(access.reveal())
        assert (said["sub"], said["client_id"]) == ("local|alice", WRITER)
        assert "act" not in said
        assert said["exp"] - said["iat"] <= 120
        assert said["sid"] == child.id
        shown = world.authority.introspect(access.reveal())
        assert shown.chain == (WRITER, SUPERVISOR)
        with pytest.raises(Denied) as refused:
            child.access("crm", ["crm:write"], mode=Mode.IMPERSONATION, reason="INC-4711")
        assert refused.value.denial.policy == "default-deny"


def test_impersonation_is_refused_without_a_stored_grant_and_never_falls_back(world: Any) -> None:
    with world.root() as root, root.delegate("researcher") as child:
        with pytest.raises(Denied) as refused:
            child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="curious")
        assert refused.value.denial.policy == "impersonation-grant"
        assert world.authority.audit.find(session=child.id, type="exchange.permitted") == []


def test_another_user_than_the_trees_own_is_never_impersonated_from_it(world: Any) -> None:
    with world.root(user="bob") as root, root.delegate("writer") as child, pytest.raises(InvalidRequest) as refused:
        child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, user="alice", reason="INC-4711")
    assert refused.value.code == "invalid_target"


def test_impersonation_states_a_reason_and_opens_no_session(world: Any) -> None:
    with world.root() as root, root.delegate("writer") as child:
        with pytest.raises(InvalidRequest):
            child.access("crm", ["crm:read"], mode=Mode.IMPERSONATION)
        with pytest.raises(InvalidRequest):
            root.delegate("writer", mode=Mode.IMPERSONATION)
    with pytest.raises(InvalidRequest):
        world.root(mode=Mode.IMPERSONATION)


def test_a_bearer_resource_gets_no_cnf_and_a_minute_at_most(world: Any) -> None:
    with world.authority.session(user="alice", agent="loner") as root:
        said = claims(root.access("wiki", ["wiki:read"]).reveal())
        assert "cnf" not in said
        assert said["exp"] - said["iat"] == 60


def test_a_bound_resource_gets_the_key_of_the_agent(world: Any) -> None:
    with world.authority.session(user="alice", agent="researcher") as root:
        access = root.access("crm", ["crm:read"])
        said = claims(access.reveal())
        assert said["cnf"] == {"jkt": world.authority.engine.identity(RESEARCHER).key.kid}
        assert said["exp"] - said["iat"] == 300
        assert access.bound
        assert set(access.headers("POST", "https://crm.example/mcp")) == {"Authorization", "DPoP"}
