"""What the holder of a session may do with it, and what nobody may do with somebody else's."""

from dataclasses import replace

import pytest

from deputize.config import load
from deputize.model.revocation import Kind
from tests.http.raw import AGENT, CRM, LOCAL, Cast, claims, details
from tests.http.raw import now as seconds

CALL = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}
BOTH = details({CRM: ["crm:read"], LOCAL: ["tool:search"]})
ENDPOINTS = (
    ("/calls", CALL),
    ("/notes", {"kind": "tool.finished", "outcome": "done", "tool": "search"}),
    ("/session", None),
    ("/session/tree", None),
    ("/session/close", {}),
    ("/session/revoke", {"reason": "x"}),
)


@pytest.mark.requirement("A-17", "DP-12", "I16")
@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_stranger_learns_nothing_of_a_session(cast: Cast, path: str, body: object) -> None:
    token, now = cast.reader.root(rights=BOTH), int(seconds())
    told = claims(token)
    expired = cast.world.signed("vnd.deputize.session+jwt", {**told, "iat": now - 90, "exp": now - 9})
    unknown = cast.world.signed("vnd.deputize.session+jwt", {**told, "sid": "A" * 16, "txn": "A" * 16})
    stranger = replace(cast.loner)
    size = cast.world.size()
    answers = [stranger.hold(path, shown, body) for shown in (token, expired, unknown)]
    assert {(one.status_code, one.content) for one in answers} == {(401, b'{"error":"invalid_dpop_proof"}')}
    answers = [stranger.hold(path, shown, body) for shown in ("x", "a.b.c", token[:-8] + "AAAAAAAA")]
    assert {(one.status_code, one.content) for one in answers} == {(401, b'{"error":"invalid_client"}')}
    assert not cast.world.since(size)
    assert cast.reader.hold("/session", token).json()["state"] == "open"


@pytest.mark.requirement("A-04", "I12", "I16")
def test_a_token_that_has_expired_permits_nothing(cast: Cast) -> None:
    token, now = cast.reader.root(rights=BOTH), int(seconds())
    lapsed = cast.world.signed("vnd.deputize.session+jwt", {**claims(token), "iat": now - 90, "exp": now - 9})
    size = cast.world.size()
    assert cast.refused(cast.reader.hold("/calls", lapsed, CALL), size, by=cast.reader, code="token_expired")
    size = cast.world.size()
    cast.refused(cast.reader.send("/token", cast.reader.access_fields(lapsed)), size, by=cast.reader)
    assert cast.reader.hold("/session", lapsed).json()["state"] == "open"
    assert cast.reader.hold("/notes", lapsed, {"kind": "tool.failed", "outcome": "failed"}).status_code == 200
    assert cast.reader.hold("/session/close", lapsed, {}).status_code == 200
    assert cast.reader.hold("/session", token).json()["state"] == "closed"


@pytest.mark.requirement("I7", "A-04", "RV-01")
@pytest.mark.parametrize(("path", "body"), ENDPOINTS)
def test_a_token_that_was_revoked_speaks_for_nobody(cast: Cast, path: str, body: object) -> None:
    token = cast.reader.root(rights=BOTH)
    cast.world.engine.revoke(Kind.TOKEN, claims(token)["jti"], reason="INC-1")
    size = cast.world.size()
    cast.refused(cast.reader.hold(path, token, body), size, by=cast.reader, code="token_revoked")
    assert cast.world.engine.state(cast.world.engine.session(claims(token)["sid"])) == "open"


@pytest.mark.requirement("A-04", "A-17", "I16")
def test_a_session_is_cut_off_by_itself_and_by_those_above_it(cast: Cast) -> None:
    root = cast.boss.root()
    child = cast.boss.child(root, cast.reader)
    sibling = cast.boss.child(root, cast.writer, authorization_details=details({CRM: ["crm:read"]}))
    elsewhere = cast.boss.root("local|bob")
    refusals = []
    for sid in (claims(root)["sid"], claims(sibling)["sid"], claims(elsewhere)["sid"], "unknown"):
        size = cast.world.size()
        answer = cast.reader.hold("/session/revoke", child, {"reason": "x", "sid": sid})
        cast.refused(answer, size, status=404, error="not_found", by=cast.reader)
        refusals.append({name: value for name, value in answer.json().items() if name != "reference"})
    assert all(one == refusals[0] for one in refusals)
    for token in (root, sibling, elsewhere):
        assert cast.world.engine.state(cast.world.engine.session(claims(token)["sid"])) == "open"
    done = cast.boss.hold("/session/revoke", root, {"reason": "INC-1", "sid": claims(child)["sid"]})
    assert (done.status_code, done.json()["target"]) == (200, claims(child)["sid"])
    assert cast.reader.hold("/session", child).json()["state"] == "revoked"
    assert cast.boss.hold("/session", root).json()["state"] == "open"
    for body in ({}, {"reason": ""}, {"reason": "x" * 513}, {"reason": 1}, {"reason": "x", "kind": "user"}):
        size = cast.world.size()
        cast.refused(cast.boss.hold("/session/revoke", root, body), size, by=cast.boss)


@pytest.mark.requirement("A-04", "A-17")
def test_a_tree_is_shown_from_the_holders_own_session_down(cast: Cast) -> None:
    root = cast.boss.root()
    child = cast.boss.child(root, cast.reader)
    told = cast.reader.hold("/session/tree", child).text
    assert claims(child)["sid"] in told
    assert cast.boss.hold("/session/tree", root).text.count('"sid"') == 2
    assert told.count('"sid"') == 1


