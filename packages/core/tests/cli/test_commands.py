"""The command line on a small project: what it says, what it changes, and how it ends."""

from typing import Any

import pytest

from deputize import Authority, SessionEnded
from deputize.config import load


def store_of(project: Any) -> bytes:
    return (project.folder / "deputize.db").read_bytes()


def edit(project: Any, old: str, new: str) -> None:
    text = project.file.read_text(encoding="utf-8")
    assert old in text
    project.file.write_text(text.replace(old, new), encoding="utf-8")


def test_init_writes_a_file_that_opens_and_never_over_another(empty: Any) -> None:
    first = empty.run("init")
    assert (first.status, first.err) == (0, "")
    assert "deputize.toml" in first.out
    assert load(str(empty.file)).trust_domain == "local"
    before = empty.file.read_bytes()
    again = empty.run("init")
    assert again.status == 2
    assert "exists already" in again.err
    assert empty.file.read_bytes() == before


def test_init_says_where_it_can_not_write(empty: Any) -> None:
    found = empty.run("init", "missing/deputize.toml")
    assert found.status == 2
    assert "cannot be written" in found.err
    assert empty.run("init", "other.toml", "--json").data == {"path": "other.toml"}


def test_version_is_one_line(empty: Any) -> None:
    from deputize import __version__

    assert empty.run("version").out == f"{__version__}\n"
    assert empty.run("version", "--json").data == {"version": __version__}


@pytest.mark.parametrize("command", ["", "session", "policy", "audit"])
def test_without_arguments_the_commands_are_listed(empty: Any, command: str) -> None:
    found = empty.run(*command.split())
    assert found.status == 2
    assert "Usage" in found.out + found.err
    assert "`" not in (found.out + found.err).split("Options")[0]


def test_what_is_no_command_is_a_usage_error(empty: Any) -> None:
    for wrong in (("nonsense",), ("session", "nonsense"), ("session", "list", "--nonsense"), ("session", "tree")):
        assert empty.run(*wrong).status == 2


def test_check_counts_what_is_good_and_names_the_line_of_what_is_not(project: Any) -> None:
    found = project.run("policy", "check")
    assert found.status == 0
    assert found.out.startswith("deputize.toml: good; 2 agents, 2 resources, policy set ")
    assert project.run("policy", "check", "--json").data["agents"] == 2
    edit(project, 'delegate_to = ["researcher"]', 'delegate_to = ["resercher"]')
    broken = project.run("policy", "check")
    line = next(
        n for n, text in enumerate(project.file.read_text(encoding="utf-8").splitlines(), 1) if "resercher" in text
    )
    assert broken.status == 2
    assert broken.err.startswith(f"deputize.toml:{line}: ")
    assert not (project.folder / "deputize.db").exists()


def test_a_policy_file_that_is_wrong_is_named_with_its_line(project: Any) -> None:
    folder = project.folder / "policies"
    folder.mkdir()
    (folder / "own.cedar").write_text(
        '@id("a")\nforbid (principal, action, resource);\n\npermit (principal);\n', encoding="utf-8"
    )
    found = project.run("policy", "check")
    assert found.status == 2
    assert "own.cedar:4: " in found.err


@pytest.mark.parametrize(
    "command",
    ["policy check", "policy apply", "policy suggest", "session list", "session tree x", "audit show", "audit verify"],
)
def test_a_missing_configuration_is_a_usage_error_that_names_the_file(empty: Any, command: str) -> None:
    found = empty.run(*command.split(), "--config", "nowhere.toml")
    assert found.status == 2
    assert found.err.startswith("nowhere.toml: ")
    assert list(empty.folder.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    ["session list", "session tree x", "session revoke x --reason y", "policy suggest", "audit show", "audit verify"],
)
def test_looking_makes_no_store(project: Any, command: str) -> None:
    found = project.run(*command.split())
    assert found.status == 3
    assert "does not exist" in found.err
    assert [path.name for path in project.folder.iterdir()] == ["deputize.toml"]


def test_a_store_in_memory_belongs_to_its_process(project: Any) -> None:
    edit(project, '"sqlite:deputize.db"', '"sqlite::memory:"')
    found = project.run("session", "list")
    assert found.status == 2
    assert "in memory" in found.err


