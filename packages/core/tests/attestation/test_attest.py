"""Evidence from outside: what proves a workload, what proves nobody, and that it works once."""

from typing import Any

import pytest

from deputize.authority import joining, workloads
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.config import load
from deputize.model.failure import AttestationFailed, AuthorityUnavailable, DeputizeError, InvalidToken
from deputize.model.request import WorkloadEvidence
from deputize.wire import identity_token
from deputize.wire.alg import generate

CHURN = "spiffe://example.org/workload/churn"


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(AttestationFailed) as caught:
        call(*arguments, **options)
    return caught.value.code


def nothing_attested(site: Any) -> bool:
    return not site.records("workload.attested")


@pytest.mark.requirement("WL-07")
def test_a_projected_service_account_token_proves_its_workload(site: Any) -> None:
    key = generate()
    found = site.jwt(site.pod(), key)
    claims = identity_token.decode(
        found.token, issuer="https://sts.example", key_for=site.parts.keys.verifying, now=site.clock.now()
    )
    assert (claims.sub, claims.jwk, claims.exp) == (CHURN, key.public_jwk(), site.clock.now() + 900)
    assert claims.context is not None
    assert (claims.context.workload, claims.context.method) == (CHURN, "kubernetes")
    assert claims.context.attested == site.clock.now()
    assert (found.workload, found.method, found.exp) == (CHURN, "kubernetes", claims.exp)
    # The auditor is named by the rule, and accepts SPIFFE alone.
    assert [agent.rpartition("/")[2] for agent in site.hosted(found)] == ["researcher", "supervisor"]


@pytest.mark.requirement("WL-07")
def test_a_job_of_a_ci_provider_proves_its_workload(site: Any) -> None:
    found = site.jwt(site.job())
    assert (found.workload, found.method) == ("spiffe://example.org/workload/ci", "oidc")


@pytest.mark.requirement("WL-01")
def test_an_svid_of_the_trust_domain_proves_its_workload(site: Any) -> None:
    found = site.jwt(site.svid())
    assert (found.workload, found.method) == ("spiffe://example.org/workload/mesh", "spiffe")
    assert [agent.rpartition("/")[2] for agent in site.hosted(found)] == ["auditor", "researcher"]


def test_the_user_at_the_other_end_of_a_socket_proves_its_workload(site: Any) -> None:
    assert site.peer(1000).workload == "spiffe://example.org/workload/host"
    assert refused(site.peer, 1001) == "attestation_failed"
    assert refused(site.peer, 65534) == "attestation_failed"
    assert refused(site.attest, WorkloadEvidence(kind="unix")) == "attestation_failed"


def test_the_record_names_evidence_and_holds_none_of_it(site: Any) -> None:
    token = site.pod()
    found = site.jwt(token)
    body = site.body("workload.attested")
    assert (body["workload"], body["outcome"], body["jti"]) == (CHURN, "permitted", found.claims.jti)
    assert body["detail"]["issuer"] == site.cluster.url
    assert body["detail"]["subject"] == "system:serviceaccount:churn:agents"
    assert len(body["detail"]["evidence"]) == 64
    raw = site.records("workload.attested")[-1].body
    assert token.split(".")[2].encode() not in raw
    assert found.token not in repr(found)
    assert token not in repr(WorkloadEvidence(kind="jwt", token=token))


WRONG_PODS: dict[str, dict[str, object]] = {
    "another namespace": {"namespace": "other"},
    "another account": {"account": "other"},
    "an account that only begins alike": {"account": "agents-2"},
    "no kubernetes claim": {"kubernetes.io": None},
    "the path as one flat claim": {
        "kubernetes.io": None,
        "kubernetes.io.namespace": "churn",
        "kubernetes.io.serviceaccount.name": "agents",
    },
    "the path split at every dot": {
        "kubernetes.io": None,
        "kubernetes": {"io": {"namespace": "churn", "serviceaccount": {"name": "agents"}}},
    },
    "a list that holds the name": {"kubernetes.io": {"namespace": ["churn"], "serviceaccount": {"name": "agents"}}},
    "an audience beside ours": {"aud": ["https://sts.example", "https://other.example"]},
    "the API server's audience": {"aud": ["https://kubernetes.default.svc"]},
    "our audience with a slash": {"aud": ["https://sts.example/"]},
    "no audience": {"aud": None},
    "no end": {"exp": None},
    "no beginning": {"iat": None},
    "over": {"exp": 1_749_999_000},
    "not yet": {"nbf": 1_750_000_600},
    "good for a year": {"exp": 1_781_536_000},
    "another issuer's name": {"iss": "https://other.example"},
    "an issuer with a slash more": {"iss": "slash"},
    "no issuer": {"iss": None},
}


