"""Introspection, revocation, reports, the registry and metadata at their endpoints: who is told what, and who may."""

import orjson
import pytest

from deputize.model.revocation import Kind
from deputize.wire import metadata
from tests.http.raw import AGENT, CRM, WIKI, Cast, Party, claims, details
from tests.http.raw import now as seconds

ONLY = {"authorization_details": details({CRM: ["crm:read"]})}


def _access(cast: Cast) -> tuple[str, str]:
    child = cast.boss.child(cast.boss.root(), cast.writer, **ONLY)
    return child, cast.writer.access(child)


@pytest.mark.requirement("IN-01", "A-17")
def test_strangers_scan_no_tokens(cast: Cast) -> None:
    child, access = _access(cast)
    size = cast.world.size()
    for token in (access, child, cast.writer.identity, "x", ""):
        for headers in ([], [("Authorization", f"Bearer {access}")], [("Authorization", f"DPoP {child}")]):
            answer = cast.crm.send("/introspect", {"token": token}, credentials=(), headers=headers, proofs=())
            cast.refused(answer, size, status=401, error="invalid_client")


@pytest.mark.requirement("IN-02", "IN-03", "IN-04", "A-17")
def test_whatever_is_not_for_the_one_who_asks_looks_like_nothing(cast: Cast) -> None:
    child, access = _access(cast)
    told, now = claims(access), int(seconds())
    world = cast.world
    nothing = b'{"active":false}'
    bad = {
        "unknown": "x",
        "empty parts": "..",
        "expired": world.signed("at+jwt", {**told, "iat": now - 90, "exp": now - 1}),
        "an unknown id": world.signed("at+jwt", {**told, "jti": "unknown"}),
        "for another resource": world.signed("at+jwt", {**told, "aud": WIKI}),
        "of another session": world.signed("at+jwt", {**told, "sid": claims(cast.boss.root())["sid"]}),
        "a session": child,
        "an identity": cast.writer.identity,
        "an assertion": cast.crm.assertion(),
        "a proof": cast.crm.proof("/introspect"),
        "a changed signature": access[:-8] + "AAAAAAAA",
    }
    for name, token in bad.items():
        assert cast.crm.send("/introspect", {"token": token}, proofs=()).content == nothing, name
    assert cast.crm.introspect(access)["active"] is True
    assert cast.writer.introspect(access)["active"] is True
    for party in (cast.wiki, cast.loner, cast.other):
        for token in (access, child):
            answer = party.send("/introspect", {"token": token, "resource": CRM, "client_id": party.sub}, proofs=())
            assert answer.content == nothing
    cast.world.engine.revoke(Kind.TOKEN, told["jti"], reason="INC-1")
    assert cast.crm.send("/introspect", {"token": access}, proofs=()).content == nothing


@pytest.mark.requirement("IN-02", "TX-01", "I16")
def test_a_question_names_one_token(cast: Cast) -> None:
    _, access = _access(cast)
    size = cast.world.size()
    cast.refused(cast.crm.send("/introspect", [("token", access), ("token", "x")]), size, by=cast.crm)
    assert cast.crm.send("/introspect", {"token": access, "token_type_hint": "refresh_token"}).json()["active"] is True


@pytest.mark.requirement("IN-05", "TX-20")
def test_introspection_gives_what_the_token_says(cast: Cast) -> None:
    _, access = _access(cast)
    told, seen = claims(access), cast.crm.introspect(access)
    for name in ("act", "cnf", "scope", "client_id", "sub", "aud", "iss", "jti", "exp", "iat", "sid", "txn"):
        assert seen[name] == told[name], name
    assert seen["token_type"] == "DPoP"


@pytest.mark.requirement("RV-01", "I16", "I7")
def test_a_client_revokes_its_own_token_and_no_other(cast: Cast) -> None:
    child, access = _access(cast)
    for unknown in ("x", "", child[:-8] + "AAAAAAAA"):
        answer = cast.writer.send("/revoke", {"token": unknown}, proofs=())
        assert (answer.status_code, answer.content) == (200, b"{}")
    for party in (cast.crm, cast.loner, cast.other):
        size = cast.world.size()
        answer = party.send("/revoke", {"token": access}, proofs=())
        assert cast.refused(answer, size, by=party)["code"] == "unauthorized_client"
    assert cast.crm.introspect(access)["active"] is True
    assert cast.writer.send("/revoke", {"token": access, "token_type_hint": "refresh_token"}).status_code == 200
    assert cast.crm.introspect(access) == {"active": False}
    assert cast.writer.send("/revoke", {"token": access}).status_code == 200
    assert cast.writer.send("/revoke", {"token": child}).status_code == 200
    size = cast.world.size()
    assert cast.refused(cast.writer.send("/token", cast.writer.access_fields(child)), size, by=cast.writer)["code"] in {
        "token_revoked",
        "session_revoked",
    }


