"""Identities of agents for the workloads that host them, renewal, and what ends both."""

from dataclasses import replace
from typing import Any

import pytest

from deputize.authority import client_auth, joining, workloads
from deputize.model.failure import AttestationFailed, DeputizeError, InvalidToken, UnknownAgent
from deputize.model.request import Client, WorkloadEvidence
from deputize.model.revocation import Kind
from deputize.wire.alg import generate

CHURN = "spiffe://example.org/workload/churn"
RESEARCHER = "spiffe://example.org/agent/researcher"


def code_of(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(DeputizeError) as caught:
        call(*arguments, **options)
    return caught.value.code


def identified(site: Any, client: Client, agent: str) -> Any:
    key = generate()
    return workloads.identify(site.parts, client, agent, jwk=key.public_jwk(), jkt=key.kid)


@pytest.mark.parametrize("name", ["researcher", RESEARCHER])
def test_a_workload_gets_an_identity_for_each_agent_that_it_hosts(site: Any, name: str) -> None:
    key, workload = site.workload()
    own, found = site.agent(name, key, workload.token)
    client = site.ask(own, found.token)
    assert client == Client(
        agent=RESEARCHER,
        jkt=own.kid,
        workload=CHURN,
        attestation="kubernetes",
        attested=int(site.clock.now()),
    )
    body = site.body("identity.issued")
    assert (body["agent"], body["workload"], body["jti"]) == (RESEARCHER, CHURN, found.claims.jti)
    assert body["detail"]["method"] == "kubernetes"


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        ("builder", AttestationFailed),  # another workload's
        ("auditor", AttestationFailed),  # named by the rule, but accepts SPIFFE alone
        ("local", AttestationFailed),
        ("nobody", UnknownAgent),
        ("spiffe://prod.example/agent/researcher", UnknownAgent),
        (CHURN, UnknownAgent),
        ("", UnknownAgent),
    ],
)
def test_an_agent_that_the_workload_does_not_host_is_refused_and_recorded(
    site: Any, agent: str, kind: type[DeputizeError]
) -> None:
    key, workload = site.workload()
    client = site.ask(key, workload.token)
    with pytest.raises(kind):
        identified(site, client, agent)
    assert not site.records("identity.issued")
    assert site.body("identity.denied")["workload"] == CHURN


def test_the_same_agent_may_be_hosted_by_a_workload_that_it_accepts(site: Any) -> None:
    key, workload = site.workload(site.svid())
    _, found = site.agent("auditor", key, workload.token)
    assert found.claims.sub == "spiffe://example.org/agent/auditor"


def test_an_agent_begets_no_identities(site: Any) -> None:
    key, workload = site.workload()
    own, found = site.agent("supervisor", key, workload.token)
    client = site.ask(own, found.token)
    assert code_of(identified, site, client, "researcher") == "attestation_failed"
    assert code_of(workloads.renew, site.parts, client, jwk=own.public_jwk()) == "attestation_failed"


def test_an_agent_has_a_key_of_its_own(site: Any) -> None:
    key, workload = site.workload()
    client = site.ask(key, workload.token)
    code = code_of(workloads.identify, site.parts, client, "researcher", jwk=key.public_jwk(), jkt=key.kid)
    assert code == "invalid_dpop_proof"


def test_the_key_that_is_bound_is_the_one_that_was_proved(site: Any) -> None:
    key, workload = site.workload()
    client, other = site.ask(key, workload.token), generate()
    code = code_of(workloads.identify, site.parts, client, "researcher", jwk=other.public_jwk(), jkt=generate().kid)
    assert code == "invalid_dpop_proof"
    assert not site.records("identity.issued")


def test_a_rule_that_is_taken_out_ends_what_it_began(site: Any) -> None:
    key, workload = site.workload()
    client = site.ask(key, workload.token)
    own, found = site.agent("researcher", key, workload.token)
    site.apply('["supervisor", "researcher", "auditor"]', '["supervisor"]')
    assert code_of(identified, site, client, "researcher") == "attestation_failed"
    assert code_of(site.ask, own, found.token) == "invalid_client"
    assert site.ask(key, workload.token).agent == CHURN
    site.apply('workload = "churn"', 'workload = "other"')
    assert code_of(site.ask, key, workload.token) == "invalid_client"
    assert code_of(workloads.renew, site.parts, client, jwk=key.public_jwk()) == "attestation_failed"


def test_an_agent_that_restricts_its_methods_is_hosted_no_more(site: Any) -> None:
    key, workload = site.workload()
    own, found = site.agent("researcher", key, workload.token)
    site.apply("[agents.researcher]\n", '[agents.researcher]\nattestation = ["spiffe", "join"]\n')
    assert code_of(site.ask, own, found.token) == "invalid_client"


