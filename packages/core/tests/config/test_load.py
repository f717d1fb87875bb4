"""deputize.toml: defaults, the environment, policy files, and what a wrong value says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deputize.config import Configuration, check_serveable, from_bundle, load, parse_bundle, starter
from deputize.model.failure import ConfigurationError
from deputize.model.limits import Limits
from deputize.model.resource import LOCAL_TOOLS, Right
from deputize.policy import compile_policy

Loaded = Callable[..., Configuration]
CRM = '[resources.crm]\nurl = "https://crm.example/mcp"\nscopes = ["crm:read"]\n'
USERS = '[[users]]\nissuer = "https://idp.example"\nalias = "okta"\naudience = ["x"]\n'

OPERATORS = '[[operators]]\nissuer = "https://i.example"\ngroups = { admin = ["a"] }\n'

# name -> (text, key of the error, its line)
WRONG: dict[str, tuple[str, str | None, int | None]] = {
    "not TOML": ("version = 1\nx = [\n", None, 3),
    "not TOML on a line": ("version = 1\n\nx y\n", None, 3),
    "a key twice": ("[store]\nurl = 'sqlite:a'\nurl = 'sqlite:b'\n", None, 3),
    "nested without end": ("x = " + "[" * 3000 + "]" * 3000, None, None),
    "an unknown section": ("\n[agent.a]\n", "agent", 2),
    "an unknown key": ("[agents.a]\n\nopne = true\n", "agents.a.opne", 3),
    "an unknown key of a list": (USERS + "group = 'x'\n", "users[0].group", 5),
    "another version": ("version = 2\n", "version", 1),
    "an include of nothing": ('include = ["teams/*.toml"]\n', "include[0]", 1),
    "a shadow set": ('[policy]\nshadow = ["x.cedar"]\n', "policy.shadow", 2),
    "a number for a text": ("[store]\nurl = 3\n", "store.url", 2),
    "a text for a list": ('[agents.a]\ndelegate_to = "b"\n', "agents.a.delegate_to", 2),
    "a text for a flag": ('[agents.a]\nopen = "yes"\n', "agents.a.open", 2),
    "a list for a section": ("agents = []\n", "agents", 1),
    "a duration without unit": ("[limits]\nsession_ttl = 3600\n", "limits.session_ttl", 2),
    "a duration of nothing": ('[limits]\naccess_ttl = "0s"\n', "limits.access_ttl", 2),
    "a session of two months": ('[limits]\nsession_ttl_max = "60d"\n', "limits.session_ttl_max", 2),
    "a default above its limit": ('[limits]\n\nsession_ttl = "9h"\n', "limits.session_ttl", 3),
    "an access of an hour": ('[limits]\naccess_ttl = "1h"\n', "limits.access_ttl", 2),
    "a bearer of ten minutes": ('[limits]\naccess_ttl_bearer = "10m"\n', "limits.access_ttl_bearer", 2),
    "a depth of 17": ("[limits]\ndepth_max = 17\n", "limits.depth_max", 2),
    "http": ('[authority]\nissuer = "http://sts.example"\n', "authority.issuer", 2),
    "an issuer that is no URL": ('[authority]\nissuer = "urn:x:y"\n', "authority.issuer", 2),
    "a trust domain with capitals": ('[authority]\ntrust_domain = "Example.org"\n', "authority.trust_domain", 2),
    "an algorithm of symmetric keys": ('[authority]\nalgorithm = "HS256"\n', "authority.algorithm", 2),
    "a store of another kind": ('[store]\nurl = "mysql://x/y"\n', "store.url", 2),
    "a password in the file": ('[store]\nurl = "postgresql://u:hunter2@h/db"\n', "store.url", 2),
    "a policy file that is not there": ('[policy]\nfiles = ["a.cedar"]\n', "policy.files[0]", 2),
    "a pattern of policies that matches nothing": ('[policy]\nfiles = ["rules/*.cedar"]\n', "policy.files[0]", 2),
    "an agent's name": ('[agents."a b"]\n', 'agents."a b"', 1),
    "a wildcard": ('[agents.a]\n[agents."*"]\nopen = true\n', 'agents."*"', 2),
    "agents that look alike": ("[agents.writer_1]\n[agents.writer-l]\n", "agents.writer-l", 2),
    "resources that look alike": (CRM + CRM.replace("crm]", "CRM]"), "resources.CRM", 4),
    "an alias of a path": ('[resources."a/b"]\nurl = "https://a.example"\nscopes = ["x"]\n', 'resources."a/b"', 1),
    "a resource without url": ('[resources.crm]\nscopes = ["x"]\n', "resources.crm.url", 1),
    "a resource without scopes": ('[resources.crm]\nurl = "https://a.example"\n', "resources.crm.scopes", 1),
    "a url with a query": ('[resources.crm]\nurl = "https://a.example/?x"\n', "resources.crm.url", 2),
    "a url twice": (CRM + CRM.replace("crm]", "wiki]"), "resources.wiki.url", 5),
    "a scope with a space": (CRM.replace("crm:read", "crm read"), "resources.crm.scopes[0]", 3),
    "a scope twice": (CRM.replace('"]', '", "crm:read"]'), "resources.crm.scopes[1]", 3),
    "a tool of an unknown scope": (CRM + '[resources.crm.tools]\nx = ["crm:write"]\n', "resources.crm.tools.x[0]", 5),
    "a tool of no scope": (CRM + "[resources.crm.tools]\nx = []\n", "resources.crm.tools.x", 5),
    "framework tools elsewhere": (CRM + 'allow_framework_tools = ["ls"]\n', "resources.crm.allow_framework_tools", 4),
    "local at a url": ('[resources.local]\nurl = "https://a.example"\n', "resources.local.url", 2),
    "local with scopes": ('[resources.local]\nscopes = ["x"]\n', "resources.local.scopes", 2),
    "an unknown resource": ('[agents.a]\nuse = { crm = ["x"] }\n', "agents.a.use.crm", 2),
    "an unknown scope": (CRM + '[agents.a]\nuse.crm = [\n"crm:write"]\n', "agents.a.use.crm[0]", 6),
    "a tool's name with a space": ('[agents.a]\nuse = { local = ["a b"] }\n', "agents.a.use.local[0]", 2),
    "an unknown target": ('[agents.a]\ndelegate_to = ["b"]\n', "agents.a.delegate_to[0]", 2),
    "an agent above the limit": ('[agents.a]\nsession_ttl = "9h"\n', "agents.a.session_ttl", 2),
    "an unknown method": ('[agents.a]\nattestation = ["trust"]\n', "agents.a.attestation[0]", 2),
    "a group with a space": ('[agents.a]\ngroups = ["x y"]\n', "agents.a.groups[0]", 2),
    "users without audience": ('[[users]]\nissuer = "https://i.example"\nalias = "i"\n', "users[0].audience", 1),
    "an empty audience": (USERS.replace('["x"]', "[]"), "users[0].audience", 4),
    "the alias of asserted users": (USERS.replace("okta", "local"), "users[0].alias", 3),
    "an alias twice": (USERS + USERS.replace("idp", "other"), "users[1].alias", 7),
    "an issuer twice": (USERS + USERS.replace("okta", "other"), "users[1].issuer", 6),
    "an unknown agent attested": (
        '[[attestation]]\nmethod = "unix"\nworkload = "w"\nagents = ["a"]\n',
        "attestation[0].agents[0]",
        4,
    ),
    "an issuer whose every workload would do": (
        (
            '[agents.a]\n[[attestation]]\nmethod = "oidc"\nissuer = "https://i.example"\naudience = "x"\n'
            'workload = "w"\nagents = ["a"]\n'
        ),
        "attestation[0].match",
        2,
    ),
    "evidence of no issuer": (
        '[agents.a]\n[[attestation]]\nmethod = "oidc"\nworkload = "w"\nagents = ["a"]\n',
        "attestation[0].method",
        3,
    ),
    "a grant to nobody": (
        (
            '[[impersonation]]\nagent = "a"\nuser = "okta|1"\nresource = "crm"\nscopes = ["x"]\n'
            'expires = 2026-12-31T00:00:00Z\nreason = "r"\n'
        ),
        "impersonation[0].agent",
        2,
    ),
    "a grant without offset": (
        CRM + '[agents.a]\n[[impersonation]]\nagent = "a"\nuser = "okta|1"\nresource = "crm"\nscopes = ["crm:read"]\n'
        'expires = 2026-12-31T00:00:00\nreason = "r"\n',
        "impersonation[0].expires",
        10,
    ),
    "a grant for a user without issuer": (
        CRM + '[agents.a]\n[[impersonation]]\nagent = "a"\nuser = "alice"\nresource = "crm"\nscopes = ["crm:read"]\n'
        'expires = 2026-12-31T00:00:00Z\nreason = "r"\n',
        "impersonation[0].user",
        7,
    ),
    "a rate in words": ('[server]\nrate = "fast"\n', "server.rate", 2),
    "a role that is none": (
        '[[operators]]\nissuer = "https://i.example"\ngroups = { root = ["x"] }\n',
        "operators[0].groups.root",
        3,
    ),
    "operators without roles": ('[[operators]]\nissuer = "https://i.example"\ngroups = {}\n', "operators[0].groups", 3),
    "a role of nobody": (OPERATORS.replace('["a"]', "[]"), "operators[0].groups.admin", 3),
    "a group without name": (OPERATORS.replace('["a"]', '["a", ""]'), "operators[0].groups.admin", 3),
    "an issuer of operators twice": (OPERATORS + OPERATORS, "operators[1].issuer", 5),
    "operators of plain http": (OPERATORS.replace("https", "http"), "operators[0].issuer", 2),
    "an audience of operators without text": (OPERATORS + 'audience = [""]\n', "operators[0].audience", 4),
    "a shut-down without end": ('[server]\nshutdown_grace = "1h"\n', "server.shutdown_grace", 2),
    "headers without a size": ('[server]\nmax_headers = "big"\n', "server.max_headers", 2),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.requirement("I10")
def test_a_wrong_value_names_file_key_and_line(loaded: Loaded, tmp_path: Path, name: str) -> None:
    text, key, line = WRONG[name]
    with pytest.raises(ConfigurationError) as caught:
        loaded(text)
    error = caught.value
    assert (error.code, error.path, error.key, error.line) == (
        "configuration_error",
        str(tmp_path / "deputize.toml"),
        key,
        line,
    )
    assert "hunter2" not in str(error)
    assert len(str(error).removeprefix(error.path)) < 250


def test_an_empty_file_is_the_defaults(loaded: Loaded, tmp_path: Path) -> None:
    made = loaded("")
    assert made.limits == Limits()
    assert (made.issuer, made.trust_domain, made.algorithm) == ("http://127.0.0.1:8400", "local", "ES256")
    assert (made.users, made.users_written) == ("unrestricted", False)
    assert (made.store_url, made.durability) == (f"sqlite:{tmp_path / 'deputize.db'}", "full")
    assert (made.task_text, made.checkpoint_every, made.retention) == ("hash", 60, 400 * 86_400)
    assert (made.server.host, made.server.port, made.server.max_body, made.server.rate) == (
        "127.0.0.1",
        8400,
        65_536,
        10,
    )
    assert not made.registry.agents
    assert list(made.registry.resources) == [LOCAL_TOOLS]
    assert made.path == str(tmp_path / "deputize.toml")


def test_users_that_are_named_are_listed_unless_the_file_says_otherwise(loaded: Loaded) -> None:
    assert (loaded(USERS).users, loaded(USERS).users_written) == ("listed", False)
    said = loaded('[authority]\nusers = "unrestricted"\n' + USERS)
    assert (said.users, said.users_written) == ("unrestricted", True)


def test_every_section_is_read(loaded: Loaded) -> None:
    made = loaded(
        """
        version = 1
        [authority]
        issuer = "https://sts.example"
        trust_domain = "example.org"
        algorithm = "EdDSA"
        users = "listed"
        [store]
        url = "postgresql://host/db"
        durability = "normal"
        [limits]
        session_ttl = "30m"
        session_ttl_max = "30d"
        depth_max = 16
        [resources.crm]
        url = "https://crm.example/mcp"
        scopes = ["crm:read", "crm:write"]
        binding = "dpop"
        chain = "outermost"
        introspection = ["crm-server"]
        [resources.crm.tools]
        read_customers = ["crm:read"]
        [resources.local]
        url = "urn:deputize:tools"
        allow_framework_tools = ["write_todos", "ls"]
        [agents.supervisor]
        open = true
        delegate = { crm = ["crm:read", "crm:write"] }
        delegate_to = ["team/researcher"]
        groups = ["front"]
        attestation = ["in_process", "kubernetes"]
        [agents."team/researcher"]
        use = { crm = ["crm:read"], local = ["search"] }
        session_ttl = "15m"
        [[users]]
        issuer = "https://acme.okta.com/oauth2/aus1"
        alias = "okta"
        audience = ["api://agents"]
        scopes = "scp"
        max_auth_age = "1h"
        [[attestation]]
        method = "kubernetes"
        issuer = "https://kubernetes.default.svc"
        audience = "https://sts.example"
        private_network = true
        match = { sub = "system:serviceaccount:churn:agents" }
        workload = "churn"
        agents = ["supervisor", "team/researcher"]
        [[impersonation]]
        agent = "team/researcher"
        user = "okta|00u1"
        resource = "crm"
        scopes = ["crm:read"]
        expires = 2026-12-31T00:00:00Z
        reason = "INC-4711"
        [audit]
        task_text = "clear"
        checkpoint_to = ["file:checkpoints/"]
        [server]
        port = 9000
        max_body = "1m"
        [[operators]]
        issuer = "https://acme.okta.com/oauth2/aus1"
        groups = { viewer = ["sec-read"], admin = ["platform"] }
        """
    )
    crm = made.registry.resource("crm")
    assert (crm.binding, crm.chain, crm.introspection) == ("dpop", "outermost", ("crm-server",))
    assert crm.tools == {"read_customers": frozenset({"crm:read"})}
    local = made.registry.resource("local")
    assert (local.scopes, local.framework_tools) == (frozenset({"tool:search"}), frozenset({"write_todos", "ls"}))
    boss, below = made.registry.agent("supervisor"), made.registry.agent("team/researcher")
    assert boss is not None
    assert below is not None
    assert (boss.opens, boss.use, boss.delegate_to) == (True, frozenset(), frozenset({below.id}))
    assert below.use == {Right(crm.url, "crm:read"), Right(LOCAL_TOOLS, "tool:search")}
    assert (below.session_ttl, boss.groups, boss.attestation) == (900, ("front",), ("in_process", "kubernetes"))
    assert made.user_rules[0].max_auth_age == 3600
    assert (made.user_rules[0].scopes, made.user_rules[0].line) == ("scp", 35)
    assert made.workloads[boss.id] == {"spiffe://example.org/workload/churn"}
    assert made.impersonation[0].rights == {Right(crm.url, "crm:read")}
    assert (made.impersonation[0].id, made.impersonation[0].expires) == ("team/researcher.1", 1_798_675_200)
    assert made.operators[0].groups == {"viewer": ("sec-read",), "admin": ("platform",)}
    assert (made.server.port, made.server.max_body, made.store_url) == (9000, 1024 * 1024, "postgresql://host/db")
    assert (made.task_text, made.checkpoint_to, made.limits.depth_max) == ("clear", ("file:checkpoints/",), 16)


def test_the_environment_overrides_scalars(loaded: Loaded) -> None:
    made = loaded(
        '[server]\nport = 1\n[store]\nurl = "sqlite:a.db"\n',
        {
            "DEPUTIZE_SERVER_PORT": "9",
            "DEPUTIZE_STORE_URL": "sqlite::memory:",
            "DEPUTIZE_LIMITS_SESSION_TTL": "2h",
            "DEPUTIZE_AUTHORITY_USERS": "listed",
            "DEPUTIZE_STORE_PASSWORD": "hunter2",
            "DEPUTIZE_ANCHOR": "00",
            "DEPUTIZE_SERVER_SERVICE_HOST": "10.0.0.1",
            "DEPUTIZE_TOKEN": "x",
            "DEPUTIZE_SERVER_PORT_8400_TCP_ADDR": "10.0.0.1",
        },
    )
    assert (made.server.port, made.store_url, made.limits.session_ttl) == (9, "sqlite::memory:", 7200)
    assert (made.users, made.server.trusted_proxies) == ("listed", ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEPUTIZE_SERVER_PORT", "tcp://10.0.0.1:8400"),
        ("DEPUTIZE_SERVER_PORT", "70000"),
        ("DEPUTIZE_LIMITS_ACCESS_TTL", "1h"),
        ("DEPUTIZE_AUTHORITY_ISSUER", "http://sts.example"),
        ("DEPUTIZE_STORE_DURABILITY", "some"),
    ],
)
def test_a_wrong_value_from_the_environment_names_the_variable(loaded: Loaded, name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded("[server]\nport = 1\n", {name: value})
    assert (caught.value.path, caught.value.key, caught.value.line) == ("environment", name, None)
    assert value not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "DEPUTIZE_LIMITS_SESION_TTL",
        "DEPUTIZE_SERVER_PROT",
        "DEPUTIZE_SERVER_TRUSTED_PROXIES",
        "DEPUTIZE_AUDIT_CHECKPOINT_TO",
        "DEPUTIZE_STORE_PASSWORDS",
        "DEPUTIZE_POLICY_FILES",
        "DEPUTIZE_AUTHORITY_",
    ],
)
def test_a_variable_that_looks_like_an_override_and_is_none_is_refused(loaded: Loaded, name: str) -> None:
    """It would be taken for one by whoever set it: a limit that was tightened and is not."""
    with pytest.raises(ConfigurationError) as caught:
        loaded("", {name: "hunter2"})
    assert (caught.value.path, caught.value.key) == ("environment", name)
    assert "hunter2" not in str(caught.value)


def test_nothing_is_read_of_an_environment_that_was_not_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPUTIZE_LIMITS_DEPTH_MAX", "9")
    (tmp_path / "deputize.toml").write_text("", encoding="utf-8")
    assert load(tmp_path / "deputize.toml").limits.depth_max == 4


def test_an_operator_has_the_highest_role_of_its_groups(loaded: Loaded) -> None:
    text = OPERATORS.replace("{", '{ viewer = ["v", "x"], responder = ["r"],')
    (rule,) = loaded(text).operators
    asked = [(), ("other",), ("v",), ("x", "r"), ("v", "a", "r"), ("V",)]
    assert [rule.role_of(groups) for groups in asked] == [None, None, "viewer", "responder", "admin", None]
    assert (rule.audience, rule.groups_claim, rule.subject, rule.jwks) == ((), "groups", "sub", "discover")


def test_a_server_wants_it_in_words_that_any_user_may_use_any_agent(loaded: Loaded) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_serveable(loaded(""))
    assert refused.value.key == "authority.users"
    for text in ('[authority]\nusers = "unrestricted"\n', '[authority]\nusers = "listed"\n', USERS):
        check_serveable(loaded(text))


def test_workers_share_a_store_that_they_can_share(loaded: Loaded) -> None:
    text = '[authority]\nusers = "listed"\n[server]\nworkers = 2\n[store]\nurl = "sqlite:{}"\n'
    check_serveable(loaded(text.format("x.db")))
    with pytest.raises(ConfigurationError) as refused:
        check_serveable(loaded(text.format(":memory:")))
    assert refused.value.key == "server.workers"


@pytest.mark.parametrize(
    "text",
    [
        '[server]\nhost = "9.9.9.9"\n',
        'server.host = "9.9.9.9"\n',
        'server = { host = "9.9.9.9" }\n',
        '"server".host = "9.9.9.9"\n',
        'store.url = "sqlite:9.9.9.9"\nserver.port = 9\n',
        '[store]\nurl = """sqlite:\\\n9.9.9.9"""\n# [server]\n# 9.9.9.9\n[ server ]\nport = 9\n',
        '[agents.a]\n[server]\ntrusted_proxies = [\n"9.9.9.9", # [store]\n]\n[agents.b]\ngroups = ["[server]"]\n',
    ],
)
def test_a_bundle_keeps_nothing_of_one_replica_and_every_other_line_in_its_place(loaded: Loaded, text: str) -> None:
    made = loaded(text + "\n[agents.z]\nopen = true\n")
    assert made.bundle is not None
    kept = made.bundle.files["deputize.toml"]
    assert "9.9.9.9" not in kept
    assert kept.splitlines().index("[agents.z]") == text.count("\n") + 1
    assert from_bundle(made.bundle).registry.agents.keys() == made.registry.agents.keys()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version":2}', '{"version":1,"main":1}', "[" * 100_000])
def test_a_bundle_that_is_none_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_bundle(text)


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigurationError) as caught:
            load(path, environ={})
        assert caught.value.path == str(path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"version = 1\n# caf\xe9\n")
    with pytest.raises(ConfigurationError) as caught:
        load(latin, environ={})
    assert caught.value.line == 2


def test_policy_files_are_found_beside_the_file_sorted_and_once(loaded: Loaded, tmp_path: Path) -> None:
    folder = tmp_path / "policies"
    folder.mkdir()
    for name in ("b.cedar", "a.cedar", "c.txt"):
        (folder / name).write_text(f"// {name}", encoding="utf-8")
    found = loaded("").policy_files
    assert [(Path(file.path).name, file.text) for file in found] == [
        ("a.cedar", "// a.cedar"),
        ("b.cedar", "// b.cedar"),
    ]
    named = loaded('[policy]\nfiles = ["policies/b.cedar", "policies/*.cedar"]\n').policy_files
    assert [Path(file.path).name for file in named] == ["b.cedar", "a.cedar"]
    assert loaded("[policy]\nfiles = []\n").policy_files == ()


@pytest.mark.requirement("AT-09")
@pytest.mark.parametrize(
    "url",
    ["https://crm.example/mcp", "https://CRM.example/mcp", "https://crm.example:443/mcp", "https://crm.example/mcp?"],
)
def test_no_two_resources_have_one_identifier_in_whatever_spelling(loaded: Loaded, url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        loaded(CRM + CRM.replace("crm]", "wiki]").replace("https://crm.example/mcp", url))
    assert refused.value.key == "resources.wiki.url"


def test_the_starter_loads_without_change(loaded: Loaded) -> None:
    made = loaded(starter())
    assert {entry.name for entry in made.registry.agents.values()} == {"supervisor", "researcher"}
    assert made.users_written
    assert compile_policy(made.registry, users=made.users).policies


def test_an_absolute_store_stays_where_it_is(loaded: Loaded, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other" / "x.db"
    assert loaded(f'[store]\nurl = "sqlite:{elsewhere}"\n').store_url == f"sqlite:{elsewhere}"
