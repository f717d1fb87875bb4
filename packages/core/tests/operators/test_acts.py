"""What operators see and do, through the client that the command line uses; and what the log says of it."""

import contextlib
import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deputize import Authority, Denied
from deputize.audit import checkpoint, proofs
from deputize.authority.joining import enroll
from deputize.authority.operating import Wanted
from deputize.client.remote_log import fetch
from deputize.config import load
from deputize.errors import DeputizeError, InvalidRequest, NotFound, SessionEnded
from deputize.issuers.operators import Operators
from deputize.model.revocation import Kind

if TYPE_CHECKING:
    from packages.core.tests.operators.conftest import Site


def refused(action: object) -> str:
    with pytest.raises(DeputizeError) as caught:
        action()  # type: ignore[operator]  # a lambda
    return caught.value.code


def lived(authority: Authority) -> dict[str, str]:
    """Ids of what happened, by what they are of."""
    root = authority.session(user="alice", agent="supervisor", task="churn")
    child = root.delegate("researcher")
    with child.tool_call("search", call_id="call-1"):
        pass
    with pytest.raises(Denied) as denied:
        child.tool_call("drop_table", call_id="call-2").start()
    access = child.access("crm", ["crm:read"])
    return {
        "root": root.id,
        "child": child.id,
        "token": access.id,
        "call": "call-1",
        "reference": str(denied.value.reference),
    }


def test_a_session_is_found_by_the_id_of_anything_in_it(site: "Site") -> None:
    with site.authority() as authority:
        ids = lived(authority)
        viewer = site.operator("viewer")
        for name in ("child", "token", "call", "reference"):
            row, tree = viewer.session(ids[name])
            assert (row.sid, row.root, row.state, row.subject) == (ids["child"], ids["root"], "open", "local|alice")
            assert [node.sid for node in tree.walk()] == [ids["root"], ids["child"]]
        assert [call.tool for call in tree.children[0].calls] == ["search", "drop_table"]
        assert refused(lambda: viewer.session("no-such-id")) == "not_found"
        assert refused(lambda: viewer.session("a/../b?c#d%2Fe")) == "not_found"


def test_lists_are_filtered_and_paged(site: "Site") -> None:
    with site.authority() as authority:
        opened = [authority.session(user=f"u{number}", agent="supervisor") for number in range(7)]
        opened[2].close()
        viewer = site.operator("viewer")
        page = viewer.sessions(user=None, agent="supervisor", live=True, limit=4)
        assert [row.sid for row in page.rows] == [session.id for session in opened[3:]]
        assert page.cursor is not None
        rest = viewer.sessions(user=None, agent="supervisor", live=True, limit=4, cursor=page.cursor)
        assert ([row.sid for row in rest.rows], rest.cursor) == ([session.id for session in opened[:2]], None)
        (row,) = viewer.sessions(user="u2", agent=None, live=False, limit=4).rows
        assert (row.sid, row.state) == (opened[2].id, "closed")
        assert refused(lambda: viewer.sessions(user=None, agent="nobody", live=False, limit=4)) == "not_found"


@pytest.mark.requirement("I7")
def test_a_responder_cuts_off_and_the_log_names_them_and_their_role(site: "Site") -> None:
    with site.authority() as authority:
        root = authority.session(user="alice", agent="supervisor")
        child = root.delegate("researcher")
        responder = site.operator("responder")
        done = responder.revoke_named(child.id, reason="INC-1")
        assert (done.kind, done.target, done.sessions) == ("session", child.id, 1)
        with pytest.raises(SessionEnded):
            child.access("crm", ["crm:read"])
        assert root.state == "open"
        assert responder.revoke(Kind.USER, "alice", reason="INC-2").sessions == 1
        assert root.state == "revoked"
        for kind in ("session.revoked", "user.revoked"):
            (record,) = site.told(kind)
            detail = record["detail"]
            assert isinstance(detail, dict)
            assert (detail["by"], detail["role"]) == (f"{site.people.url}|u-responder", "responder")


def test_the_id_of_a_token_kills_that_token_alone(site: "Site") -> None:
    with site.authority() as authority:
        child = authority.session(user="alice", agent="supervisor").delegate("researcher")
        access = child.access("crm", ["crm:read"])
        assert site.operator("responder").revoke_named(access.id, reason="leaked").kind == "token"
        assert not site.engine.introspect(access.reveal()).active
        assert child.state == "open"


@pytest.mark.requirement("I16")
def test_an_act_that_is_refused_is_a_record_with_its_reference(site: "Site") -> None:
    with pytest.raises(NotFound) as caught:
        site.operator("responder").revoke_named("nothing", reason="r")
    (record,) = site.told("operator.denied")
    assert (record["code"], record["reference"]) == ("not_found", caught.value.reference)
    assert record["detail"] == {
        "asked": "POST /sessions/nothing/revoke",
        "by": f"{site.people.url}|u-responder",
        "role": "responder",
    }


