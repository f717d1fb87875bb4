"""What a resource server on the authority's own machine gets from it: a verifier, and a place to record."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deputize import Authority
from deputize.errors import InvalidToken
from deputize.runtime import report_rejections, verifier_for
from deputize.testing import FakeClock

RESOURCE = "https://crm.example/mcp"


@pytest.fixture(params=["memory", "file"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Authority]:
    store = ":memory:" if request.param == "memory" else str(tmp_path / "deputize.db")
    with Authority(
        agents={"a": ["read"], "b": ["read"]},
        resources={RESOURCE: ["read"]},
        delegations={"a": ["b"]},
        store=store,
        clock=FakeClock(),
    ) as opened:
        yield opened


def test_a_verifier_takes_the_authoritys_tokens_for_its_resource_alone(authority: Authority) -> None:
    with authority.session(agent="a", user="alice") as session:
        token = session.access(RESOURCE, ["read"]).reveal()
        assert verifier_for(authority, RESOURCE).verify(token).session == session.id
        with pytest.raises(InvalidToken):
            verifier_for(authority, "https://other.example").verify(token)


@pytest.mark.requirement("I7")
def test_a_verifier_sees_a_revocation_at_the_next_request(authority: Authority) -> None:
    verifier = verifier_for(authority, RESOURCE)
    root = authority.session(agent="a", user="alice")
    token = root.delegate("b").access(RESOURCE, ["read"]).reveal()
    assert verifier.verify(token).subject == "local|alice"
    root.revoke("stolen")
    with pytest.raises(InvalidToken) as refusal:
        verifier.verify(token)
    assert refusal.value.code == "token_revoked"


def test_the_record_of_a_reported_call_holds_the_whole_chain(authority: Authority) -> None:
    root = authority.session(agent="a", user="alice")
    session = root.delegate("b")
    for outcome in ("started", "denied"):
        authority.record_call(
            sid=session.id,
            txn=root.id,
            tool="drop",
            outcome=outcome,
            resource=RESOURCE,
            sub=session.subject,
            agent=session.agent,
            jti="j",
            code=None if outcome == "started" else "insufficient_scope",
        )
    started, denied = authority.audit.find(tool="drop", session=session.id)
    assert started["chain"] == denied["chain"] == [session.agent, root.agent]
    assert (denied["type"], denied["policies"]) == ("resource.call_denied", ["resource.guard"])


def test_rejected_requests_are_recorded_with_their_number_and_address(authority: Authority) -> None:
    report_rejections(authority, resource=RESOURCE, code="malformed_token", client="192.0.2.1", count=7)
    [record] = authority.audit.find(type="resource.rejected")
    assert record["code"] == "malformed_token"
    assert record["detail"] == {"by": "resource", "client": "192.0.2.1", "count": 7}