@pytest.mark.requirement("WL-07")
@pytest.mark.requirement("A-15")
@pytest.mark.parametrize("name", WRONG_PODS)
def test_a_token_that_differs_in_one_thing_proves_nobody(standing: Any, name: str) -> None:
    changes = dict(WRONG_PODS[name])
    if changes.get("iss") == "slash":
        changes["iss"] = standing.cluster.url + "/"
    assert refused(standing.jwt, standing.pod(**changes)) == "attestation_failed"
    assert nothing_attested(standing)


WRONG_JOBS: dict[str, dict[str, object]] = {
    "a fork": {"repository": "mallory/agents"},
    "a repository that begins alike": {"repository": "acme/agents-evil"},
    "another branch": {"ref": "refs/heads/main2"},
    "a claim that is no text": {"ref": True},
    "upper case": {"repository": "ACME/agents", "sub": "repo:acme/agents:ref:refs/heads/main"},
}


@pytest.mark.requirement("WL-07")
@pytest.mark.parametrize("name", WRONG_JOBS)
def test_a_job_that_no_rule_names_proves_nobody(standing: Any, name: str) -> None:
    assert refused(standing.jwt, standing.job(**WRONG_JOBS[name])) == "attestation_failed"
    assert nothing_attested(standing)


@pytest.mark.requirement("WL-07")
def test_a_token_of_one_issuer_does_not_fit_the_rule_of_another(site: Any) -> None:
    """A CI job that writes the claims of a pod."""
    forged = site.job(**{"kubernetes.io": {"namespace": "churn", "serviceaccount": {"name": "agents"}}}, ref="x")
    assert refused(site.jwt, forged) == "attestation_failed"


@pytest.mark.requirement("JW-02")
def test_a_key_of_one_issuer_signs_nothing_for_another(site: Any) -> None:
    forged = site.ci.mint({"iss": site.cluster.url, "aud": ["https://sts.example"], "sub": "x"}, typ=None)
    assert refused(site.jwt, forged) == "attestation_failed"


@pytest.mark.requirement("WL-06")
def test_an_issuer_that_no_rule_names_is_never_asked_for_keys(site: Any, other_issuer: Any) -> None:
    token = other_issuer.mint({"aud": ["https://sts.example"], "sub": "system:serviceaccount:churn:agents"})
    assert refused(site.jwt, token) == "attestation_failed"
    assert not other_issuer.requests
    assert not site.cluster.requests
    assert not site.ci.requests


@pytest.mark.requirement("WL-06")
def test_a_trust_domain_that_no_rule_names_has_no_bundle(site: Any) -> None:
    assert refused(site.jwt, site.svid("spiffe://dev.example/ns/churn/sa/agents")) == "attestation_failed"
    assert refused(site.jwt, site.svid("spiffe://dev.example/ns/churn/x", iss=site.ci.url)) == "attestation_failed"


@pytest.mark.requirement("A-15")
@pytest.mark.requirement("WL-02")
@pytest.mark.parametrize("kind", ["pod", "job", "svid"])
def test_evidence_that_was_stolen_after_its_use_gets_nothing(site: Any, kind: str) -> None:
    token = getattr(site, kind)()
    owner = generate()
    site.jwt(token, owner)
    assert refused(site.jwt, token) == "evidence_replayed"
    body = site.body("workload.denied")
    assert (body["code"], body["outcome"]) == ("evidence_replayed", "denied")
    assert len(site.records("workload.attested")) == 1
    # Its owner, whose answer was lost, may show it again: the result is bound to the same key.
    assert site.jwt(token, owner).claims.jwk == owner.public_jwk()


@pytest.mark.requirement("A-15")
def test_evidence_is_used_up_on_every_replica(site: Any) -> None:
    token = site.pod()
    site.jwt(token)
    other, key = site.replica(), generate()
    evidence = WorkloadEvidence(kind="jwt", token=token)
    keys = EvidenceKeys(clock=site.clock)
    code = refused(workloads.attest, other.parts, keys, evidence, jwk=key.public_jwk(), jkt=key.kid)
    assert code == "evidence_replayed"


