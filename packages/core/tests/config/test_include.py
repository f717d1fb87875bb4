"""Files of many teams: what each may say, who may be handed on to, and every way out of a namespace that was tried."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deputize.authority.rules import rules_of
from deputize.config import Configuration, from_bundle, load, parse_bundle
from deputize.errors import ConfigurationError
from deputize.model.decision import Question
from deputize.model.resource import LOCAL_TOOLS, Right

CRM = "https://crm.example/mcp"
LAKE = "https://lake.example/mcp"
MAIN = """include = ["teams/*.toml"]
[authority]
trust_domain = "td"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
shared_with = { churn = ["crm:read"] }
[agents.front]
open = true
delegate = { crm = ["crm:read"] }
delegate_to = ["churn/boss"]
[agents.summary]
accept_from = ["churn/boss"]
use = { local = ["sum"] }
"""
CHURN = """namespace = "churn"
[resources.lake]
url = "https://lake.example/mcp"
scopes = ["lake:read", "lake:write"]
shared_with = { billing = ["lake:read"] }
[resources.lake.tools]
look = ["lake:read"]
[agents.boss]
open = true
use = { lake = ["lake:read"], crm = ["crm:read"], local = ["search"] }
delegate = { lake = ["lake:read"] }
delegate_to = ["worker", "summary", "billing/clerk"]
groups = ["lead"]
[agents.worker]
use = { "churn/lake" = ["lake:read"] }
[policy]
files = ["churn/*.cedar"]
"""
BILLING = """namespace = "billing"
[agents.clerk]
open = true
use = { "churn/lake" = ["lake:read"], local = ["pay"] }
accept_from = ["churn/boss"]
"""
POLICY = """
@id("quiet")
forbid (principal == Agent::"spiffe://td/agent/churn/worker", action == Action::"use", resource)
when { context.evidence == "nothing" };
"""


class Teams:
    """The files of a platform and two teams."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("deputize.toml", MAIN)
        self.write("teams/churn.toml", CHURN)
        self.write("teams/billing.toml", BILLING)
        self.write("teams/churn/own.cedar", POLICY)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def load(self) -> Configuration:
        return load(self.folder / "deputize.toml")

    def engine(self) -> Any:
        return rules_of(self.load()).policy

    def refusal(self) -> tuple[str, str | None, int | None]:
        """File, key and line of what is wrong: at load, or where policies are compiled."""
        with pytest.raises(ConfigurationError) as refused:
            rules_of(self.load())
        error = refused.value
        assert len(str(error).removeprefix(error.path)) < 400
        return Path(error.path).name, error.key, error.line


@pytest.fixture
def teams(tmp_path: Path) -> Teams:
    return Teams(tmp_path)


def asked(action: str, agent: str, right: Right, **more: Any) -> Question:
    context: dict[str, Any] = {
        "mode": "on_behalf_of",
        "evidence": "asserted",
        "attestation": "in_process",
        "depth": 0,
        "ttl": 60,
        "time": 1_750_000_000,
    }
    if action == "use":
        context["bound"] = False
    if action == "impersonate":
        context = {
            "user": "local|alice",
            "reason": "r",
            "grant": "g",
            "attestation": "in_process",
            "ttl": 60,
            "time": 1_750_000_000,
        }
    context |= more
    return Question(action=action, principal=f"spiffe://td/agent/{agent}", right=right, context=context)


def test_names_of_a_team_are_of_its_namespace(teams: Teams) -> None:
    registry = teams.load().registry
    assert {entry.name for entry in registry.agents.values()} == {
        "front",
        "summary",
        "churn/boss",
        "churn/worker",
        "billing/clerk",
    }
    boss = registry.agent("churn/boss")
    assert boss is not None
    assert boss.id == "spiffe://td/agent/churn/boss"
    assert {name.rpartition("/agent/")[2] for name in boss.delegate_to} == {"churn/worker", "summary", "billing/clerk"}
    assert boss.use == {Right(LAKE, "lake:read"), Right(CRM, "crm:read"), Right(LOCAL_TOOLS, "tool:search")}
    assert boss.groups == ("churn/lead", "churn/*")
    assert registry.resource("churn/lake").tools == {"look": frozenset({"lake:read"})}
    assert Path(boss.path).name == "churn.toml"
    assert boss.line == 8
    assert registry.namespaces["billing"] == {Right(LAKE, "lake:read"), *registry.resources[LOCAL_TOOLS].rights}