def test_list_has_a_line_for_each_session(project: Any) -> None:
    ids = project.lived()
    lines = project.run("session", "list").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [ids["root"], ids["child"]]
    assert lines[1].endswith("local|alice > supervisor > researcher")
    rows = project.run("session", "list", "--json").data
    assert [(row["sid"], row["agent"], row["state"], row["depth"]) for row in rows] == [
        (ids["root"], "supervisor", "open", 0),
        (ids["child"], "researcher", "open", 1),
    ]


def test_list_is_cut_down_by_user_agent_and_life(project: Any) -> None:
    ids = project.lived()
    project.run("session", "revoke", ids["child"], "--reason", "test")

    def sids(*options: str) -> list[str]:
        return [row["sid"] for row in project.run("session", "list", "--json", *options).data]

    assert sids("--user", "alice", "--agent", "researcher") == [ids["child"]]
    assert sids("--live") == [ids["root"]]
    assert sids("--limit", "1") == [ids["child"]]
    assert sids("--limit", "1", "--live") == [ids["root"]]
    assert sids("--user", "bob") == []
    nobody = project.run("session", "list", "--agent", "nobody")
    assert (nobody.status, nobody.out) == (1, "")
    none = project.run("session", "list", "--user", "bob")
    assert (none.status, none.out) == (0, "")
    assert none.err


@pytest.mark.parametrize("name", ["root", "child", "access", "call", "reference"])
def test_a_tree_is_found_by_any_id_in_it(project: Any, name: str) -> None:
    ids = project.lived()
    drawn = project.run("session", "tree", ids[name])
    assert drawn.status == 0
    assert drawn.out.splitlines()[0] == "local|alice"
    assert f"drop_table: denied (session-ceiling, ref {ids['reference']})" in drawn.out
    tree = project.run("session", "tree", ids[name], "--json").data
    assert (tree["sid"], tree["children"][0]["sid"]) == (ids["root"], ids["child"])
    assert [call["outcome"] for call in tree["children"][0]["calls"]] == ["done", "denied"]


def test_an_id_that_is_nowhere_is_a_negative_answer(project: Any) -> None:
    project.lived()
    for command in (("tree", "nothing"), ("tree", ""), ("revoke", "nothing", "--reason", "x")):
        found = project.run("session", *command)
        assert (found.status, found.out) == (1, "")
        assert found.err


def test_revoke_kills_at_once_and_says_how_many(project: Any) -> None:
    ids = project.lived()
    with Authority.open(project.file) as authority:
        root = authority.session(user="bob", agent="supervisor")
        found = project.run("session", "revoke", "--user", "bob", "--reason", "left")
        assert found.status == 0
        assert found.out == "revoked user local|bob: 1 session dead now; every verifier refuses within 10 s\n"
        with pytest.raises(SessionEnded):
            root.delegate("researcher")
    data = project.run("session", "revoke", ids["root"], "--reason", "over", "--json").data
    assert (data["kind"], data["target"], data["sessions"]) == ("session", ids["root"], 2)
    again = project.run("session", "revoke", ids["root"], "--reason", "over")
    assert (again.status, again.out.split(": ")[1].split(";")[0]) == (0, "nothing lived there any more")


def test_the_id_of_a_token_kills_it_alone_and_that_of_a_call_its_session(project: Any) -> None:
    ids = project.lived()
    assert project.run("session", "revoke", ids["access"], "--reason", "x", "--json").data["kind"] == "token"
    assert len(project.run("session", "list", "--live", "--json").data) == 2
    done = project.run("session", "revoke", ids["call"], "--reason", "x", "--json").data
    assert (done["kind"], done["target"]) == ("session", ids["child"])
    assert len(project.run("session", "list", "--live", "--json").data) == 1