def test_a_workload_that_was_proved_one_way_is_not_the_one_of_another(site: Any) -> None:
    """The rule is looked up by workload and method: the join rule of a name does not carry its cluster identity."""
    key, workload = site.workload()
    site.apply('method = "join"\nworkload = "edge"', 'method = "join"\nworkload = "churn"')
    assert site.ask(key, workload.token).attestation == "kubernetes"
    client = replace(site.ask(key, workload.token), attestation="join")
    assert code_of(identified, site, client, "supervisor") == "attestation_failed"


def test_renewal_keeps_key_and_evidence(site: Any) -> None:
    key, workload = site.workload()
    begun = int(site.clock.now())
    site.clock.advance(600)
    client = site.ask(key, workload.token)
    again = workloads.renew(site.parts, client, jwk=key.public_jwk(), jkt=key.kid)
    assert again.claims.jwk == workload.claims.jwk
    assert again.exp == begun + 600 + 900
    assert again.claims.context is not None
    assert again.claims.context.attested == begun
    assert site.body("workload.renewed")["jti"] == again.claims.jti
    other = generate()
    code = code_of(workloads.renew, site.parts, client, jwk=other.public_jwk(), jkt=other.kid)
    assert code == "invalid_dpop_proof"


@pytest.mark.requirement("WL-02")
@pytest.mark.parametrize(("method", "days"), [("kubernetes", 1), ("join", 30)])
def test_after_its_time_a_workload_shows_evidence_again(site: Any, method: str, days: int) -> None:
    began = int(site.clock.now())
    workload = CHURN if method == "kubernetes" else "spiffe://example.org/workload/edge"
    key = generate()
    client = Client(agent=workload, jkt=key.kid, workload=workload, attestation=method, attested=began)
    site.clock.advance(days * 86_400 - 1)
    assert workloads.renew(site.parts, client, jwk=key.public_jwk()).workload == workload
    assert identified(site, client, "researcher").claims.sub == RESEARCHER
    site.clock.advance(1)
    assert code_of(workloads.renew, site.parts, client, jwk=key.public_jwk()) == "evidence_too_old"
    assert code_of(identified, site, client, "researcher") == "evidence_too_old"


def test_a_suspended_agent_gets_no_identity_and_authenticates_with_none(site: Any) -> None:
    key, workload = site.workload()
    client = site.ask(key, workload.token)
    own, found = site.agent("researcher", key, workload.token)
    site.engine.revoke(Kind.AGENT, RESEARCHER, reason="test")
    assert code_of(identified, site, client, "researcher") == "agent_suspended"
    assert code_of(site.ask, own, found.token) == "invalid_client"
    assert site.ask(key, workload.token).agent == CHURN


def test_an_identity_dies_with_the_key_that_signed_it_and_when_it_is_revoked(site: Any) -> None:
    key, workload = site.workload()
    own, found = site.agent("researcher", key, workload.token)
    site.engine.revoke(Kind.TOKEN, found.claims.jti, reason="test")
    assert code_of(site.ask, own, found.token) == "invalid_client"
    assert site.ask(key, workload.token).agent == CHURN
    signer = site.parts.keys.signer().kid
    site.engine.revoke(Kind.KEY, signer, reason="test")
    assert code_of(site.ask, key, workload.token) == "invalid_client"


def test_an_identity_of_the_embedded_authority_is_nothing_from_outside(site: Any) -> None:
    held = site.engine.identity("spiffe://example.org/agent/local")
    assert code_of(site.ask, held.key, held.token) == "invalid_client"
    assert held.client.attested == 0


def test_a_replica_knows_the_client_of_another_by_its_identity_alone(site: Any) -> None:
    key, workload = site.workload()
    own, found = site.agent("researcher", key, workload.token)
    other = site.replica()
    shown = site.credentials(own, found.token)
    client = client_auth.client_of(other.parts, site.tokens, shown)
    assert (client.agent, client.workload, client.attestation) == (RESEARCHER, CHURN, "kubernetes")


def test_a_resource_server_is_a_workload_that_hosts_nobody(site: Any) -> None:
    made = joining.enroll(site.parts, "crm-server", by="alice")
    key = generate()
    found = site.attest(WorkloadEvidence(kind="join", token=made.token), key)
    assert site.hosted(found) == ()
    assert site.ask(key, found.token).agent == "spiffe://example.org/workload/crm-server"
    assert code_of(identified, site, site.ask(key, found.token), "researcher") == "attestation_failed"


def test_a_key_with_a_private_member_is_refused(site: Any) -> None:
    key = generate()
    evidence = WorkloadEvidence(kind="jwt", token=site.pod())
    with pytest.raises(InvalidToken):
        workloads.attest(site.parts, site.keys, evidence, jwk={**key.public_jwk(), "d": "A" * 43}, jkt=key.kid)
