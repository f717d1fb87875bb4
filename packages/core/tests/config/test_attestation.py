"""`[[attestation]]` at load: rules that could take one evidence for two workloads do not start."""

from pathlib import Path
from typing import Any

import pytest

from deputize.model.failure import ConfigurationError

AGENTS = "[agents.a]\n[agents.b]\n"
OIDC = """[[attestation]]
method = "oidc"
issuer = "https://i.example"
audience = "https://sts.example"
workload = "one"
agents = ["a"]
match = { sub = "repo:acme/x:main" }
"""
SPIFFE = """[[attestation]]
method = "spiffe"
issuer = "spiffe://prod.example"
audience = "https://sts.example"
jwks = "bundle.json"
workload = "one"
agents = ["a"]
match = { sub = "spiffe://prod.example/a" }
"""
UNIX = '[[attestation]]\nmethod = "unix"\nworkload = "one"\nagents = ["a"]\nmatch = { uid = "1000" }\n'
JOIN = '[[attestation]]\nmethod = "join"\nworkload = "one"\nagents = ["a"]\n'


def other(rule: str, *changes: tuple[str, str]) -> str:
    made = rule.replace('"one"', '"two"')
    for change in changes:
        made = made.replace(*change)
    return made


GOOD = {
    "every method": OIDC + SPIFFE.replace("one", "w") + UNIX.replace("one", "h") + JOIN.replace("one", "j"),
    "a resource server that hosts nobody": JOIN.replace('["a"]', "[]"),
    "two branches": OIDC + other(OIDC, ("main", "dev")),
    "told apart by one claim of two": OIDC.replace("}", ', env = "p" }')
    + other(OIDC, ("repo:acme/x:main", "repo:acme/*"), ("}", ', env = "d" }')),
    "two prefixes": OIDC.replace("acme/x:main", "acme/*") + other(OIDC, ("acme/x:main", "umbra/*")),
    "two audiences": OIDC + other(OIDC, ('"https://sts.example"', '"https://other.example"')),
    "two issuers": OIDC + other(OIDC, ("i.example", "j.example")),
    "the same workload twice": OIDC + OIDC.replace("main", "dev"),
    "the same workload in two ways, with other agents": OIDC + JOIN.replace('["a"]', '["b"]'),
    "claims with dots and URLs": OIDC.replace("sub =", '"https://x.example/y" = "z", "a.b".c.d ='),
    "shared tokens": OIDC + "single_use = false\n",
    "a socket of the Workload API": SPIFFE.replace("bundle.json", "unix:///run/agent.sock"),
    "two users": UNIX + other(UNIX, ("1000", "1001")),
    "a group": UNIX.replace("}", ', gid = "0" }'),
}
BAD: dict[str, tuple[str, str]] = {
    "one token, two workloads": (OIDC + other(OIDC), "attestation[1].match"),
    "a prefix that holds the other's value": (
        OIDC + other(OIDC, ("acme/x:main", "acme/*")),
        "attestation[1].match",
    ),
    "a prefix within the other's": (
        OIDC.replace("acme/x:main", "acme/*") + other(OIDC, ("acme/x:main", "acme/x:*")),
        "attestation[1].match",
    ),
    "different claims of one token": (OIDC + other(OIDC, ("sub =", "ref =")), "attestation[1].match"),
    "one rule with a claim more": (OIDC + other(OIDC, ("}", ', env = "p" }')), "attestation[1].match"),
    "one token, two methods": (OIDC + OIDC.replace('"oidc"', '"kubernetes"'), "attestation[1].match"),
    "one user, two workloads": (UNIX + other(UNIX), "attestation[1].match"),
    "one user, the group of one": (UNIX + other(UNIX, ("}", ', gid = "1" }')), "attestation[1].match"),
    "one SVID, two workloads": (SPIFFE + other(SPIFFE, ("/a", "/*")), "attestation[1].match"),
    "one way, other agents": (OIDC + OIDC.replace("main", "d").replace('["a"]', '["b"]'), "attestation[1].agents"),
    "join tokens of one workload, other agents": (JOIN + JOIN.replace('["a"]', '["b"]'), "attestation[1].agents"),
    "one issuer, keys from two places": (
        OIDC + other(OIDC, ("main", "dev")) + 'jwks = "keys.json"\n',
        "attestation[1].issuer",
    ),
    "every subject": (OIDC.replace('match = { sub = "repo:acme/x:main" }', ""), "attestation[0].match"),
    "every subject, by a star": (OIDC.replace("repo:acme/x:main", "*"), "attestation[0].match.sub"),
    "a star behind a name": (OIDC.replace("acme/x:main", "acme*"), "attestation[0].match.sub"),
    "a star in the middle": (OIDC.replace("acme/x:main", "*:main"), "attestation[0].match.sub"),
    "a claim compared with a number": (OIDC.replace('"repo:acme/x:main"', "7"), "attestation[0].match"),
    "an empty table": (OIDC.replace('"repo:acme/x:main"', "{}"), "attestation[0].match"),
    "an issuer without https": (OIDC.replace("https://i", "http://i"), "attestation[0].issuer"),
    "the issuer's own audience": (
        OIDC.replace('audience = "https://sts.example"', 'audience = "https://i.example"'),
        "attestation[0].audience",
    ),
    "no audience": (OIDC.replace('audience = "https://sts.example"\n', ""), "attestation[0].method"),
    "an agent twice": (OIDC.replace('["a"]', '["a", "a"]'), "attestation[0].agents"),
    "an SVID of any name": (
        SPIFFE.replace("prod.example/a", "prod.example/*").replace("/*", "*"),
        "attestation[0].match",
    ),
    "an SVID of another domain": (SPIFFE.replace("prod.example/a", "dev.example/a"), "attestation[0].match"),
    "an SVID whose domain begins alike": (
        SPIFFE.replace("prod.example/a", "prod.example.evil/a"),
        "attestation[0].match",
    ),
    "a bundle from nowhere": (SPIFFE.replace('jwks = "bundle.json"\n', ""), "attestation[0].jwks"),
    "keys over http": (OIDC + 'jwks = "http://i.example/keys"\n', "attestation[0].jwks"),
    "an issuer's keys by the Workload API": (OIDC + 'jwks = "unix:///run/agent.sock"\n', "attestation[0].jwks"),
    "a trust domain as URL": (
        SPIFFE.replace('issuer = "spiffe://', 'issuer = "https://'),
        "attestation[0].issuer",
    ),
    "any user": (UNIX.replace('uid = "1000"', 'gid = "1000"'), "attestation[0].match"),
    "the digest of a program": (UNIX.replace("}", ', program = "x" }'), "attestation[0].match"),
    "nobody": (UNIX.replace("1000", "65534"), "attestation[0].match.uid"),
    "a user by name": (UNIX.replace("1000", "alice"), "attestation[0].match.uid"),
    "a user by prefix": (UNIX.replace("1000", "1/*"), "attestation[0].match.uid"),
    "a user with zeros": (UNIX.replace("1000", "01000"), "attestation[0].match.uid"),
    "a user with an issuer": (UNIX + 'issuer = "https://i.example"\n', "attestation[0].issuer"),
    "a join token with claims": (JOIN + 'match = { sub = "x" }\n', "attestation[0].match"),
    "a join token for many": (JOIN + "single_use = false\n", "attestation[0].single_use"),
}