def test_an_agent_and_a_key_are_revoked_by_name(project: Any) -> None:
    project.lived()
    done = project.run("session", "revoke", "--agent", "researcher", "--reason", "x")
    assert done.out.startswith("revoked agent researcher: 1 session dead now")
    assert project.run("session", "revoke", "--agent", "nobody", "--reason", "x").status == 1
    assert project.run("session", "revoke", "--key", "nothing", "--reason", "x").status == 1
    with Authority.open(project.file) as authority:
        kid = authority.jwks()["keys"][0]["kid"]
    assert project.run("session", "revoke", "--key", kid, "--reason", "x").status == 0


def test_revoke_wants_one_target_and_a_reason(project: Any) -> None:
    ids = project.lived()
    for wrong in (
        ("--reason", "x"),
        (ids["root"], "--user", "alice", "--reason", "x"),
        (ids["root"],),
        (ids["root"], "--reason", ""),
        ("--user", "a b", "--reason", "x"),
    ):
        assert project.run("session", "revoke", *wrong).status == 2
    assert len(project.run("session", "list", "--live", "--json").data) == 2


def test_an_edited_file_neither_hinders_nor_changes_anything_until_it_is_applied(project: Any) -> None:
    """Whoever must cut off a session now must not have to repair a configuration first."""
    ids = project.lived()
    with Authority.open(project.file) as authority:
        root = authority.session(user="bob", agent="supervisor")
        edit(project, 'scopes = ["crm:read", "crm:write"]', 'scopes = ["crm:read", "crm:write", "crm:admin"]')
        before = len(authority.audit.find(type="policy.applied"))
        for command in (
            ("session", "list"),
            ("session", "tree", ids["root"]),
            ("policy", "suggest"),
            ("audit", "show"),
        ):
            assert project.run(*command).status == 0
        assert project.run("session", "revoke", ids["root"], "--reason", "now").status == 0
        assert len(authority.audit.find(type="policy.applied")) == before
        assert root.delegate("researcher")
        assert project.run("policy", "apply").status == 0
        assert len(authority.audit.find(type="policy.applied")) == before + 1


def test_explain_needs_no_store_and_leaves_nothing(project: Any) -> None:
    chain = ("policy", "explain", "--chain", "supervisor,researcher", "--user", "alice")
    good = project.run(*chain, "--tool", "read_customers")
    assert good.status == 0
    assert len(good.out.splitlines()) == 6
    bad = project.run(*chain, "--tool", "drop_table")
    assert bad.status == 1
    assert "enough  agents.researcher.use.crm" in bad.out
    data = project.run(*chain, "--resource", "crm", "--scope", "crm:write", "--json")
    assert (data.status, data.data["allowed"]) == (1, False)
    assert {"step", "resource", "scope", "allowed", "policies", "enough"} == set(data.data["hops"][0])
    for wrong in (
        chain,
        (*chain, "--resource", "nowhere", "--scope", "x"),
        ("policy", "explain", "--chain", "x", "--tool", "y"),
    ):
        found = project.run(*wrong)
        assert (found.status, found.out) == (2, "")
    assert [path.name for path in project.folder.iterdir()] == ["deputize.toml"]


def test_explain_says_that_a_frameworks_own_tool_needs_no_right(project: Any) -> None:
    text = project.file.read_text(encoding="utf-8")
    more = (
        '[resources.local]\nurl = "urn:deputize:tools"\nallow_framework_tools = ["write_todos"]\n\n[agents.supervisor]'
    )
    project.file.write_text(text.replace("[agents.supervisor]", more, 1), encoding="utf-8")
    found = project.run("policy", "explain", "--chain", "supervisor", "--user", "alice", "--tool", "write_todos")
    assert found.status == 0
    assert "registry.framework-tools" in found.out


def test_suggest_prints_toml_that_allows_what_was_refused(project: Any) -> None:
    import tomllib

    project.lived()
    found = project.run("policy", "suggest")
    assert found.status == 0
    assert tomllib.loads(found.out)["agents"]["researcher"]["use"]["crm"] == ["crm:read", "crm:write"]
    assert project.run("policy", "suggest", "--json").data["toml"] == found.out


def test_a_damaged_store_is_told_in_words(project: Any) -> None:
    (project.folder / "deputize.db").write_bytes(b"this is no database, whatever its name says\n" * 100)
    found = project.run("session", "list")
    assert found.status == 3
    assert found.err
    assert "Traceback" not in found.err
