"""What was spent before the server's process ended stays spent after another took its place (CVE-2026-9802)."""

import pytest

from deputize.wire.alg import generate
from tests.http.raw import CRM, LOCAL, Cast, details

BOTH = details({CRM: ["crm:read"], LOCAL: ["tool:search"]})
CALL = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}


@pytest.mark.requirement("I12", "CA-04", "DP-06", "A-04", "A-15")
@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_what_was_used_before_a_restart_is_refused_after_it(fresh: Cast, *, killed: bool) -> None:
    reader, world = fresh.reader, fresh.world
    token = reader.root(rights=BOTH)
    assertion, other = reader.credentials(), reader.credentials()
    join, prover = world.enrolled("churn"), reader.proof("/token")
    asked, called = reader.proof("/token"), reader.proof("/calls", token=token)
    assert reader.send("/registry", {}, credentials=assertion, proofs=()).status_code == 200
    assert reader.send("/token", reader.access_fields(token), credentials=other, proofs=[asked]).status_code == 200
    assert reader.hold("/calls", token, CALL, proofs=[called]).status_code == 200
    assert reader.send("/token", join, credentials=(), proofs=[prover]).status_code == 200
    world.restart(killed=killed)
    size, grants = world.size(), len(_grants(fresh))
    fresh.refused(
        reader.send("/registry", {}, credentials=assertion, proofs=()), size, status=401, error="invalid_client"
    )
    for credentials, proof in ((other, reader.proof("/token")), (assertion, reader.proof("/token"))):
        answer = reader.send("/token", reader.access_fields(token), credentials=credentials, proofs=[proof])
        fresh.refused(answer, size, status=401, error="invalid_client")
    again = reader.send("/token", reader.access_fields(token), proofs=[asked])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_dpop_proof")
    again = reader.hold("/calls", token, CALL, proofs=[called])
    assert (again.status_code, again.json()["error"]) == (401, "invalid_dpop_proof")
    again = reader.send("/token", join, credentials=(), prover=generate())  # by the same key it would be a retry
    assert (again.status_code, again.json()) == (400, {"error": "invalid_grant"})
    assert len(_grants(fresh)) == grants
    assert reader.hold("/calls", token, CALL).status_code == 200  # and nothing else was forgotten
    assert reader.access(token)


@pytest.mark.requirement("I7", "I12", "RV-03")
@pytest.mark.parametrize("killed", [False, True], ids=["ended", "killed"])
def test_what_was_revoked_before_a_restart_is_no_good_after_it(fresh: Cast, *, killed: bool) -> None:
    reader = fresh.reader
    token = reader.root(rights=BOTH)
    access = reader.access(token)
    assert fresh.crm.introspect(access)["active"] is True
    assert reader.hold("/session/revoke", token, {"reason": "INC-1"}).status_code == 200
    fresh.world.restart(killed=killed)
    assert fresh.crm.introspect(access) == {"active": False}
    assert reader.send("/token", reader.access_fields(token)).status_code == 400
    assert reader.hold("/calls", token, CALL).status_code in {400, 401}


def _grants(cast: Cast) -> list[object]:
    store = cast.world.engine.parts.store
    return store.read(lambda tx: [grant for node in tx.sessions(limit=100) for grant in tx.grants(txn=node.txn)])