@pytest.mark.requirement("BCP-04")
def test_two_issuers_never_give_one_name(site: "Site") -> None:
    site.operator("responder").revoke(Kind.USER, "eve", reason="r")
    (record,) = site.told("user.revoked")
    detail = record["detail"]
    assert isinstance(detail, dict)
    assert detail["by"] != "local|u-responder"
    assert str(detail["by"]).startswith(site.people.url)


def test_an_agent_that_is_resumed_works_again_and_nothing_old_comes_back(site: "Site") -> None:
    with site.authority() as authority:
        root = authority.session(user="alice", agent="supervisor")
        child = root.delegate("researcher")
        identity = authority.engine.identity(child.agent)
        responder, admin = site.operator("responder"), site.operator("admin")
        assert admin.agent("researcher").state == "active"
        assert refused(lambda: admin.resume("researcher", reason="r")) == "not_suspended"
        assert responder.revoke(Kind.AGENT, "researcher", reason="INC-3").sessions == 1
        row = admin.agent("researcher")
        assert (row.state, row.reason, row.workloads) == (
            "suspended",
            "INC-3",
            (f"{_domain(child.agent)}/workload/churn",),
        )
        assert refused(lambda: responder.resume("researcher", reason="r")) == "insufficient_role"
        site.clock.advance(1)
        assert admin.resume("researcher", reason="fixed").state == "active"
        assert child.state == "revoked"
        with pytest.raises(SessionEnded):
            child.access("crm", ["crm:read"])
        assert not site.engine.introspect(identity.token).active
        assert authority.session(user="bob", agent="supervisor").delegate("researcher").access("crm", ["crm:read"])
    assert responder.revoke(Kind.AGENT, "researcher", reason="again").kind == "agent"
    assert admin.agent("researcher").state == "suspended"
    detail = site.told("agent.resumed")[0]["detail"]
    assert isinstance(detail, dict)
    assert (detail["by"], detail["role"], detail["reason"]) == (f"{site.people.url}|u-admin", "admin", "fixed")


def _domain(agent: str) -> str:
    return agent.partition("/agent/")[0]


def test_a_join_token_lets_a_workload_in_once(site: "Site") -> None:
    made = site.operator("admin").enroll("churn", ttl=60)
    assert made.workload.endswith("/workload/churn")
    assert made.token not in repr(made)
    (record,) = site.told("workload.enrolled")
    assert made.token not in json.dumps(record)
    detail = record["detail"]
    assert isinstance(detail, dict)
    assert (detail["by"], detail["role"]) == (f"{site.people.url}|u-admin", "admin")


@pytest.mark.requirement("AU-03")
def test_records_are_paged_and_every_one_is_proved_to_be_in_the_log(site: "Site") -> None:
    with site.authority() as authority:
        lived(authority)
    viewer = site.operator("viewer")
    first = viewer.records(Wanted(), limit=3)
    assert first.below == first.records[0].seq
    everything = fetch(viewer, Wanted(), None)
    assert [record.seq for record in everything] == list(range(len(everything)))
    assert [record.seq for record in fetch(viewer, Wanted(), 5)] == [r.seq for r in everything[-5:]]
    head = viewer.checkpoint()
    signed = checkpoint.parse(head.note)
    checkpoint.verify(signed, [checkpoint.parse_key(head.key)])
    for record in everything:
        told = json.dumps(viewer.inclusion(record.seq, signed.size)).encode()
        proofs.verify_inclusion(proofs.parse_inclusion(told), signed, record=record)
    assert refused(lambda: viewer.inclusion(0, 10**6)) == "invalid_proof"