def test_a_team_uses_what_is_its_own_or_shared_and_hands_on_where_it_is_taken(teams: Teams) -> None:
    engine = teams.engine()
    boss, clerk = "spiffe://td/agent/churn/boss", "spiffe://td/agent/billing/clerk"
    lake = Right(LAKE, "lake:read")
    for question in (
        asked("use", "churn/boss", lake),
        asked("use", "churn/boss", Right(CRM, "crm:read")),
        asked("use", "billing/clerk", lake),
        asked("delegate", "churn/boss", lake, to=clerk),
        asked("open", "billing/clerk", lake, **{"from": boss}),
        asked("open", "churn/worker", lake, **{"from": boss}),
    ):
        assert engine.decide(question).allowed, question
    assert not engine.decide(asked("use", "churn/boss", Right(CRM, "crm:write"))).allowed
    assert engine.policies.count("churn/quiet") == 1
    assert "namespace.churn" in engine.policies


# name -> (file, old, new, where the error is: file, key, line)
Edit = tuple[str, str, str, tuple[str, str | None, int | None]]
TEAM, OTHER, TOP = "churn.toml", "billing.toml", "deputize.toml"
WRONG: Mapping[str, Edit] = {
    "a scope that is not shared": (
        "teams/churn.toml",
        '"crm:read"], local',
        '"crm:read", "crm:write"], local',
        (TEAM, "agents.boss.use.crm[1]", 10),
    ),
    "to hand on what is not shared": (
        "teams/churn.toml",
        "delegate = { lake",
        'delegate = { crm = ["crm:write"], lake',
        (TEAM, "agents.boss.delegate.crm[0]", 11),
    ),
    "a resource of another team, unshared": (
        "teams/billing.toml",
        '["lake:read"], local',
        '["lake:write"], local',
        (OTHER, 'agents.clerk.use."churn/lake"[0]', 4),
    ),
    "sharing withdrawn": (
        "deputize.toml",
        'shared_with = { churn = ["crm:read"] }',
        "",
        (TEAM, "agents.boss.use.crm[0]", 10),
    ),
    "shared with nobody": ("deputize.toml", "{ churn =", "{ chrun =", (TOP, "resources.crm.shared_with.chrun", 7)),
    "sharing what is not there": (
        "teams/churn.toml",
        'billing = ["lake:read"]',
        'billing = ["lake:x"]',
        (TEAM, "resources.lake.shared_with.billing[0]", 5),
    ),
    "a hand-off that is not taken": (
        "teams/billing.toml",
        'accept_from = ["churn/boss"]',
        "",
        (TEAM, "agents.boss.delegate_to[2]", 12),
    ),
    "a hand-off that the platform's agent does not take": (
        "deputize.toml",
        'accept_from = ["churn/boss"]',
        "",
        (TEAM, "agents.boss.delegate_to[1]", 12),
    ),
    "another team's agent by its short name": (
        "teams/churn.toml",
        '"billing/clerk"]',
        '"clerk"]',
        (TEAM, "agents.boss.delegate_to[2]", 12),
    ),
    "taking from nobody": (
        "teams/billing.toml",
        '["churn/boss"]',
        '["churn/bos"]',
        (OTHER, "agents.clerk.accept_from[0]", 5),
    ),
    "an agent under another namespace's name": (
        "teams/billing.toml",
        "[agents.clerk]",
        '[agents."churn/spy"]',
        (OTHER, 'agents."churn/spy"', 2),
    ),
    "a resource under another's name": (
        "teams/churn.toml",
        "[resources.lake]",
        '[resources."billing/lake"]',
        (TEAM, 'resources."billing/lake"', 2),
    ),
    "the local tools": (
        "teams/billing.toml",
        "[agents.clerk]",
        "[resources.local]\n[agents.clerk]",
        (OTHER, "resources.local", 2),
    ),
    "a resource's url twice": ("teams/churn.toml", LAKE, CRM, (TEAM, "resources.lake.url", 3)),
    "limits": ("teams/churn.toml", "[policy]", "[limits]\ndepth_max = 16\n[policy]", (TEAM, "limits", 16)),
    "users": ("teams/churn.toml", 'namespace = "churn"\n', 'namespace = "churn"\nusers = []\n', (TEAM, "users", 2)),
    "a grant to impersonate": (
        "teams/churn.toml",
        "[policy]",
        '[[impersonation]]\nagent = "boss"\n[policy]',
        (TEAM, "impersonation", 16),
    ),
    "an include of its own": (
        "teams/churn.toml",
        "[resources.lake]",
        "[include]\n[resources.lake]",
        (TEAM, "include", 2),
    ),
    "an unknown key": ("teams/churn.toml", "open = true", "opne = true", (TEAM, "agents.boss.opne", 9)),
    "no namespace": ("teams/churn.toml", 'namespace = "churn"', "", (TEAM, "namespace", None)),
    "a namespace of two parts": ("teams/churn.toml", '"churn"', '"a/b"', (TEAM, "namespace", 1)),
    "a namespace twice": ("teams/churn.toml", 'namespace = "churn"', 'namespace = "billing"', (TEAM, "namespace", 1)),
    "a namespace that looks like another": (
        "teams/churn.toml",
        'namespace = "churn"',
        'namespace = "bi1ling"',
        (TEAM, "namespace", 1),
    ),
    "the platform in a team's namespace": (
        "deputize.toml",
        "[agents.front]",
        '[agents."churn/spy"]\n[agents.front]',
        (TOP, 'agents."churn/spy"', 8),
    ),
    "no TOML": ("teams/churn.toml", "[policy]", "[policy", (TEAM, None, 16)),
    "a policy file that is not there": (
        "teams/churn.toml",
        "churn/*.cedar",
        "churn/x.cedar",
        (TEAM, "policy.files[0]", 17),
    ),
    "a policy file outside its folder": (
        "teams/churn.toml",
        "churn/*.cedar",
        "../main.cedar",
        (TEAM, "policy.files[0]", 17),
    ),
    "an include above": ("deputize.toml", "teams/*.toml", "../*.toml", (TOP, "include[0]", 1)),
    "an include by a full path": ("deputize.toml", "teams/*.toml", "/etc/*.toml", (TOP, "include[0]", 1)),
    "an include of nothing": ("deputize.toml", "teams/*.toml", "team/*.toml", (TOP, "include[0]", 1)),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.requirement("PO-04")
def test_what_a_team_may_not_say_is_refused_with_file_key_and_line(teams: Teams, name: str) -> None:
    teams.write("main.cedar", "")
    file, old, new, where = WRONG[name]
    teams.change(file, old, new)
    assert teams.refusal() == where


# name -> the policy of a team that would speak of others
ATTACKS: Mapping[str, str] = {
    "everybody": "permit (principal, action, resource);",
    "every agent": "permit (principal is Agent, action, resource);",
    "another's agent": 'permit (principal == Agent::"spiffe://td/agent/billing/clerk", action, resource);',
    "the platform's agent": 'permit (principal == Agent::"spiffe://td/agent/front", action, resource);',
    "a name that begins alike": 'permit (principal == Agent::"spiffe://td/agent/churning", action, resource);',
    "another trust domain": 'permit (principal == Agent::"spiffe://other/agent/churn/boss", action, resource);',
    "a user": 'permit (principal == User::"local|alice", action == Action::"grant", resource);',
    "every user": 'permit (principal is User, action == Action::"grant", resource);',
    "a group of users": 'permit (principal is User in Group::"churn/lead", action == Action::"grant", resource);',
    "whoever brings the group's name": 'permit (principal in Group::"churn/lead", action, resource);',
    "a grant by the group's name": 'permit (principal in Group::"churn/lead", action == Action::"grant", resource);',
    "a grant among others": (
        'permit (principal in Group::"churn/lead", action in [Action::"use", Action::"grant"], resource);'
    ),
    "a group of others": 'permit (principal is Agent in Group::"billing/lead", action, resource);',
    "a group without namespace": 'permit (principal is Agent in Group::"lead", action, resource);',
    "in an agent": 'permit (principal in Agent::"spiffe://td/agent/churn/boss", action, resource);',
    "a condition that pins": (
        'permit (principal, action, resource) when { principal == Agent::"spiffe://td/agent/churn/boss" };'
    ),
    "a forbid for all": "forbid (principal, action, resource);",
    "a forbid for users": 'forbid (principal == User::"okta|ceo", action == Action::"grant", resource);',
    "a forbid for another": 'forbid (principal == Agent::"spiffe://td/agent/billing/clerk", action, resource);',
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.requirement("PO-04")
def test_a_policy_of_a_team_that_speaks_of_others_is_refused_where_it_stands(teams: Teams, name: str) -> None:
    teams.write("teams/churn/own.cedar", f'{POLICY}\n@id("x")\n{ATTACKS[name]}\n')
    assert teams.refusal() == ("own.cedar", "churn/x", 6)


@pytest.mark.requirement("PO-04")
def test_a_team_gets_nothing_from_its_own_policies_that_nobody_gave(teams: Teams) -> None:
    """The scope of a policy may name its own agent and still every resource: the namespace's bounds forbid."""
    wide = 'permit (principal == Agent::"spiffe://td/agent/churn/boss", action, resource);'
    group = 'permit (principal is Agent in Group::"churn/*", action, resource);'
    teams.write("teams/churn/own.cedar", f'@id("wide")\n{wide}\n@id("group")\n{group}\n')
    engine = teams.engine()
    for action in ("use", "open", "delegate", "impersonate"):
        more = {"to": "spiffe://td/agent/billing/clerk"} if action == "delegate" else {}
        verdict = engine.decide(asked(action, "churn/boss", Right(CRM, "crm:write"), **more))
        assert not verdict.allowed
        assert "namespace.churn" in verdict.policies
    assert engine.decide(asked("use", "churn/boss", Right(LAKE, "lake:write"))).allowed
    assert not engine.decide(asked("impersonate", "churn/boss", Right(LAKE, "lake:read"))).allowed
    unasked = asked("open", "billing/clerk", Right(LAKE, "lake:read"), **{"from": "spiffe://td/agent/churn/worker"})
    assert not engine.decide(unasked).allowed


@pytest.mark.requirement("PO-04")
def test_the_same_policy_without_the_bounds_would_get_everything(teams: Teams) -> None:
    """The control: named by the platform, without a namespace's file, the wide permit holds."""
    wide = '@id("wide")\npermit (principal == Agent::"spiffe://td/agent/solo", action, resource);'
    teams.write(
        "deputize.toml",
        MAIN.replace('include = ["teams/*.toml"]\n', "")
        .replace('shared_with = { churn = ["crm:read"] }\n', "")
        .replace('delegate_to = ["churn/boss"]\n', "")
        .replace('accept_from = ["churn/boss"]\n', "")
        + "[agents.solo]\n[policy]\nfiles = ['wide.cedar']\n",
    )
    teams.write("wide.cedar", wide)
    assert teams.engine().decide(asked("use", "solo", Right(CRM, "crm:write"))).allowed


def test_two_teams_may_give_policies_the_same_id(teams: Teams) -> None:
    teams.write("teams/billing.toml", BILLING + '[policy]\nfiles = ["b.cedar"]\n')
    teams.write("teams/b.cedar", POLICY.replace("churn/worker", "billing/clerk"))
    assert {"churn/quiet", "billing/quiet"} <= set(teams.engine().policies)


def test_a_policy_file_is_of_one_namespace(teams: Teams) -> None:
    teams.write("teams/billing.toml", BILLING + '[policy]\nfiles = ["churn/own.cedar"]\n')
    assert teams.refusal() == (TEAM, "policy.files[0]", 17)
    teams.write("teams/billing.toml", BILLING)
    teams.change("deputize.toml", "[agents.front]", '[policy]\nfiles = ["teams/churn/own.cedar"]\n[agents.front]')
    assert teams.refusal() == (TEAM, "policy.files[0]", 17)


@pytest.mark.requirement("PO-04")
@pytest.mark.parametrize("what", ["include", "policy"])
def test_a_link_that_leads_out_of_the_folder_is_not_followed(teams: Teams, tmp_path_factory: Any, what: str) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x"
    outside.write_text(BILLING.replace("billing", "spy") if what == "include" else POLICY, encoding="utf-8")
    if what == "include":
        (teams.folder / "teams" / "link.toml").symlink_to(outside)
        assert teams.refusal() == (TOP, "include[0]", 1)
    else:
        (teams.folder / "teams" / "churn" / "link.cedar").symlink_to(outside)
        assert teams.refusal() == (TEAM, "policy.files[0]", 17)


def test_a_file_that_two_patterns_match_is_included_once(teams: Teams) -> None:
    teams.change("deputize.toml", '["teams/*.toml"]', '["teams/churn.toml", "teams/*.toml"]')
    assert teams.load().registry.agent("churn/boss") is not None


def test_a_set_of_many_files_is_the_same_set_from_its_bundle(teams: Teams) -> None:
    made = teams.load()
    assert made.bundle is not None
    kept = from_bundle(parse_bundle(made.bundle.text()))
    assert set(made.bundle.files) == {
        "deputize.toml",
        "teams/churn.toml",
        "teams/billing.toml",
        "teams/churn/own.cedar",
    }
    assert rules_of(kept).policy.digest == rules_of(made).policy.digest
    assert str(teams.folder) not in made.bundle.text()


def test_what_would_be_enough_is_said_of_the_teams_own_file(teams: Teams) -> None:
    from deputize.policy import enough

    rules = rules_of(teams.load())
    said = enough(asked("use", "churn/worker", Right(LAKE, "lake:write")), rules.registry)
    assert "churn.toml:14" in said


def test_a_main_file_without_teams_shares_with_nobody(teams: Teams) -> None:
    teams.change("deputize.toml", 'include = ["teams/*.toml"]', "")
    assert teams.refusal()[:2] in {(TOP, "agents.summary.accept_from[0]"), (TOP, "resources.crm.shared_with.churn")}
