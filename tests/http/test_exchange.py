"""Token exchange over HTTP: RFC 8693, 8707 and 9068, row by row. Each refusal gave nothing and left its record."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from deputize.wire import jws
from deputize.wire.alg import generate
from tests.http.raw import (
    ACCESS,
    AGENT,
    CRM,
    EXCHANGE,
    FORM,
    JWT,
    KIND,
    LOCAL,
    SESSION,
    WIKI,
    Cast,
    Party,
    World,
    claims,
    details,
)
from tests.http.raw import now as seconds


@pytest.mark.requirement("TX-01")
def test_an_exchange_is_a_form_by_post(cast: Cast) -> None:
    boss, size = cast.boss, cast.world.size()
    fields = [*boss.root_fields().items(), *boss.credentials()]
    json = boss.post("/token", b'{"grant_type":"client_credentials"}', [("Content-Type", "application/json")])
    cast.refused(json, size)
    for content_type in ("", "text/plain", "multipart/form-data; boundary=x", FORM + "x"):
        sent = [("Content-Type", content_type), ("DPoP", boss.proof("/token"))]
        cast.refused(boss.post("/token", urlencode(fields).encode(), sent), size)
    got = cast.world.http.get(cast.world.base + "/token", params=dict(fields))
    assert (got.status_code, got.headers["Allow"]) == (405, "POST")
    assert not cast.world.since(size)


@pytest.mark.requirement("TX-01")
@pytest.mark.parametrize("grant", ["password", "authorization_code", "refresh_token", EXCHANGE.upper(), EXCHANGE + " "])
def test_another_grant_type_is_refused(cast: Cast, grant: str) -> None:
    size = cast.world.size()
    answer = cast.boss.send("/token", {**cast.boss.root_fields(), "grant_type": grant})
    cast.refused(answer, size, error="unsupported_grant_type", by=cast.boss)


@pytest.mark.requirement("TX-01", "I16")
@pytest.mark.parametrize(
    "name",
    ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "scope", "deputize_key", "x_unknown"],
)
def test_a_parameter_that_stands_twice_is_refused(cast: Cast, name: str) -> None:
    token, size = cast.boss.root(), cast.world.size() + 1
    fields = cast.boss.access_fields(token, deputize_key="k-twice", x_unknown="1")
    size = cast.world.size()
    answer = cast.boss.send("/token", [*fields.items(), (name, str(fields[name]))])
    cast.refused(answer, size, by=cast.boss)


@pytest.mark.requirement("TX-01", "A-08")
@pytest.mark.parametrize("name", ["scope", "deputize_ttl", "deputize_task"])
def test_so_is_one_of_a_session_of_the_agents_own(cast: Cast, name: str) -> None:
    fields = [("grant_type", "client_credentials"), ("resource", LOCAL), ("scope", "tool:plan")]
    fields += [("deputize_ttl", "60"), ("deputize_task", "a")]
    size = cast.world.size()
    answer = cast.boss.send("/token", [*fields, (name, "tool:search")])
    cast.refused(answer, size, by=cast.boss)


@pytest.mark.requirement("TX-01")
def test_a_resource_that_stands_twice_is_a_target_too_many(cast: Cast) -> None:
    token = cast.boss.root()
    size = cast.world.size()
    answer = cast.boss.send("/token", [*cast.boss.access_fields(token).items(), ("resource", WIKI)])
    cast.refused(answer, size, error="invalid_target", by=cast.boss)


@pytest.mark.requirement("TX-02", "TX-03")
@pytest.mark.parametrize(
    "changed",
    [
        {"subject_token": None},
        {"subject_token": ""},
        {"subject_token_type": None},
        {"actor_token": "x"},
        {"actor_token_type": JWT},
    ],
)
def test_subject_and_actor_come_with_their_types(cast: Cast, changed: dict[str, str | None]) -> None:
    token = cast.boss.root()
    size = cast.world.size()
    answer = cast.boss.send("/token", cast.boss.access_fields(token, **changed))
    cast.refused(answer, size, by=cast.boss)


@pytest.mark.requirement("TX-04", "RI-01", "AT-07", "TX-08")
@pytest.mark.parametrize(
    "resource",
    [
        "crm.example/mcp",
        "/mcp",
        CRM + "#part",
        CRM + "?a=b",
        CRM + "/",
        CRM.upper(),
        "https://crm.example.evil/mcp",
        None,
    ],
)
def test_a_target_is_one_known_absolute_uri(cast: Cast, resource: str | None) -> None:
    token = cast.boss.root()
    size = cast.world.size()
    answer = cast.boss.send("/token", cast.boss.access_fields(token, resource=resource))
    cast.refused(answer, size, error="invalid_target", by=cast.boss)


@pytest.mark.requirement("TX-05", "RI-02", "TX-08")
@pytest.mark.parametrize("scope", ["wiki:read", "crm:read wiki:read", "crm:delete", "tool:plan"])
def test_a_scope_of_another_resource_lands_in_no_token(cast: Cast, scope: str) -> None:
    token = cast.boss.root(rights=details({CRM: ["crm:read"], WIKI: ["wiki:read"], LOCAL: ["tool:plan"]}))
    size = cast.world.size()
    answer = cast.boss.send("/token", cast.boss.access_fields(token, scope=scope))
    cast.refused(answer, size, error="invalid_scope", by=cast.boss)


@pytest.mark.requirement("TX-08")
@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"resource": "https://elsewhere.example/"}, "invalid_target"),
        ({"scope": "crm:nothing"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"requested_token_type": KIND + "refresh_token"}, "invalid_request"),
        ({"authorization_details": details({CRM: ["crm:read"]})}, "invalid_request"),
        ({"deputize_ttl": "0"}, "invalid_request"),
        ({"deputize_ttl": "999999"}, "invalid_request"),
        ({"deputize_mode": "owner"}, "invalid_request"),
    ],
)
def test_each_kind_of_refusal_has_its_error(cast: Cast, changed: dict[str, str | None], error: str) -> None:
    token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
    size = cast.world.size()
    answer = cast.reader.send("/token", cast.reader.access_fields(token, **changed))
    cast.refused(answer, size, error=error, by=cast.reader)


@pytest.mark.requirement("TX-08", "TX-14", "CA-05", "A-17")
def test_without_client_authentication_there_is_no_exchange(cast: Cast) -> None:
    token, access = cast.reader.root(rights=details({CRM: ["crm:read"]})), None
    access = cast.reader.access(token)
    size = cast.world.size()
    for fields in (cast.reader.root_fields(), cast.reader.access_fields(token)):
        answer = cast.reader.send("/token", fields, credentials=())
        cast.refused(answer, size, status=401, error="invalid_client")
        assert answer.headers["WWW-Authenticate"].startswith("DPoP ")
    for bearer in (token, access, cast.reader.identity):
        headers = [("Authorization", f"Bearer {bearer}")]
        answer = cast.reader.send("/token", cast.reader.access_fields(token), credentials=(), headers=headers)
        cast.refused(answer, size, status=401, error="invalid_client")


def _bad_subjects(cast: Cast, token: str) -> dict[str, str]:
    """Session tokens of which each lacks one thing."""
    told, world, now = claims(token), cast.world, int(seconds())
    other = cast.boss.root()
    head, body, signature = token.split(".")
    return {
        "not a token": "x",
        "nothing signed": f"{head}.{body}.",
        "a bad signature": f"{head}.{body}.{signature[:-6]}AAAAAA",
        "another key": jws.sign("vnd.deputize.session+jwt", told, generate()),
        "expired": world.signed("vnd.deputize.session+jwt", {**told, "iat": now - 90, "exp": now - 1}),
        "another issuer": world.signed("vnd.deputize.session+jwt", {**told, "iss": "https://sts.example"}),
        "another audience": world.signed("vnd.deputize.session+jwt", {**told, "aud": CRM}),
        "another type": world.signed("at+jwt", told),
        "no such session": world.signed("vnd.deputize.session+jwt", {**told, "sid": "nothing", "txn": "nothing"}),
        "another subject": world.signed("vnd.deputize.session+jwt", {**told, "sub": "local|bob"}),
        "another's": other,
        "no chain": world.signed("vnd.deputize.session+jwt", {k: v for k, v in told.items() if k != "act"}),
        "a key that is not shown": world.signed("vnd.deputize.session+jwt", {**told, "cnf": {"jkt": "A" * 43}}),
        "no key": world.signed("vnd.deputize.session+jwt", {k: v for k, v in told.items() if k != "cnf"}),
    }


@pytest.mark.requirement("TX-06", "TX-07", "I16")
def test_a_bad_subject_token_is_invalid_request(cast: Cast) -> None:
    token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
    for name, bad in _bad_subjects(cast, token).items():
        size = cast.world.size()
        answer = cast.reader.send("/token", cast.reader.access_fields(bad))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request"), name
        cast.refused(answer, size, by=cast.reader)
    assert cast.reader.access(token)


@pytest.mark.requirement("TX-06", "TX-07", "A-01", "I16")
def test_a_bad_actor_token_is_invalid_request(cast: Cast) -> None:
    token, told, now = cast.boss.root(), claims(cast.reader.identity), int(seconds())
    world = cast.world
    bad = {
        "not a token": "x",
        "a session token": cast.reader.root(rights=details({CRM: ["crm:read"]})),
        "another key": jws.sign("wit+jwt", told, generate()),
        "expired": world.signed("wit+jwt", {**told, "iat": now - 90, "exp": now - 1}),
        "with a chain": world.signed("wit+jwt", {**told, "act": {"sub": AGENT + "boss"}}),
        "of an agent that runs elsewhere": cast.other.agent("reader").identity,
        "of an agent that nothing is handed to": cast.loner.identity,
        "of a workload": cast.churn.identity,
    }
    for name, actor in bad.items():
        size = world.size()
        fields = {**cast.boss.child_fields(token, cast.reader), "actor_token": actor}
        answer = cast.boss.send("/token", fields, prover=cast.reader.key)
        assert answer.status_code == 400, name
        assert answer.json()["error"] in {"invalid_request", "invalid_dpop_proof", "invalid_scope"}, (name, answer.text)
        assert [one["outcome"] for one in world.since(size)] == ["denied"], name
        assert "access_token" not in answer.json()


@pytest.mark.requirement("TX-07", "I16")
def test_what_policy_refuses_is_invalid_request_and_names_the_policy(cast: Cast) -> None:
    child = cast.boss.child(cast.boss.root(), cast.reader)
    size = cast.world.size()
    answer = cast.reader.send("/token", cast.reader.access_fields(child, scope="crm:write"))
    record = cast.refused(answer, size, by=cast.reader)
    assert record["policies"] == [answer.json()["policy"]] == ["session-ceiling"]
    size = cast.world.size()
    root = cast.boss.root()
    size = cast.world.size()
    answer = cast.boss.send("/token", cast.boss.access_fields(root))
    assert cast.refused(answer, size, by=cast.boss)["policies"] == ["default-deny"]


@pytest.mark.requirement("TX-09", "TX-10", "TX-11", "DP-10", "TX-18")
def test_an_answer_says_what_it_gives_and_is_not_kept(cast: Cast) -> None:
    root = cast.boss.try_root(rights=details({CRM: ["crm:read"], WIKI: ["wiki:read"]}))
    access = cast.writer.send(
        "/token", cast.writer.access_fields(cast.writer.root(rights=details({CRM: ["crm:read"]})))
    )
    wiki = cast.boss.access_fields(root.json()["access_token"], resource=WIKI, scope="wiki:read")
    bearer = cast.boss.send("/token", wiki, proofs=())
    for answer, issued, kind in (
        (root, SESSION, "N_A"),
        (access, ACCESS, "DPoP"),
        (bearer, ACCESS, "Bearer"),
    ):
        told = answer.json()
        assert (told["issued_token_type"], told["token_type"]) == (issued, kind)
        assert told["expires_in"] > 0
        assert not {"refresh_token", "id_token"} & set(told)
        assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert "authorization_details" in root.json()
    assert (access.json()["scope"], bearer.json()["scope"]) == ("crm:read", "wiki:read")
    assert claims(access.json()["access_token"])["cnf"] == {"jkt": cast.writer.key.kid}
    assert "cnf" not in claims(bearer.json()["access_token"])
    assert claims(access.json()["access_token"])["client_id"] == cast.writer.sub


@pytest.mark.requirement("TX-09", "TX-13")
def test_what_was_narrowed_is_said(cast: Cast) -> None:
    rights = details({CRM: ["crm:read", "crm:write"]})
    told = cast.reader.try_root(rights=rights).json()
    assert told["authorization_details"] == [
        {"type": "urn:deputize:rights", "locations": [CRM], "actions": ["crm:read"]}
    ]
    assert told["deputize_session"]["narrowed"]
    size = cast.world.size()
    answer = cast.reader.send("/token", cast.reader.root_fields(requested_token_type=KIND + "saml2"))
    cast.refused(answer, size, by=cast.reader)


@pytest.mark.requirement("TX-12", "RV-03")
def test_revoking_a_session_ends_three_levels_below_it_before_the_answer(cast: Cast) -> None:
    tokens = [(cast.boss, cast.boss.root(rights=details({CRM: ["crm:read"]})))]
    tokens.append(
        (cast.reader, cast.boss.child(tokens[0][1], cast.reader, authorization_details=details({CRM: ["crm:read"]})))
    )
    again = cast.churn.agent("reader")
    tokens.append((again, cast.reader.child(tokens[1][1], again, authorization_details=details({CRM: ["crm:read"]}))))
    access = again.access(tokens[2][1])
    assert cast.crm.introspect(access)["active"] is True
    answer = cast.boss.hold("/session/revoke", tokens[0][1], {"reason": "INC-1"})
    assert (answer.status_code, answer.json()["sessions"]) == (200, 3)
    assert cast.crm.introspect(access) == {"active": False}
    for party, token in tokens:
        assert party.introspect(token) == {"active": False}
        size = cast.world.size()
        refused = party.send("/token", party.access_fields(token))
        code = cast.refused(refused, size, by=party)["code"]
        assert code == ("access_denied" if party is cast.boss else "session_revoked")  # who hands on uses nothing


@pytest.mark.requirement("TX-15", "TX-16", "TX-20", "IN-05")
def test_the_chain_is_the_same_in_token_and_introspection(cast: Cast) -> None:
    root = cast.boss.root(rights=details({CRM: ["crm:read"]}))
    asked = {"authorization_details": details({CRM: ["crm:read"]})}
    child = cast.boss.child(root, cast.reader, **asked)
    second = cast.churn.agent("reader")
    access = second.access(cast.reader.child(child, second, **asked))
    told, seen = claims(access), cast.crm.introspect(access)
    assert seen["act"] == told["act"]
    chain = []
    act: Any = told["act"]
    while act is not None:
        assert set(act) <= {"sub", "iss", "sub_profile", "act"}
        chain.append(act["sub"])
        act = act.get("act")
    assert chain == [AGENT + "reader", AGENT + "reader", AGENT + "boss"]
    for name in ("sub", "aud", "iss", "jti", "exp", "iat", "client_id", "scope", "cnf", "sid", "txn"):
        assert seen[name] == told[name], name


@pytest.mark.requirement("TX-17", "TX-19", "A-07")
@pytest.mark.parametrize(
    "may_act",
    [
        "boss",
        [AGENT + "reader"],
        True,
        {},
        {"sub": [AGENT + "reader"]},
        {"sub": AGENT + "writer"},
        {"sub": "reader"},
        {"sub": AGENT + "reader/"},
        {"iss": "https://sts.example", "sub": AGENT + "reader"},
    ],
)
def test_a_may_act_that_does_not_name_the_actor_denies(cast: Cast, may_act: object) -> None:
    token = cast.boss.root()
    limited = cast.world.signed("vnd.deputize.session+jwt", {**claims(token), "may_act": may_act})
    size = cast.world.size()
    answer = cast.boss.send("/token", cast.boss.child_fields(limited, cast.reader), prover=cast.reader.key)
    cast.refused(answer, size, by=cast.boss)


@pytest.mark.requirement("TX-19")
def test_a_may_act_that_names_the_actor_gives_no_more_than_there_was(cast: Cast) -> None:
    token = cast.boss.root()
    named = {"iss": cast.world.base, "sub": AGENT + "reader"}
    limited = cast.world.signed("vnd.deputize.session+jwt", {**claims(token), "may_act": named})
    child = cast.boss.child(limited, cast.reader)
    assert "may_act" not in claims(child)


@pytest.mark.requirement("TX-17", "I11")
def test_the_chain_in_a_token_is_not_what_decides(cast: Cast) -> None:
    child = cast.boss.child(cast.boss.root(), cast.reader)
    told = claims(child)
    for act in ({"sub": AGENT + "writer", "act": {"sub": AGENT + "boss"}}, {"sub": AGENT + "reader"}):
        forged = cast.world.signed("vnd.deputize.session+jwt", {**told, "act": act})
        size = cast.world.size()
        cast.refused(cast.reader.send("/token", cast.reader.access_fields(forged)), size, by=cast.reader)


@pytest.mark.requirement("BCP-01", "RI-02")
def test_every_session_is_bound_and_every_token_is_of_one_resource(cast: Cast) -> None:
    for fields in (
        cast.boss.root_fields(),
        {"grant_type": "client_credentials", "resource": LOCAL, "scope": "tool:plan"},
    ):
        size = cast.world.size()
        unproved = cast.boss.send("/token", fields, proofs=())
        cast.refused(unproved, size, error="invalid_dpop_proof", by=cast.boss)
    token = claims(cast.boss.root())
    assert token["cnf"] == {"jkt": cast.boss.key.kid}
    assert token["aud"] == cast.world.base
    access = claims(cast.writer.access(cast.writer.root(rights=details({CRM: ["crm:read", "crm:write"]}))))
    assert (access["aud"], access["scope"]) == (CRM, "crm:read")


@pytest.mark.requirement("BCP-04", "A-16", "AT-04")
@pytest.mark.parametrize(
    "user",
    [
        "alice",
        "local|",
        "|alice",
        "local|spiffe://example.org/agent/boss",
        AGENT + "boss",
        "local|https://x.example",
        "local|a\nb",
    ],
)
def test_a_user_is_never_named_like_an_agent(cast: Cast, user: str) -> None:
    size = cast.world.size()
    cast.refused(cast.boss.try_root(user), size, by=cast.boss)


@pytest.mark.requirement("BCP-04", "A-03")
def test_nobody_asks_in_anothers_name(cast: Cast) -> None:
    size = cast.world.size()
    posing = replace(cast.reader, sub=AGENT + "boss")
    cast.refused(posing.try_root(), size, status=401, error="invalid_client")
    named = [*cast.reader.credentials(), ("client_id", AGENT + "boss")]
    answer = cast.reader.send("/token", cast.reader.root_fields(), credentials=named)
    cast.refused(answer, size, status=401, error="invalid_client")
    by_another = {**cast.boss.root_fields(), "subject_token": cast.reader.names("local|alice")}
    size = cast.world.size()
    cast.refused(cast.boss.send("/token", by_another), size, by=cast.boss)
    size = cast.world.size()
    of_a_workload = cast.churn.send("/token", cast.churn.root_fields())
    cast.refused(of_a_workload, size, by=cast.churn)


@pytest.mark.requirement("A-08", "TX-08")
@pytest.mark.parametrize(
    "more",
    [
        {"deputize_mode": "impersonation"},
        {"deputize_mode": "on_behalf_of"},
        {"subject_token": "x", "subject_token_type": JWT},
        {"actor_token": "x", "actor_token_type": JWT},
        {"deputize_user": "local|alice", "deputize_reason": "because"},
        {"audience": "crm"},
    ],
)
def test_a_session_of_the_agents_own_is_nobody_elses_in_silence(cast: Cast, more: dict[str, str]) -> None:
    size = cast.world.size()
    fields = {"grant_type": "client_credentials", "resource": LOCAL, "scope": "tool:plan", **more}
    cast.refused(cast.boss.send("/token", fields), size, by=cast.boss)


@pytest.mark.requirement("A-08")
def test_what_a_session_cannot_be_asked_for_is_not_passed_over(cast: Cast) -> None:
    for more in (
        {"audience": "crm"},
        {"deputize_user": "local|bob"},
        {"deputize_onward": details({CRM: ["crm:read"]})},
    ):
        size = cast.world.size()
        cast.refused(cast.boss.try_root(**more), size, by=cast.boss)


@pytest.mark.requirement("A-08")
def test_impersonation_is_asked_for_by_name_and_hides_the_actor_from_the_resource_alone(cast: Cast) -> None:
    own = {"grant_type": "client_credentials", "authorization_details": details({CRM: ["crm:read"]})}
    token = cast.writer.send("/token", own).json()["access_token"]
    asked = {"deputize_mode": "impersonation", "deputize_user": "local|alice", "deputize_reason": "nightly report"}
    access = cast.writer.access(token, **asked)
    told = claims(access)
    assert told["sub"] == "local|alice"
    assert "act" not in told
    assert cast.crm.introspect(access)["act"]["sub"] == AGENT + "writer"
    size = cast.world.size()
    somebody = {**asked, "deputize_user": "local|bob"}
    cast.refused(cast.writer.send("/token", cast.writer.access_fields(token, **somebody)), size, by=cast.writer)
    size = cast.world.size()
    written = cast.writer.access_fields(token, **asked, scope="crm:write")
    cast.refused(cast.writer.send("/token", written), size, by=cast.writer)
    size = cast.world.size()
    terminal = cast.writer.access_fields(access, subject_token_type=ACCESS)
    cast.refused(cast.writer.send("/token", terminal), size, by=cast.writer)


@pytest.mark.requirement("I3", "A-04")
def test_a_session_continues_an_expired_root_of_its_own_alone(fresh: Cast) -> None:
    world, boss = fresh.world, fresh.boss
    live = claims(boss.root())["sid"]
    brief = claims(boss.root(deputize_ttl="30"))["sid"]
    of_bob = claims(boss.root("local|bob", deputize_ttl="30"))["sid"]
    of_reader = claims(fresh.reader.root(rights=details({CRM: ["crm:read"]}), deputize_ttl="30"))["sid"]
    closed = boss.root(deputize_ttl="30")
    boss.hold("/session/close", closed, {})
    _later(world, 31)
    for sid in ("nothing", live, of_bob, of_reader, claims(closed)["sid"]):
        size = world.size()
        fresh.refused(boss.try_root(deputize_continues=sid), size, by=boss)
    answer = boss.try_root(deputize_continues=brief)
    assert answer.status_code == 200
    assert world.since(world.size() - 1)[0]["detail"]["continues"] == brief
    session = boss.root()
    for fields in (boss.child_fields(session, fresh.reader), fresh.boss.access_fields(session)):
        size = world.size()
        fresh.refused(boss.send("/token", fields | {"deputize_continues": brief}), size, by=boss)


@pytest.mark.requirement("I7", "A-04")
def test_nothing_goes_on_from_a_session_that_was_cut_off_before_its_time_passed(fresh: Cast) -> None:
    from deputize.model.revocation import Kind

    world, boss = fresh.world, fresh.boss
    cut = claims(boss.root(deputize_ttl="30"))["sid"]
    world.engine.revoke(Kind.USER, "local|alice", reason="INC-1")
    _later(world, 31)
    size = world.size()
    fresh.refused(boss.try_root(deputize_continues=cut), size, by=boss)
    assert boss.try_root().status_code == 200  # the user may start anew


def _later(world: World, more: int) -> None:
    """The authority's time never lies before its newest record: one of the future moves it, in every process."""
    from deputize.audit.record import seal
    from deputize.model.event import Event

    at = int((seconds() + more) * 1000)
    store = world.engine.parts.store
    store.write(lambda tx: tx.add_record(seal(Event(type="test.later", outcome="done", time=at), tx.next_seq())))


