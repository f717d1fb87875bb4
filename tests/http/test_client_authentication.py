"""Client authentication at the endpoints (RFC 7523, RFC 6749 §2.3). Strangers learn `error` and no more."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from deputize.wire import jws
from deputize.wire.alg import generate
from tests.http.raw import AGENT, ASSERTION, CRM, LOCAL, Cast, claims, details
from tests.http.raw import now as seconds

FORMS = ("/token", "/introspect", "/revoke", "/registry", "/reports", "/revocations", "/checkpoint")
OWN = {"grant_type": "client_credentials", "resource": LOCAL, "scope": "tool:plan", "token": "x"}


def _refused(cast: Cast, credentials: list[tuple[str, str]], path: str = "/token") -> None:
    size = cast.world.size()
    answer = cast.boss.send(path, OWN, credentials=credentials)
    cast.refused(answer, size, status=401, error="invalid_client")


@pytest.mark.requirement("CA-01", "CA-05", "A-17")
@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "jti"])
def test_each_claim_of_an_assertion_is_required(cast: Cast, claim: str) -> None:
    _refused(cast, cast.boss.credentials(**{claim: None}))


@pytest.mark.requirement("CA-01", "CA-05")
@pytest.mark.parametrize("claim", ["iss", "sub"])
@pytest.mark.parametrize("value", [AGENT + "reader", "boss", "", 7, [AGENT + "boss"]])
def test_an_assertion_asserts_the_client_itself(cast: Cast, claim: str, value: object) -> None:
    _refused(cast, cast.boss.credentials(**{claim: value}))


@pytest.mark.requirement("CA-02", "A-05")
@pytest.mark.parametrize("path", ["/token", "/introspect"])
def test_its_audience_is_the_issuer_as_a_sole_text(cast: Cast, path: str) -> None:
    base = cast.world.base
    upper = base.replace("http", "HTTP")
    for audience in (
        base + "/token",
        base + "/",
        [base],
        [base, CRM],
        "https://sts.example",
        base[:-1],
        upper,
        CRM,
        None,
    ):
        _refused(cast, cast.boss.credentials(aud=audience), path)


@pytest.mark.requirement("CA-03", "JW-03")
@pytest.mark.parametrize("typ", ["JWT", None, "at+jwt", "dpop+jwt", "wit+jwt", "vnd.deputize.subject+jwt"])
def test_its_type_is_its_own(cast: Cast, typ: str | None) -> None:
    _refused(cast, cast.boss.credentials(typ=typ))


@pytest.mark.requirement("CA-04")
@pytest.mark.parametrize("times", [(0, 300), (0, 3600), (-120, -1), (-120, 30), (60, 90)])
def test_it_ends_within_a_minute(cast: Cast, times: tuple[int, int]) -> None:
    now = int(seconds())
    _refused(cast, cast.boss.credentials(iat=now + times[0], exp=now + times[1]))


@pytest.mark.requirement("CA-04", "DP-06")
def test_it_works_once_over_all_endpoints_and_processes(cast: Cast) -> None:
    there = cast.world.bases[1] if len(cast.world.bases) > 1 else cast.world.another()
    used = cast.boss.credentials()
    assert cast.boss.send("/registry", {}, credentials=used, proofs=()).status_code == 200
    for party in (cast.boss, replace(cast.boss, at=there)):
        for path in FORMS:
            size = cast.world.size()
            answer = party.send(path, OWN, credentials=used)
            assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"}), path
            assert not cast.world.since(size)
    assert replace(cast.boss, at=there).try_root().status_code == 200


@pytest.mark.requirement("CA-04", "DP-06")
def test_of_many_at_a_time_one_gets_through(cast: Cast) -> None:
    there = cast.world.bases[1] if len(cast.world.bases) > 1 else cast.world.another()
    parties = [cast.boss, replace(cast.boss, at=there)] * 8
    used, proof = cast.boss.credentials(), cast.boss.proof("/token")
    with ThreadPoolExecutor(8) as pool:
        by_assertion = list(pool.map(lambda party: party.send("/token", OWN, credentials=used).status_code, parties))
        by_proof = list(pool.map(lambda party: party.send("/token", OWN, proofs=[proof]).status_code, parties))
    assert sorted(by_assertion) == [200, *[401] * 15]
    assert sorted(by_proof) == [200, *[400] * 15]


@pytest.mark.requirement("CA-05", "JW-01", "A-12")
def test_it_is_signed_by_the_key_of_the_identity(cast: Cast) -> None:
    boss = cast.boss
    told = claims(boss.assertion())
    head = {"alg": "ES256", "typ": "client-authentication+jwt"}
    whole = boss.assertion()
    for bad in (
        jws.sign_with(head, {**told, "jti": os.urandom(8).hex()}, generate()),
        jws.sign_with({**head, "jwk": generate().public_jwk()}, {**told, "jti": os.urandom(8).hex()}, boss.key),
        jws.sign_with({**head, "alg": "none"}, told, boss.key),
        jws.sign_with({**head, "alg": "HS256"}, told, boss.key),
        whole.rpartition(".")[0] + ".",
        whole + "AA",
        whole.upper(),
        "x" * 20_000,
        "..",
    ):
        _refused(cast, [(name, bad if name == "client_assertion" else value) for name, value in boss.credentials()])
    _refused(cast, [*cast.reader.credentials()[:2], ("deputize_identity", boss.identity)])
    _refused(cast, [*boss.credentials()[:2], ("deputize_identity", cast.reader.identity)])


@pytest.mark.requirement("CA-07")
def test_a_client_authenticates_in_one_way(cast: Cast) -> None:
    token = cast.boss.root()
    for more, headers in (
        ([], [("Authorization", "Basic Ym9zczpzZWNyZXQ=")]),
        ([], [("Authorization", f"DPoP {token}")]),
        ([("client_secret", "x")], []),
        ([], [("Authorization", "Basic eA=="), ("Authorization", "Basic eA==")]),
    ):
        size = cast.world.size()
        answer = cast.boss.send("/token", OWN, credentials=[*cast.boss.credentials(), *more], headers=headers)
        cast.refused(answer, size)
    for alone, headers in (
        ([("client_secret", "x"), ("client_id", "boss")], []),
        ([], [("Authorization", "Basic eA==")]),
    ):
        size = cast.world.size()
        answer = cast.boss.send("/token", OWN, credentials=alone, headers=headers)
        cast.refused(answer, size, status=401, error="invalid_client")


@pytest.mark.requirement("CA-07", "TX-01")
@pytest.mark.parametrize("name", ["client_assertion", "client_assertion_type", "deputize_identity", "client_id"])
def test_credentials_that_stand_twice_are_none(cast: Cast, name: str) -> None:
    shown = [*cast.boss.credentials(), ("client_id", cast.boss.sub)]
    size = cast.world.size()
    cast.refused(cast.boss.send("/token", OWN, credentials=[*shown, (name, dict(shown)[name])]), size)


@pytest.mark.requirement("CA-07", "CA-05")
@pytest.mark.parametrize("name", ["client_assertion", "client_assertion_type", "deputize_identity"])
def test_credentials_are_whole(cast: Cast, name: str) -> None:
    _refused(cast, [pair for pair in cast.boss.credentials() if pair[0] != name])
    _refused(cast, [(n, v if n != name else v + "x") for n, v in cast.boss.credentials()])


@pytest.mark.requirement("A-17", "IN-01", "TX-14")
@pytest.mark.parametrize("path", FORMS)
def test_strangers_learn_the_same_everywhere_whatever_they_ask(cast: Cast, path: str) -> None:
    token = cast.boss.root()
    size = cast.world.size()
    bad = [("client_assertion_type", ASSERTION), ("client_assertion", "x"), ("deputize_identity", cast.boss.identity)]
    answers = [
        cast.boss.send(path, form, credentials=credentials)
        for credentials in ((), bad, cast.boss.credentials(aud="x"))
        for form in (OWN, {"token": token}, {"grant_type": "x"}, {"report": "{"})
    ]
    assert {(one.status_code, one.content, one.headers.get("WWW-Authenticate")) for one in answers} == {
        (401, b'{"error":"invalid_client"}', 'DPoP error="invalid_client"')
    }
    assert not cast.world.since(size)


@pytest.mark.requirement("WL-02", "A-15", "A-17")
@pytest.mark.parametrize(
    "grant", ["urn:deputize:params:oauth:grant-type:join", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
)
def test_evidence_that_proves_nobody_is_invalid_grant_and_nothing_more(cast: Cast, grant: str) -> None:
    from deputize.authority.joining import enroll

    used = enroll(cast.world.engine.parts, "churn", by="test").token
    form = "urn:deputize:params:oauth:grant-type:join"
    assert cast.boss.send("/token", {"grant_type": form, "join_token": used}, credentials=()).status_code == 200
    name = "join_token" if grant.endswith("join") else "assertion"
    for shown in ("x", "deputize-join-" + "A" * 43, used, cast.boss.identity, cast.boss.root(), cast.boss.assertion()):
        prover = generate()
        answer = cast.boss.send("/token", {"grant_type": grant, name: shown}, credentials=(), prover=prover)
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"}), shown[:20]
    for fields in ([(name, used), (name, used)], [(name, "")], []):
        answer = cast.boss.send("/token", [("grant_type", grant), *fields], credentials=())
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})


@pytest.mark.requirement("CA-04", "I7")
def test_an_identity_that_was_revoked_or_whose_agent_is_suspended_authenticates_nobody(fresh: Cast) -> None:
    from deputize.model.revocation import Kind

    engine, token = fresh.world.engine, fresh.reader.root(rights=details({LOCAL: ["tool:search"]}))
    engine.revoke(Kind.TOKEN, claims(fresh.writer.identity)["jti"], reason="INC-1")
    engine.revoke(Kind.AGENT, fresh.reader.sub, reason="INC-1")
    for party in (fresh.writer, fresh.reader):
        size = fresh.world.size()
        fresh.refused(party.send("/token", OWN), size, status=401, error="invalid_client")
    size = fresh.world.size()
    asked = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}
    answer = fresh.reader.hold("/calls", token, asked)
    # The key of the token was proven, so its holder is told why, as it is in one process (I15).
    assert (answer.status_code, answer.json()["error"], answer.json()["code"]) == (
        401,
        "invalid_client",
        "agent_suspended",
    )
    assert [(one["type"], one["outcome"]) for one in fresh.world.since(size)] == [("tool.denied", "denied")]
    unproven = fresh.reader.hold("/calls", token, asked, proofs=[fresh.writer.proof("/calls", "POST", token=token)])
    assert (unproven.status_code, "agent_suspended" in unproven.text) == (401, False)
    assert fresh.boss.try_root().status_code == 200


@pytest.mark.requirement("A-15", "CA-05")
def test_a_workload_gets_no_identity_of_an_agent_that_it_does_not_host(cast: Cast) -> None:
    from tests.http.raw import EXCHANGE, JWT

    for party, name in ((cast.churn, "loner"), (cast.crm, "boss"), (cast.boss, "reader"), (cast.churn, "nobody")):
        fields = {
            "grant_type": EXCHANGE,
            "subject_token": party.identity,
            "subject_token_type": JWT,
            "requested_token_type": JWT,
            "audience": name,
        }
        size = cast.world.size()
        answer = party.send("/token", fields, prover=generate())
        assert answer.status_code in {400, 401}
        assert "access_token" not in answer.json()
        assert [one["outcome"] for one in cast.world.since(size)] == ["denied"], name