@pytest.mark.requirement("A-15")
def test_the_second_signature_that_holds_too_is_no_second_token(site: Any) -> None:
    """(r, s) and (r, n - s) both verify: evidence is counted by what it says, not by its bytes."""
    token = site.svid()
    site.jwt(token)
    head, body, signature = token.split(".")
    raw = site.decoded(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    assert refused(site.jwt, f"{head}.{body}.{site.encoded(other)}") == "evidence_replayed"


def test_several_processes_may_share_a_token_where_the_rule_says_so(site: Any) -> None:
    token = site.pod(namespace="pool")
    first, second = site.jwt(token), site.jwt(token)
    assert first.workload == second.workload == "spiffe://example.org/workload/pool"
    assert first.claims.jwk != second.claims.jwk


def test_while_keys_cannot_be_had_nobody_is_attested(site: Any) -> None:
    site.cluster.down()
    with pytest.raises(AuthorityUnavailable):
        site.jwt(site.pod())
    assert nothing_attested(site)


@pytest.mark.requirement("WL-02")
def test_the_key_of_the_identity_is_the_one_that_was_proved(site: Any) -> None:
    mine, thiefs = generate(), generate()
    evidence = WorkloadEvidence(kind="jwt", token=site.pod())
    with pytest.raises(InvalidToken) as caught:
        workloads.attest(site.parts, site.keys, evidence, jwk=thiefs.public_jwk(), jkt=mine.kid)
    assert caught.value.code == "invalid_dpop_proof"
    assert nothing_attested(site)


SVIDS: dict[str, dict[str, Any]] = {
    "typ absent": {"typ": None},
    "typ JOSE": {"typ": "JOSE"},
    "aud as text": {"aud": "https://sts.example"},
    "no iat": {"iat": None},
    "with a jti": {"jti": "a"},
}


@pytest.mark.requirement("WL-01")
@pytest.mark.parametrize("name", SVIDS)
def test_every_form_that_an_svid_may_have_is_accepted(site: Any, name: str) -> None:
    assert site.jwt(site.svid(**SVIDS[name])).method == "spiffe"


WRONG_SVIDS: dict[str, dict[str, Any]] = {
    "typ at+jwt": {"typ": "at+jwt"},
    "typ wit+jwt": {"typ": "wit+jwt"},
    "a header member more": {"header": {"cty": "x"}},
    "a key that it brings along": {"header": {"jwk": {"kty": "EC"}}},
    "a URL for keys": {"header": {"jku": "https://mallory.example/keys"}},
    "an audience beside ours": {"aud": ["https://sts.example", "https://other.example"]},
    "no audience": {"aud": []},
    "another audience": {"aud": ["https://other.example"]},
    "no end": {"exp": None},
    "over": {"exp": 1_749_999_990},
    "a subject that is no SPIFFE ID": {"sub": "ns/churn/sa/agents"},
    "a trust domain without path": {"sub": "spiffe://prod.example"},
    "dots in the path": {"sub": "spiffe://prod.example/ns/churn/../admin"},
    "upper case in the trust domain": {"sub": "spiffe://PROD.example/ns/churn/sa/agents"},
    "a port": {"sub": "spiffe://prod.example:80/ns/churn/sa/agents"},
    "another namespace": {"sub": "spiffe://prod.example/ns/other/sa/agents"},
    "a namespace that begins alike": {"sub": "spiffe://prod.example/ns/churning/sa"},
}


@pytest.mark.requirement("WL-01")
@pytest.mark.parametrize("name", WRONG_SVIDS)
def test_an_svid_that_differs_in_one_thing_proves_nobody(standing: Any, name: str) -> None:
    options = dict(WRONG_SVIDS[name])
    sub = options.pop("sub", "spiffe://prod.example/ns/churn/sa/agents")
    assert refused(standing.jwt, standing.svid(sub, **options)) == "attestation_failed"
    assert nothing_attested(standing)


@pytest.mark.requirement("WL-01")
@pytest.mark.parametrize("use", ["sig", "x509-svid", "enc", None])
def test_a_key_whose_use_is_another_signs_no_svid(site: Any, use: str | None) -> None:
    site.publish(site.svid_key, use=use)
    assert refused(site.jwt, site.svid()) == "attestation_failed"


@pytest.mark.requirement("WL-01")
def test_an_eddsa_svid_is_refused(site: Any) -> None:
    key = generate("EdDSA")
    site.publish(key)
    assert refused(site.jwt, site.svid(key=key)) == "attestation_failed"


@pytest.mark.requirement("WL-01")
def test_a_key_of_another_trust_domain_signs_nothing_here(site: Any) -> None:
    """Another domain's bundle, with a key under the `kid` of this one's."""
    site.jwt(site.svid())
    forged = site.svid(key=generate(), header={"kid": site.svid_key.kid})
    assert refused(site.jwt, forged) == "attestation_failed"


def test_a_join_token_works_once_and_for_one_key(site: Any) -> None:
    made = joining.enroll(site.parts, "edge", by="alice")
    assert made.token not in repr(made)
    assert made.expires == site.clock.now() + 600
    owner, evidence = generate(), WorkloadEvidence(kind="join", token=made.token)
    assert site.attest(evidence, owner).workload == "spiffe://example.org/workload/edge"
    assert refused(site.attest, evidence) == "evidence_replayed"
    assert site.attest(evidence, owner).method == "join"
    assert site.body("workload.enrolled")["detail"]["by"] == "alice"


def test_a_join_token_stands_nowhere_in_the_store(site: Any) -> None:
    made = joining.enroll(site.parts, "edge", by="alice")
    site.attest(WorkloadEvidence(kind="join", token=made.token))
    for file in site.folder.glob("deputize.db*"):
        assert made.token.encode() not in file.read_bytes()
        assert made.token.removeprefix("deputize-join-").encode() not in file.read_bytes()


def test_a_join_token_expires(site: Any) -> None:
    made = joining.enroll(site.parts, "edge", by="alice", ttl=60)
    site.clock.advance(60)
    assert refused(site.attest, WorkloadEvidence(kind="join", token=made.token)) == "attestation_failed"
    assert nothing_attested(site)


@pytest.mark.parametrize("token", ["", "x", "deputize-join-" + "A" * 43, "join:" + "a" * 64, "\udcff", "é"])
def test_a_join_token_that_nobody_made_proves_nobody(standing: Any, token: str) -> None:
    joining.enroll(standing.parts, "edge", by="alice")
    assert refused(standing.attest, WorkloadEvidence(kind="join", token=token)) == "attestation_failed"


def test_a_join_token_made_on_one_replica_is_used_up_on_the_other(site: Any) -> None:
    made = joining.enroll(site.replica().parts, "edge", by="alice")
    evidence = WorkloadEvidence(kind="join", token=made.token)
    site.attest(evidence)
    key = generate()
    other = site.replica().parts
    assert refused(workloads.attest, other, site.keys, evidence, jwk=key.public_jwk()) == "evidence_replayed"


def test_nobody_is_enrolled_without_a_rule_or_for_longer_than_a_day(site: Any) -> None:
    assert refused(joining.enroll, site.parts, "churn", by="alice") == "attestation_failed"
    assert refused(joining.enroll, site.parts, "nobody", by="alice") == "attestation_failed"
    with pytest.raises(DeputizeError) as caught:
        joining.enroll(site.parts, "edge", by="alice", ttl=86_401)
    assert caught.value.code == "invalid_ttl"
    assert not site.records("workload.enrolled")


def test_a_join_token_ends_with_its_rule(site: Any) -> None:
    made = joining.enroll(site.parts, "edge", by="alice")
    site.apply('method = "join"\nworkload = "edge"', 'method = "join"\nworkload = "border"')
    assert refused(site.attest, WorkloadEvidence(kind="join", token=made.token)) == "attestation_failed"


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30.", "x" * 20_000, "é.é.é", "\udcff.a.b"])
def test_what_is_no_token_proves_nobody(standing: Any, token: str) -> None:
    assert refused(standing.jwt, token) == "attestation_failed"


@pytest.mark.requirement("A-17")
def test_every_stranger_is_told_the_same_code(site: Any) -> None:
    codes = {
        refused(site.jwt, site.pod(namespace="other")),
        refused(site.jwt, site.pod(aud="x")),
        refused(site.jwt, "x"),
        refused(site.attest, WorkloadEvidence(kind="join", token="x")),
        refused(site.peer, 7),
    }
    assert codes == {"attestation_failed"}
    assert not site.records("workload.denied")


def test_the_configuration_of_this_site_holds(site: Any) -> None:
    rules = load(site.path, environ={}).attestation_rules
    assert dict(rules[0].match) == {
        ("kubernetes.io", "namespace"): "churn",
        ("kubernetes.io", "serviceaccount", "name"): "agents",
    }
