"""What a client may know of agents is what the rules of now say of its workload."""

from pathlib import Path

from deputize import Authority
from deputize.authority.visible import hosted, registry_for
from deputize.model.request import Client

CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
[agents.auditor]
open = true
use = { local = ["look"] }
[agents.treasurer]
open = true
use = { local = ["pay"] }
[[attestation]]
method = "join"
workload = "embedded"
agents = ["auditor"]
"""
AUDITOR = "spiffe://example.org/agent/auditor"


def test_a_workload_that_is_named_like_the_authoritys_own_process_hosts_what_its_rule_says_and_no_more(
    tmp_path: Path,
) -> None:
    (tmp_path / "deputize.toml").write_text(CONFIGURATION, encoding="utf-8")
    with Authority.open(tmp_path / "deputize.toml", store="sqlite::memory:") as authority:
        parts = authority.embedded("it").parts
        name = "spiffe://example.org/workload/embedded"
        client = Client(agent=name, jkt="k", workload=name, attestation="join")
        assert hosted(parts, client) == (AUDITOR,)
        assert set(registry_for(parts.rules.registry, hosted(parts, client)).agents) == {AUDITOR}
