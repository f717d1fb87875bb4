"""Every endpoint of operators with every kind of caller: who gets in, and what the others are told."""

import logging
from typing import TYPE_CHECKING

import pytest

from deputize.authority.operating import MAX_PAGE
from deputize.server.app import create_app
from deputize.server.logs import FIELDS
from deputize.server.operators import ERRANDS
from deputize.testing import FakeIssuer
from deputize.wire import dpop

if TYPE_CHECKING:
    from packages.core.tests.operators.conftest import Site

ROLES = ("viewer", "responder", "admin")
# Of each endpoint: what is sent, which answers it may give to whoever may ask, and the least role.
ROUTES = {
    ("GET", "/sessions"): (None, {200}, "viewer"),
    ("GET", "/sessions/{id}"): (None, {404}, "viewer"),
    ("POST", "/sessions/{id}/revoke"): ({"reason": "r"}, {404}, "responder"),
    ("POST", "/revocations/new"): ({"kind": "user", "target": "eve", "reason": "r"}, {200}, "responder"),
    ("GET", "/agents"): (None, {200}, "viewer"),
    ("GET", "/agents/{name}"): (None, {404}, "viewer"),
    ("POST", "/agents/{name}/suspend"): ({"reason": "r"}, {404}, "responder"),
    ("POST", "/agents/{name}/resume"): ({"reason": "r"}, {404}, "admin"),
    ("POST", "/workloads/{name}/enroll"): ({}, {404}, "admin"),
    ("GET", "/audit/records"): (None, {200}, "viewer"),
    ("GET", "/audit/checkpoint"): (None, {200}, "viewer"),
    ("GET", "/audit/proofs/inclusion"): (None, {400}, "viewer"),
    ("GET", "/audit/proofs/consistency"): (None, {400}, "viewer"),
    ("GET", "/policy"): (None, {200}, "viewer"),
    ("GET", "/policy/history"): (None, {200}, "viewer"),
    ("POST", "/policy"): ({"bundle": {}}, {400}, "admin"),
    ("POST", "/policy/rollback"): ({"digest": "nothing"}, {404}, "admin"),
    ("POST", "/policy/explain"): ({"chain": ["researcher"], "tool": "search"}, {200}, "viewer"),
    ("POST", "/policy/suggest"): ({}, {200}, "viewer"),
}
EVERY = pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: value)


def filled(path: str) -> str:
    return path.replace("{id}", "nobody-has-this").replace("{name}", "nobody")


def strangers(site: "Site") -> dict[str, str]:
    """Whatever is no operator's token, by what is wrong with it."""
    now = int(site.engine.parts.now())
    people, audience = site.people, "https://sts.example"
    groups = {"groups": ["platform"]}
    with FakeIssuer() as other:
        foreign = other.access_token("u", audience, **groups)
        forged = other.access_token("u", audience, iss=people.url, **groups)
        asked = list(other.requests)
    assert asked == []
    return {
        "expired": people.access_token("u", audience, iat=now - 900, exp=now - 300, **groups),
        "not yet": people.access_token("u", audience, iat=now + 600, exp=now + 900, **groups),
        "for others": people.access_token("u", "https://other.example", **groups),
        "without audience": people.mint({"sub": "u", **groups}, typ="at+jwt"),
        "unknown issuer": foreign,
        "another's signature": forged,
        "unsigned": people.access_token("u", audience, **groups).rpartition(".")[0] + ".",
        "another kind": people.mint({"sub": "u", "aud": audience, **groups}, typ="dpop+jwt"),
        "an access token that calls itself an ID token": people.id_token("u", audience, scope="x", **groups),
        "too many groups elsewhere": people.access_token("u", audience, _claim_names={"groups": "x"}),
        "a subject that is no name": people.access_token("two words", audience, **groups),
        "text": "nonsense",
    }


def test_the_table_names_every_endpoint_of_operators_and_its_role(shared: "Site") -> None:
    known = {(errand.method, errand.path.replace(":path", "")): errand.role for errand in ERRANDS}
    assert known == {route: role for route, (_, _, role) in ROUTES.items()}
    served = {(method, route.path) for route in create_app(shared.engine).routes for method in route.methods or ()}
    assert {(errand.method, errand.path) for errand in ERRANDS} <= served
    acting = {(errand.method, errand.path.replace(":path", "")) for errand in ERRANDS if errand.acts}
    assert acting == {route for route, (_, _, role) in ROUTES.items() if route[0] == "POST" and role != "viewer"}


@pytest.mark.requirement("A-17")
@EVERY
def test_strangers_read_nothing_and_are_all_told_the_same(shared: "Site", method: str, path: str) -> None:
    body, _, _ = ROUTES[method, path]
    before = shared.size()
    for shown in (None, *strangers(shared).values()):
        answer = shared.send(method, filled(path), shown, body)
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"}), shown
        assert answer.headers["WWW-Authenticate"] == ("Bearer" if shown is None else 'Bearer error="invalid_token"')
        assert answer.headers["Cache-Control"] == "no-store"
    assert shared.size() == before