@pytest.mark.requirement("I16", "AU-01")
def test_a_note_is_what_came_of_something_and_no_decision(cast: Cast) -> None:
    token = cast.reader.root(rights=BOTH)
    for kind in (
        "exchange.permitted",
        "session.opened",
        "session.revoked",
        "tool.started",
        "policy.activated",
        "x",
        "",
    ):
        size = cast.world.size()
        cast.refused(cast.reader.hold("/notes", token, {"kind": kind, "outcome": "done"}), size, by=cast.reader)
    for outcome in ("permitted", "denied", "x"):
        size = cast.world.size()
        answer = cast.reader.hold("/notes", token, {"kind": "tool.finished", "outcome": outcome})
        cast.refused(answer, size, by=cast.reader)
    for detail in ({"a": 1.5}, {"a": {"b": 1}}, {"a": [1]}, "x", {"a": "x" * 4097}, {"a": None, "b": [["x"]]}):
        size = cast.world.size()
        told = {"kind": "tool.finished", "outcome": "done", "detail": detail}
        cast.refused(cast.reader.hold("/notes", token, told), size, by=cast.reader)
    size = cast.world.size()
    spoof = {"agent": "boss", "sub": "local|bob", "outcome": "permitted", "by": "operator"}
    told = {"kind": "tool.finished", "outcome": "done", "tool": "search", "detail": spoof}
    assert cast.reader.hold("/notes", token, told).status_code == 200
    record = cast.world.since(size)[0]
    assert (record["agent"], record["sub"], record["outcome"]) == (AGENT + "reader", "local|alice", "done")
    for name in ("agent", "sub", "sid", "txn", "chain", "reference", "policies"):
        size = cast.world.size()
        answer = cast.reader.hold("/notes", token, {"kind": "tool.finished", "outcome": "done", name: "x"})
        cast.refused(answer, size, by=cast.reader)


@pytest.mark.requirement("I7", "A-11")
def test_a_key_that_is_revoked_midway_takes_what_it_signed_with_it(fresh: Cast) -> None:
    token = fresh.reader.root(rights=BOTH)
    assert fresh.reader.hold("/calls", token, CALL).status_code == 200
    from deputize.wire.jws import peek

    kid = peek(token).kid
    assert kid is not None
    fresh.world.engine.revoke(Kind.KEY, kid, reason="INC-1")
    for path, body in ENDPOINTS:
        answer = fresh.reader.hold(path, token, body)
        assert answer.status_code in {400, 401}, path
    answer = fresh.reader.send("/token", fresh.reader.access_fields(token))
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})  # so is its identity
    with_old = fresh.world.enrolled("churn")
    answers = [fresh.churn.send("/token", with_old, credentials=()) for _ in range(2)]
    assert [one.status_code for one in answers] == [503, 200]  # a signer that finds its key revoked makes another
    assert answers[0].headers["Retry-After"] == "1"
    again = Cast.of(fresh.world)
    assert again.reader.hold("/calls", again.reader.root(rights=BOTH), CALL).status_code == 200


@pytest.mark.requirement("I7", "A-15", "PO-01")
def test_a_workload_that_hosts_the_agent_no_more_gets_nothing_more_for_it(fresh: Cast) -> None:
    token = fresh.reader.root(rights=BOTH)
    text = fresh.world.config.read_text(encoding="utf-8").replace('"boss", "reader", "writer"]', '"boss", "writer"]')
    text = text.replace('delegate_to = ["boss", "writer"]', 'delegate_to = ["boss", "reader", "writer"]')
    fresh.world.config.write_text(text, encoding="utf-8")
    fresh.world.engine.apply(load(fresh.world.config))
    size = fresh.world.size()
    # The replica authenticates by the set that it has, and learns in the exchange that another decides.
    answers = [fresh.reader.send("/token", fresh.reader.access_fields(token)) for _ in range(2)]
    answers.append(fresh.reader.hold("/calls", token, CALL))
    assert {(one.status_code, one.json()["error"]) for one in answers} == {(401, "invalid_client")}
    assert [one["outcome"] for one in fresh.world.since(size)] == ["denied"] * 2  # the second was a stranger by then
    assert fresh.reader.hold("/notes", token, {"kind": "tool.failed", "outcome": "failed"}).status_code == 200


@pytest.mark.requirement("A-04", "I12")
def test_nothing_comes_of_a_session_that_has_ended(cast: Cast) -> None:
    token = cast.reader.root(rights=BOTH)
    assert cast.reader.hold("/session/close", token, {}).status_code == 200
    size = cast.world.size()
    cast.refused(cast.reader.hold("/calls", token, CALL), size, by=cast.reader, code="session_closed")
    size = cast.world.size()
    refused = cast.reader.send("/token", cast.reader.access_fields(token))
    cast.refused(refused, size, by=cast.reader, code="session_closed")
    assert cast.reader.hold("/session/close", token, {}).status_code == 200


def test_a_call_is_refused_with_its_policy_and_runs_not(cast: Cast) -> None:
    token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
    size = cast.world.size()
    record = cast.refused(cast.reader.hold("/calls", token, CALL), size, by=cast.reader)
    assert record["policies"] == ["session-ceiling"]