def test_a_connected_authority_reads_and_verifies_the_log_as_an_embedded_one_does(
    site: "Site", monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.authority() as authority:
        monkeypatch.delenv("DEPUTIZE_TOKEN", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(site.folder))
        assert refused(authority.audit.find) == "no_operator_token"
        monkeypatch.setenv("DEPUTIZE_TOKEN", site.token("viewer"))
        ids = lived(authority)
        log = authority.audit
        kept = log.checkpoint()
        found = log.find(session=ids["child"], tool="search")
        assert [record["type"] for record in found] == ["tool.started", "tool.finished"]
        assert found == [record for record in log if record["seq"] in {item["seq"] for item in found}]
        assert len(log) == site.size()
        report = log.verify(against=kept)
        assert (report.ok, report.compared, report.records) == (True, True, site.size())
        assert refused(lambda: authority.revoke(user="alice", reason="r")) == "insufficient_role"
        assert "researcher" in authority.suggest()
        assert authority.explain(chain=["supervisor", "researcher"], tool="read_customers", user="alice").allowed
        monkeypatch.setenv("DEPUTIZE_TOKEN", site.token("responder"))
        assert authority.revoke(user="alice", reason="r").sessions == 2


@pytest.mark.requirement("AU-03")
def test_a_log_that_was_changed_is_found_from_outside(site: "Site", monkeypatch: pytest.MonkeyPatch) -> None:
    with site.authority() as authority:
        lived(authority)
        monkeypatch.setenv("DEPUTIZE_TOKEN", site.token("viewer"))
        log = authority.audit
        kept = log.checkpoint()
        assert log.verify(against=kept).ok
        with contextlib.closing(sqlite3.connect(site.folder / "deputize.db")) as db:
            ((body,),) = db.execute("select body from records where seq = 3")
            db.execute("update records set body = ? where seq = 3", (body[:-1] + b',"x":1}',))
            db.commit()
        report = log.verify(against=kept)
        assert [(item.kind.value, item.seq) for item in report.findings] == [("changed", 3)]
        assert refused(log.find) == "record_changed"
        other = checkpoint.parse(kept)
        rewritten = log.verify(
            against=str(checkpoint.Checkpoint(other.origin, other.size, bytes(32), signatures=other.signatures))
        )
        assert "rewritten" in {item.kind.value for item in rewritten.findings}


@pytest.mark.requirement("PO-03")
def test_an_admin_rolls_a_set_out_and_back_and_the_server_decides_by_it_at_once(site: "Site") -> None:
    admin = site.operator("admin")
    before, bundle = admin.policy()
    main = bundle.files[bundle.main]
    changed = replace(bundle, files={**bundle.files, bundle.main: main.replace('local = ["plan"]', 'local = ["draw"]')})
    assert refused(lambda: admin.apply(changed, reason="", expected="abcdef")) == "not_found"
    after = admin.apply(changed, reason="draws", expected=before)
    assert refused(lambda: admin.apply(bundle, reason="", expected=before)) == "policy_conflict"
    dry = {"chain": ["supervisor"], "scopes": (), "resource": None, "user": "alice"}
    assert admin.explain(tool="draw", **dry).allowed  # type: ignore[arg-type]  # of one shape
    assert not admin.explain(tool="plan", **dry).allowed  # type: ignore[arg-type]  # of one shape
    assert admin.rollback(None, reason="back") == before
    assert admin.explain(tool="plan", **dry).allowed  # type: ignore[arg-type]  # of one shape
    moves = admin.history()
    assert [move.digest for move in moves] == [before, after, before]
    assert (moves[1].by, moves[1].reason) == (f"{site.people.url}|u-admin", "draws")
    assert site.told("policy.applied")[1]["detail"]["role"] == "admin"  # type: ignore[index,call-overload]  # it is one


def test_a_set_with_an_error_is_refused_with_its_place_and_nothing_moves(site: "Site") -> None:
    admin = site.operator("admin")
    before, bundle = admin.policy()
    broken = replace(bundle, files={**bundle.files, bundle.main: bundle.files[bundle.main] + "\n[surprise]\n"})
    with pytest.raises(InvalidRequest) as caught:
        admin.apply(broken, reason="", expected=None)
    assert caught.value.code == "policy_refused"
    assert admin.policy()[0] == before
    assert len(site.told("policy.applied")) == 1


def test_an_operator_who_was_taken_out_of_the_rules_is_none_from_then_on(site: "Site") -> None:
    admin, viewer = site.operator("admin"), site.operator("viewer")
    _, bundle = admin.policy()
    assert viewer.agents()
    main = bundle.files[bundle.main].replace('viewer = ["sec-read"], ', "")
    admin.apply(replace(bundle, files={**bundle.files, bundle.main: main}), reason="", expected=None)
    assert refused(viewer.agents) == "insufficient_role"


@pytest.mark.requirement("WL-06")
def test_an_issuer_that_no_rule_names_is_asked_nothing_and_our_own_is_no_issuer_of_operators(site: "Site") -> None:
    rules = load(str(site.file))
    own = replace(rules.operators[0], issuer=rules.issuer)
    known = Operators([own], issuer=rules.issuer, names={}, clock=site.engine.parts.clock)
    token = site.people.access_token("u", "https://sts.example", iss=rules.issuer, groups=["platform"])
    assert refused(lambda: known.verify(token, site.engine.parts.now())) == "unknown_issuer"


def test_one_person_has_one_name_as_user_and_as_operator(site: "Site") -> None:
    rules = load(str(site.file)).operators
    known = Operators(rules, issuer=site.url, names={site.people.url: "corp"}, clock=site.engine.parts.clock)
    found = known.verify(site.token("admin", "ann"), site.engine.parts.now())
    assert (found.name, found.role) == ("corp|ann", "admin")
    assert enroll(site.engine.parts, "churn", by=found.name).workload