@pytest.mark.requirement("A-04", "I16")
def test_a_report_is_of_a_token_for_the_reporters_own_resource(cast: Cast) -> None:
    _, access = _access(cast)
    jti = claims(access)["jti"]
    told = {"jti": jti, "tool": "read_customers", "outcome": "done", "scopes": ["crm:read"]}
    size = cast.world.size()
    assert cast.crm.send("/reports", {"report": orjson.dumps(told).decode()}).status_code == 200
    record = cast.world.since(size)[-1]
    assert (record["agent"], record["sub"], record["resource"]) == (AGENT + "writer", "local|alice", CRM)
    unknown = {**told, "jti": "unknown"}
    answers = []
    for party, body in ((cast.wiki, told), (cast.writer, told), (cast.loner, told), (cast.crm, unknown)):
        size = cast.world.size()
        answer = party.send("/reports", {"report": orjson.dumps(body).decode()})
        cast.refused(answer, size, status=404, error="not_found", by=party)
        answers.append({name: value for name, value in answer.json().items() if name != "reference"})
    assert all(one == answers[0] for one in answers)
    for body in (
        {**told, "sub": "local|bob"},
        {**told, "agent": "boss"},
        {**told, "outcome": "permitted"},
        {**told, "tool": ""},
        {**told, "tool": "x" * 513},
        {**told, "scopes": "crm:read"},
        {**told, "scopes": ["x"] * 65},
        {**told, "jti": {"a": 1}},
        [told],
        None,
    ):
        size = cast.world.size()
        answer = cast.crm.send("/reports", {"report": orjson.dumps(body).decode()})
        cast.refused(answer, size, by=cast.crm)
    for raw in ("", "{", "[" * 5000, '{"jti":"a","jti":"b"}', '{"jti":"\\ud800"}'):
        size = cast.world.size()
        cast.refused(cast.crm.send("/reports", {"report": raw}), size, by=cast.crm)


@pytest.mark.requirement("A-17", "BCP-01")
def test_the_registry_tells_a_workload_of_its_own_surroundings_alone(cast: Cast) -> None:
    def told(party: Party) -> str:
        answer = party.send("/registry", {}, proofs=())
        assert answer.status_code == 200
        return answer.text

    assert "loner" not in told(cast.churn)
    for hidden in ("boss", "writer", "crm-server", "wiki-server"):
        assert hidden not in told(cast.loner)
    for name in ("boss", "loner", "reader", "alice", "crm:read", "wiki:read", "introspection"):
        assert name not in told(cast.crm)


@pytest.mark.requirement("MD-01", "MD-02", "MD-03", "DP-11")
def test_metadata_is_of_this_issuer_names_what_it_supports_and_never_none(cast: Cast) -> None:
    answer = cast.world.http.get(cast.world.base + "/.well-known/oauth-authorization-server")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    told = answer.json()
    assert told["issuer"] == cast.world.base
    for name in (
        "grant_types_supported",
        "token_endpoint_auth_methods_supported",
        "token_endpoint_auth_signing_alg_values_supported",
        "jwks_uri",
        "introspection_endpoint",
        "revocation_endpoint",
        "dpop_signing_alg_values_supported",
    ):
        assert told[name], name
    for name, value in told.items():
        if "alg" in name or "auth_method" in name:
            assert "none" not in value
            assert not any(one.startswith("HS") for one in value)
    for name, value in told.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith(cast.world.base + "/")
    spoofed = cast.world.http.get(
        cast.world.base + "/.well-known/oauth-authorization-server", headers={"Host": "evil.example"}
    )
    assert spoofed.content == answer.content


@pytest.mark.requirement("MD-01")
def test_metadata_of_another_issuer_is_not_used(cast: Cast) -> None:
    from deputize.errors import DeputizeError

    raw = cast.world.http.get(cast.world.base + "/.well-known/oauth-authorization-server").content
    for issuer in (cast.world.base + "/", "https://sts.example", cast.world.base + "/tenant"):
        with pytest.raises(DeputizeError):
            metadata.parse(raw, issuer=issuer)


@pytest.mark.requirement("MD-01")
def test_an_issuer_with_a_path_has_its_metadata_where_the_path_is_inserted(fresh: Cast) -> None:
    from starlette.testclient import TestClient

    from deputize.authority.engine import Engine
    from deputize.authority.stores import store_of
    from deputize.config import load
    from deputize.server.app import create_app
    from deputize.system import SystemClock

    text = fresh.world.config.read_text(encoding="utf-8").replace(fresh.world.base, "https://sts.example/tenant")
    path = fresh.world.config.with_name("tenant.toml")
    path.write_text(text.replace("deputize.db", "tenant.db"), encoding="utf-8")
    configuration = load(path)
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
    with TestClient(create_app(engine)) as client:
        answer = client.get("/.well-known/oauth-authorization-server/tenant")
        assert (answer.status_code, answer.json()["issuer"]) == (200, "https://sts.example/tenant")
    engine.close()


@pytest.mark.requirement("IN-03", "I7", "RV-03")
def test_what_is_revoked_in_flight_is_inactive_on_every_replica(fresh: Cast) -> None:
    there = fresh.world.another()
    child, access = _access(fresh)
    seen = Party(world=fresh.world, key=fresh.crm.key, identity=fresh.crm.identity, sub=fresh.crm.sub, at=there)
    assert seen.introspect(access)["active"] is True
    fresh.boss.hold("/session/revoke", fresh.boss.root(), {"reason": "another tree"})
    assert seen.introspect(access)["active"] is True
    fresh.writer.hold("/session/revoke", child, {"reason": "INC-1"})
    assert seen.introspect(access) == {"active": False}
    assert fresh.crm.introspect(access) == {"active": False}


def test_the_feed_is_asked_for_by_a_form(cast: Cast) -> None:
    answer = cast.crm.send("/revocations", {"after": "0", "wait": "0"}, proofs=())
    assert answer.status_code == 200, answer.text