@pytest.mark.parametrize("name", GOOD)
def test_rules_that_no_evidence_confuses_are_read(loaded: Any, name: str) -> None:
    assert loaded(AGENTS + GOOD[name]).attestation_rules


@pytest.mark.requirement("WL-07")
@pytest.mark.parametrize("name", BAD)
def test_a_rule_that_could_be_mistaken_does_not_start(loaded: Any, name: str) -> None:
    text, key = BAD[name]
    with pytest.raises(ConfigurationError) as caught:
        loaded(AGENTS + text)
    assert caught.value.key == key
    assert caught.value.line is not None


def test_the_rules_on_the_page_are_read(loaded: Any) -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "attestation.md"
    block = page.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    made = loaded(block)
    assert [rule.method for rule in made.attestation_rules] == ["kubernetes", "oidc", "spiffe", "unix", "join"]
    assert ("kubernetes.io", "serviceaccount", "name") in made.attestation_rules[0].match


def test_a_relative_path_starts_at_the_file(loaded: Any, tmp_path: Path) -> None:
    rule = loaded(AGENTS + SPIFFE + 'ca_file = "ca.pem"\n').attestation_rules[0]
    assert (rule.jwks, rule.ca_file) == (str(tmp_path / "bundle.json"), str(tmp_path / "ca.pem"))
    for fixed in ("/etc/bundle.json", "https://spire.example/bundle", "unix:///run/agent.sock"):
        assert loaded(AGENTS + SPIFFE.replace("bundle.json", fixed)).attestation_rules[0].jwks == fixed