@pytest.mark.requirement("I8")
def test_a_key_is_of_one_client_and_what_was_asked_with_it(cast: Cast) -> None:
    first = cast.boss.try_root(deputize_key="one-key").json()
    again = cast.boss.try_root(deputize_key="one-key").json()
    assert again["deputize_session"]["sid"] == first["deputize_session"]["sid"]
    assert again["deputize_session"]["reissued"] is True
    rights = details({CRM: ["crm:read"]})
    others = cast.reader.try_root(deputize_key="one-key", rights=rights).json()
    assert others["deputize_session"]["sid"] != first["deputize_session"]["sid"]
    size = cast.world.size()
    answer = cast.boss.try_root(deputize_key="one-key", rights=rights)
    assert cast.refused(answer, size, by=cast.boss)["code"] == "idempotency_mismatch"


@pytest.mark.requirement("I10")
@pytest.mark.parametrize(
    "more",
    [
        {"deputize_task": "x" * 4097},
        {"deputize_key": "x" * 257},
        {"deputize_tool": "x" * 513},
        {"deputize_ttl": "9" * 40},
        {"authorization_details": "[" * 2000},
        {"authorization_details": "[" * 20 + "]" * 20},
        {"authorization_details": '[{"type":"urn:deputize:rights","locations":["a"],"actions":["b"],"more":1}]'},
        {"authorization_details": '[{"type":"another"}]'},
    ],
)
def test_what_is_too_long_or_deep_is_refused(cast: Cast, more: dict[str, str]) -> None:
    size = cast.world.size()
    answer = cast.boss.send("/token", cast.boss.root_fields() | more)
    assert answer.status_code == 400
    assert [one["outcome"] for one in cast.world.since(size)] == ["denied"]


def _party(cast: Cast, name: str) -> Party:
    found: Party = getattr(cast, name)
    return found


@pytest.mark.requirement("A-12", "TX-06")
@pytest.mark.parametrize("presenter", ["reader", "writer", "loner", "churn"])
def test_a_session_token_is_of_no_use_to_anybody_else(cast: Cast, presenter: str) -> None:
    token, party = cast.boss.root(), _party(cast, presenter)
    size = cast.world.size()
    cast.refused(party.send("/token", party.access_fields(token)), size, by=party)
    size = cast.world.size()
    answer = party.send("/token", party.child_fields(token, cast.reader), prover=cast.reader.key)
    cast.refused(answer, size, by=party)
