"""One policy decides at a time: the store names it, and who has loaded another refuses."""

from typing import Any

import pytest

from deputize import Authority, AuthorityUnavailable, ConfigurationError, Denied

LESS = ('use = { crm = ["crm:read"], local = ["search"] }', 'use = { local = ["search"] }')


def tighten(world: Any) -> None:
    text = world.path.read_text(encoding="utf-8")
    world.path.write_text(text.replace(*LESS), encoding="utf-8")


def test_a_process_that_decides_by_another_policy_than_the_stores_refuses(filed: Any) -> None:
    from deputize.authority.engine import apply_policy_of
    from deputize.config import load

    child = filed.root().delegate("researcher")
    tighten(filed)
    apply_policy_of(load(str(filed.path)), clock=filed.clock)
    with pytest.raises(AuthorityUnavailable):
        child.access("crm", ["crm:read"])


def test_an_embedded_process_with_another_file_is_refused_while_one_decides_by_the_old(filed: Any) -> None:
    filed.root()
    tighten(filed)
    with pytest.raises(ConfigurationError):
        filed.open()
    filed.authority.close()
    reopened = filed.open()
    assert reopened.audit.find(type="policy.applied")[-1]["detail"]["previous"]


def test_an_update_in_a_notebook_is_a_new_version_over_the_same_log() -> None:
    with Authority(agents={"solo": ["add"]}) as authority:
        session = authority.session(user="alice", agent="solo")
        with pytest.raises(Denied):
            session.tool_call("multiply").start()
        digest = authority.update(agents={"solo": ["add", "multiply"]})
        assert digest == authority.engine.parts.rules.policy.digest
        with authority.session(user="alice", agent="solo") as fresh, fresh.tool_call("multiply"):
            pass
        with pytest.raises(Denied):  # C was fixed when the session opened and is never widened
            session.tool_call("multiply").start()
        assert len(authority.audit.find(type="policy.applied")) == 2


def test_an_authority_opened_from_a_file_is_updated_by_its_file(filed: Any) -> None:
    with pytest.raises(ConfigurationError):
        filed.authority.update(agents={})


def test_what_suggest_prints_would_have_allowed_what_was_refused(filed: Any) -> None:
    import tomllib

    child = filed.root().delegate("researcher")
    with pytest.raises(Denied):
        child.access("crm", ["crm:write"])
    found = tomllib.loads(filed.authority.suggest())
    assert found["agents"]["researcher"]["use"] == {"crm": ["crm:read", "crm:write"], "local": ["search"]}


def test_a_dry_run_says_what_each_hop_would_be_asked_and_issues_nothing(world: Any) -> None:
    before = len(world.authority.audit)
    good = world.authority.explain(chain=["supervisor", "researcher"], tool="read_customers", user="alice")
    bad = world.authority.explain(
        chain=["supervisor", "researcher"], resource="crm", scopes=["crm:write"], user="alice"
    )
    assert good.allowed
    assert not bad.allowed
    assert any("crm" in hop.enough for hop in bad.hops)
    assert len(world.authority.audit) == before


def test_what_suggest_prints_lists_a_frameworks_own_tools_once_and_never_one_that_runs_programs(filed: Any) -> None:
    import tomllib

    assert filed.authority.suggest() == "# nothing was refused\n"
    child = filed.root().delegate("researcher")
    for tool in ("grep", "ls"):
        with pytest.raises(Denied):
            child.tool_call(tool).start()
    found = tomllib.loads(filed.authority.suggest())
    assert found == {"resources": {"local": {"allow_framework_tools": ["grep", "ls", "write_todos"]}}}
    with pytest.raises(Denied):
        child.tool_call("execute").start()
    found = tomllib.loads(filed.authority.suggest())
    assert found["resources"]["local"]["allow_framework_tools"] == ["grep", "ls", "write_todos"]
    assert found["agents"]["researcher"]["use"] == {"crm": ["crm:read"], "local": ["execute", "search"]}