@EVERY
def test_a_body_of_a_stranger_is_not_looked_at(shared: "Site", method: str, path: str) -> None:
    answer = shared.http.request(method, filled(path), content=b"{" * 100_000)
    assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"})


@pytest.mark.requirement("A-09")
@EVERY
def test_the_credentials_of_an_agent_are_no_operator_s(
    working: "tuple[Site, list[str], str]", method: str, path: str
) -> None:
    site, tokens, proof = working
    body, _, _ = ROUTES[method, path]
    for token in tokens:
        for scheme in ("Bearer", "DPoP", "bearer", "Basic"):
            answer = site.http.request(
                method, filled(path), json=body, headers={"Authorization": f"{scheme} {token}", "DPoP": proof}
            )
            assert (answer.status_code, answer.json()) == (401, {"error": "invalid_token"})


def test_the_line_of_a_request_names_the_operator_whose_role_was_too_low(
    shared: "Site", caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", logger="deputize.request")
    monkeypatch.setattr(logging.getLogger("deputize.request"), "handlers", [caplog.handler])
    assert shared.send("POST", "/policy/rollback", shared.token("viewer"), {}).status_code == 403
    assert f"{shared.people.url}|u-viewer" in [getattr(line, FIELDS, {}).get("operator") for line in caplog.records]


@pytest.mark.requirement("I16")
@pytest.mark.requirement("TX-10")
@pytest.mark.parametrize("role", ["none", *ROLES])
@EVERY
def test_an_operator_may_what_the_role_may_and_a_refusal_is_a_record(
    shared: "Site", method: str, path: str, role: str
) -> None:
    body, answers, least = ROUTES[method, path]
    before = len(shared.told("operator.denied"))
    answer = shared.send(method, filled(path), shared.token(role), body)
    denied = shared.told("operator.denied")[before:]
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    if role != "none" and ROLES.index(role) >= ROLES.index(least):
        assert answer.status_code in answers, answer.text
        assert len(denied) == (1 if least != "viewer" and answer.status_code >= 400 else 0)
        return
    told = answer.json()
    assert (answer.status_code, told["error"], told["code"]) == (403, "insufficient_scope", "insufficient_role")
    (record,) = denied
    assert (record["code"], record["reference"], record["policies"]) == (
        "insufficient_role",
        told["reference"],
        ["operators"],
    )
    assert record["detail"] == {
        "asked": f"{method} {filled(path)}",
        "by": f"{shared.people.url}|u-{role}",
        "role": role,
    }


def test_an_id_token_for_a_listed_client_will_do(shared: "Site") -> None:
    token = shared.people.id_token("ann", "the-cli", groups=["sec-read"])
    assert shared.send("GET", "/agents", token).status_code == 200
    elsewhere = shared.people.id_token("ann", "another-client", groups=["sec-read"])
    assert shared.send("GET", "/agents", elsewhere).status_code == 401


def test_one_token_in_one_header(shared: "Site") -> None:
    token = shared.token("admin")
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert shared.http.get("/agents", headers=twice).status_code == 401
    assert shared.http.get("/agents", params={"access_token": token}).status_code == 401
    assert shared.http.get("/agents", headers={"Authorization": f"Bearer  {token}"}).status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sessions?limit=0x1", None),
        ("/sessions?limit=-1", None),
        (f"/sessions?limit={MAX_PAGE + 1}", None),
        ("/sessions?live=perhaps", None),
        ("/sessions?agent=researcher&agent=supervisor", None),
        ("/sessions?surprise=1", None),
        ("/audit/records?below=99999999999999999999", None),
        ("/audit/proofs/inclusion?seq=0", None),
        ("/audit/proofs/consistency?first=9999999&second=99999999", None),
        ("/revocations/new", {"kind": "close", "target": "x", "reason": "r"}),
        ("/revocations/new", {"kind": "user", "target": "x", "reason": ""}),
        ("/revocations/new", {"kind": "user", "target": "x", "reason": "r", "more": 1}),
        ("/policy/explain", {"chain": []}),
        ("/workloads/churn/enroll", {"ttl": "1"}),
        ("/workloads/churn/enroll", {"ttl": 10**9}),
        ("/policy", {"bundle": {"version": 1, "main": "x", "files": {}, "matches": {}, "environment": {}}}),
    ],
)
def test_what_is_asked_in_another_form_is_refused(shared: "Site", path: str, body: object) -> None:
    answer = shared.send("GET" if body is None else "POST", path, shared.token("admin"), body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), answer.text


@pytest.fixture(scope="module")
def working(shared: "Site") -> "tuple[Site, list[str], str]":
    """What an agent holds: identities, a session token, an access token, and a proof of its key."""
    with shared.authority() as authority, authority.session(user="alice", agent="supervisor") as session:
        identity = authority.engine.identity(authority.agent_id("supervisor"))
        child = session.delegate("researcher")
        access = child.access("crm", ["crm:read"])
        proof = dpop.proof(identity.key, htm="GET", htu=f"{shared.url}/agents", now=shared.engine.parts.now())
        found = [identity.token, session._opened.token, access.reveal()]
    return shared, found, proof
