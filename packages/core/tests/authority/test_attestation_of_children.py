"""How an agent was attested is its own: what it is handed is decided by that, not by how its giver was."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deputize.authority.engine import Engine
from deputize.authority.issuing import issue_identity
from deputize.authority.refusal import Case
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.model.failure import Denied
from deputize.model.request import AccessRequest, Client, HandOffRequest, RootRequest
from deputize.model.session import Evidence, Mode
from deputize.testing import FakeClock
from deputize.wire.alg import generate

CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
users = "unrestricted"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.boss]
open = true
delegate = { crm = ["crm:read"] }
delegate_to = ["worker"]
[agents.worker]
use = { crm = ["crm:read"] }
[[attestation]]
method = "join"
workload = "churn"
agents = ["worker"]
[[attestation]]
method = "unix"
workload = "churn"
match = { uid = "4242" }
agents = ["boss", "worker"]
"""
POLICY = """
@id("unix-only")
forbid (principal == Agent::"spiffe://example.org/agent/worker", action == Action::"use", resource)
unless { context.attestation == "unix" };
"""
BOSS, WORKER = "spiffe://example.org/agent/boss", "spiffe://example.org/agent/worker"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "deputize.toml").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "attested.cedar").write_text(POLICY, encoding="utf-8")
    configuration = load(tmp_path / "deputize.toml")
    found = Engine(configuration, store=store_of(configuration), clock=FakeClock(), follows=True)
    yield found
    found.close()


def attested(engine: Engine, agent: str, method: str) -> tuple[Client, str]:
    """An agent of the workload, proved by `method`, and its identity."""
    key = generate()
    client = Client(
        agent=agent,
        jkt=key.kid,
        workload="spiffe://example.org/workload/churn",
        attestation=method,
        attested=int(engine.parts.now()),
    )
    jwk = {name: str(value) for name, value in key.public_jwk().items()}
    case = Case("identity.denied", client, engine.parts.rules)
    return client, issue_identity(engine.parts, case, jwk, event="identity.issued").token


def handed(engine: Engine, actor: str) -> Any:
    boss, _ = attested(engine, BOSS, "unix")
    asked = RootRequest(mode=Mode.ON_BEHALF_OF, user="local|alice", evidence=Evidence.ASSERTED)
    root = engine.open_root_of(boss, asked)
    return engine.hand_off_of(boss, HandOffRequest(subject_token=root.token, actor_token=actor, to=WORKER))


@pytest.mark.requirement("A-06", "WL-02")
def test_a_child_is_attested_as_its_own_agent_was_and_not_as_its_giver(engine: Engine) -> None:
    worker, identity = attested(engine, WORKER, "join")
    child = handed(engine, identity)
    assert child.node.attestation == "join"
    request = AccessRequest(subject_token=child.token, resource="crm", scopes=frozenset({"crm:read"}))
    with pytest.raises(Denied) as refused:
        engine.access_of(worker, request)
    assert refused.value.denial.policy == "unix-only"
    with pytest.raises(Denied):
        engine.access_of(replace(worker, attestation="unix"), request)  # what decides is what the session says


def test_a_child_whose_agent_was_attested_as_the_policy_asks_may_use_it(engine: Engine) -> None:
    worker, identity = attested(engine, WORKER, "unix")
    child = handed(engine, identity)
    request = AccessRequest(subject_token=child.token, resource="crm", scopes=frozenset({"crm:read"}))
    assert engine.access_of(worker, request).grant.resource == "https://crm.example/mcp"
