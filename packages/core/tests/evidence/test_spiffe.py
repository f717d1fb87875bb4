"""The Workload API on a Unix socket: SVIDs of this process, bundles for those of others."""

from pathlib import Path
from typing import Any

import pytest

from deputize.authority import workloads
from deputize.authority.engine import Engine
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.authority.stores import store_of
from deputize.client.evidence import Spiffe, detect
from deputize.client.spiffe import WorkloadApiKeys, fetch_svid, workload_api_keys
from deputize.config import load
from deputize.model.failure import AttestationFailed, AuthorityUnavailable
from deputize.wire import jwt_svid
from deputize.wire.alg import generate
from deputize.wire.jws import peek

AUTHORITY = "https://sts.example"


def keys_of(address: str, clock: Any) -> WorkloadApiKeys:
    return WorkloadApiKeys(address, "prod.example", clock=clock)


@pytest.mark.requirement("WL-01")
def test_an_svid_that_was_fetched_holds_by_the_bundle_that_was_fetched(workload_api: Any, clock: Any) -> None:
    service, address = workload_api
    token = fetch_svid(address, AUTHORITY)
    keys = keys_of(address, clock)
    found = jwt_svid.decode(
        token, trust_domain="prod.example", audience={AUTHORITY}, key_for=keys.key_for, now=clock.now()
    )
    assert found.sub == "spiffe://prod.example/ns/churn/sa/agents"
    assert service.asked == ["svid", "bundle"]


def test_a_bundle_is_read_seldom_and_rotation_is_followed(workload_api: Any, clock: Any) -> None:
    service, address = workload_api
    keys, header = keys_of(address, clock), peek(fetch_svid(address, AUTHORITY))
    assert keys.key_for(header) is not None
    assert keys.key_for(header) is not None
    assert service.asked.count("bundle") == 1
    service.key = generate()
    service.published.append(service.key)
    newer = peek(fetch_svid(address, AUTHORITY))
    assert keys.key_for(newer) is None  # asked a moment ago
    clock.advance(10)
    assert keys.key_for(newer) is not None
    service.published = [service.key]
    clock.advance(300)
    assert keys.key_for(header) is None
    assert service.asked.count("bundle") == 3


def test_a_bundle_of_another_trust_domain_is_none_of_this_one(workload_api: Any, clock: Any) -> None:
    service, address = workload_api
    header = peek(fetch_svid(address, AUTHORITY))
    service.domain = "dev.example"
    assert keys_of(address, clock).key_for(header) is None


def test_while_the_workload_api_is_gone_its_bundle_is_believed_for_an_hour(workload_api: Any, clock: Any) -> None:
    service, address = workload_api
    keys, header = keys_of(address, clock), peek(fetch_svid(address, AUTHORITY))
    keys.key_for(header)
    service.registered = False
    clock.advance(3599)
    assert keys.key_for(header) is not None
    clock.advance(1)
    with pytest.raises(AuthorityUnavailable):
        keys.key_for(header)


def test_nothing_is_believed_that_was_never_read(clock: Any, tmp_path: Path, workload_api: Any) -> None:
    _, address = workload_api
    header = peek(fetch_svid(address, AUTHORITY))
    with pytest.raises(AuthorityUnavailable):
        keys_of(f"unix://{tmp_path}/none.sock", clock).key_for(header)


@pytest.mark.parametrize("address", ["", "nowhere", "http://127.0.0.1", "unix:///no/such/socket"])
def test_a_workload_api_that_is_not_there_gives_no_evidence(address: str) -> None:
    with pytest.raises(AttestationFailed):
        fetch_svid(address, AUTHORITY)


def test_a_process_that_is_not_registered_gets_no_svid(workload_api: Any) -> None:
    service, address = workload_api
    service.registered = False
    with pytest.raises(AttestationFailed):
        fetch_svid(address, AUTHORITY)


CONFIGURATION = """
[authority]
issuer = "https://sts.example"
trust_domain = "example.org"
[agents.researcher]
[[attestation]]
method = "spiffe"
issuer = "spiffe://prod.example"
audience = "https://sts.example"
jwks = "{address}"
workload = "mesh"
agents = ["researcher"]
match = {{ sub = "spiffe://prod.example/ns/churn/*" }}
"""


@pytest.mark.requirement("WL-01")
def test_a_workload_of_the_mesh_is_attested_from_end_to_end(workload_api: Any, clock: Any, tmp_path: Path) -> None:
    _, address = workload_api
    path = tmp_path / "deputize.toml"
    path.write_text(CONFIGURATION.format(address=address), encoding="utf-8")
    configuration = load(path, environ={"DEPUTIZE_STORE_URL": "sqlite::memory:"})
    engine = Engine(configuration, store=store_of(configuration), clock=clock)
    attestor = detect(AUTHORITY, {"SPIFFE_ENDPOINT_SOCKET": address})
    assert isinstance(attestor, Spiffe)
    keys = EvidenceKeys(clock=clock, bundles=workload_api_keys(clock))
    evidence, key = attestor.evidence(AUTHORITY), generate()
    found = workloads.attest(engine.parts, keys, evidence, jwk=key.public_jwk(), jkt=key.kid)
    assert found.workload == "spiffe://example.org/workload/mesh"
    with pytest.raises(AuthorityUnavailable):
        workloads.attest(
            engine.parts, EvidenceKeys(clock=clock), attestor.evidence(AUTHORITY), jwk=key.public_jwk(), jkt=key.kid
        )
    engine.close()
