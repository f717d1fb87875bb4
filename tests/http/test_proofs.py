"""Proofs of possession at the endpoints (RFC 9449): one, well formed, fresh, for this request, by this key, once."""

import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from deputize.wire import base64url, jws
from deputize.wire.alg import LocalKey, generate
from tests.http.raw import CRM, LOCAL, Cast, claims, details
from tests.http.raw import now as seconds

OWN = {"grant_type": "client_credentials", "resource": LOCAL, "scope": "tool:plan"}
CALL = {"tool": "search", "resource": LOCAL, "scopes": ["tool:search"]}


def _token_refuses(cast: Cast, proofs: list[str]) -> None:
    size = cast.world.size()
    answer = cast.boss.send("/token", OWN, proofs=proofs)
    cast.refused(answer, size, error="invalid_dpop_proof", by=cast.boss)


def _proof(cast: Cast, header: dict[str, object] | None = None, key: LocalKey | None = None, **changed: object) -> str:
    key = key or cast.boss.key
    jwk = key.public_jwk()
    jwk.pop("alg", None)
    told = {
        "jti": base64url.encode(str(time.time_ns()).encode()),
        "htm": "POST",
        "htu": cast.world.base + "/token",
        "iat": int(seconds()),
        **changed,
    }
    head = {"typ": "dpop+jwt", "alg": key.alg, "jwk": jwk, **(header or {})}
    kept = {name: value for name, value in told.items() if value is not None}
    return jws.sign_with({name: value for name, value in head.items() if value is not None}, kept, key)


@pytest.mark.requirement("DP-01", "DP-12")
def test_there_is_exactly_one_proof(cast: Cast) -> None:
    boss = cast.boss
    _token_refuses(cast, [])
    for several in (
        [boss.proof("/token"), boss.proof("/token")],
        [boss.proof("/token") + "," + boss.proof("/token")],
        [boss.proof("/token") + ",x"],
    ):
        size = cast.world.size()
        cast.refused(boss.send("/token", OWN, proofs=several), size, error="invalid_dpop_proof")
    for malformed in ("", "x", "a.b", "a.b.c", boss.proof("/token") + ".x", "x" * 17_000, boss.proof("/token")[:-2]):
        _token_refuses(cast, [malformed])


@pytest.mark.requirement("DP-02", "JW-03", "A-09")
def test_its_type_and_algorithm_are_those_of_proofs(cast: Cast) -> None:
    for header in (
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "client-authentication+jwt"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": "RS256"},
        {"crit": ["x"], "x": 1},
        {"kid": "x", "x5c": []},
        {"b64": False},
    ):
        _token_refuses(cast, [_proof(cast, header)])
    for other in (cast.boss.assertion(), cast.boss.identity, cast.boss.root()):
        _token_refuses(cast, [other])


@pytest.mark.requirement("DP-03")
def test_its_key_is_public_strong_and_its_own(cast: Cast) -> None:
    jwk = cast.boss.key.public_jwk()
    jwk.pop("alg", None)
    another = generate().public_jwk()
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # weak on purpose
    numbers = weak.public_key().public_numbers()
    encoded = {
        "kty": "RSA",
        "n": base64url.encode(numbers.n.to_bytes(128, "big")),
        "e": base64url.encode(numbers.e.to_bytes(3, "big")),
    }
    for shown in (
        None,
        {},
        {**jwk, "d": "AAAA"},
        {"kty": "oct", "k": "AAAA"},
        another,
        encoded,
        {**jwk, "x": "AAAA"},
        {**jwk, "crv": "P-384"},
        "x",
    ):
        _token_refuses(cast, [_proof(cast, {"jwk": shown})])
    _token_refuses(cast, [_proof(cast, key=generate())])  # a whole proof, and of somebody else


@pytest.mark.requirement("DP-04", "A-05")
def test_it_names_this_method_and_url(cast: Cast) -> None:
    base = cast.world.base
    for changed in (
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": None},
        {"htu": None},
        {"htu": base},
        {"htu": base + "/revoke"},
        {"htu": base + "/token/"},
        {"htu": base + "//token"},
        {"htu": base + "/TOKEN"},
        {"htu": base.replace("http:", "https:") + "/token"},
        {"htu": "http://evil.example/token"},
        {"htu": base + ".evil.example/token"},
        {"htu": base.replace("127.0.0.1", "user@127.0.0.1") + "/token"},
        {"htu": "/token"},
        {"jti": None},
        {"iat": None},
        {"htu": [base + "/token"]},
    ):
        _token_refuses(cast, [_proof(cast, **changed)])
    for spelled in ("/token?a=b", "/token#part", "/%74oken", "/a/../token"):
        assert cast.boss.send("/token", OWN, proofs=[_proof(cast, htu=base + spelled)]).status_code == 200


@pytest.mark.requirement("DP-04", "A-05")
@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil.example")],
        [("Host", "x/revoke?")],
        [("Host", "evil.example/token#")],
        [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https")],
        [("Forwarded", "host=evil.example;proto=https")],
        [("X-Original-URL", "/revoke"), ("X-Rewrite-URL", "/revoke")],
    ],
)
def test_no_header_changes_the_url_that_a_proof_is_for(cast: Cast, headers: list[tuple[str, str]]) -> None:
    for htu in (
        "http://evil.example/token",
        "https://evil.example/token",
        cast.world.base + "/revoke",
        "http://x/revoke",
    ):
        size = cast.world.size()
        answer = cast.boss.send("/token", OWN, proofs=[_proof(cast, htu=htu)], headers=headers)
        cast.refused(answer, size, error="invalid_dpop_proof", by=cast.boss)
    assert cast.boss.send("/token", OWN, headers=headers).status_code == 200


@pytest.mark.requirement("DP-05")
def test_it_is_fresh(cast: Cast) -> None:
    now = int(seconds())
    for iat in (now - 65, now - 3600, now + 10, now + 3600, 0, -1, 2**62, str(now), "now", True):
        _token_refuses(cast, [_proof(cast, iat=iat)])
    for iat in (now - 50, now + 3):
        assert cast.boss.send("/token", OWN, proofs=[_proof(cast, iat=iat)]).status_code == 200


@pytest.mark.requirement("DP-06")
def test_it_is_used_once_also_in_another_process(cast: Cast) -> None:
    there = cast.world.bases[1] if len(cast.world.bases) > 1 else cast.world.another()
    used = cast.boss.proof("/token")
    assert cast.boss.send("/token", OWN, proofs=[used]).status_code == 200
    _token_refuses(cast, [used])
    size = cast.world.size()
    answer = replace(cast.boss, at=there).send("/token", OWN, proofs=[used])
    cast.refused(answer, size, error="invalid_dpop_proof", by=cast.boss)
    _token_refuses(cast, [cast.boss.proof("/token", jti="x" * 129)])
    taken = cast.reader.proof("/token", jti="the-same-id")
    assert cast.reader.send("/token", {**OWN, "scope": "tool:search"}, proofs=[taken]).status_code == 200
    mine = cast.boss.proof("/token", jti="the-same-id")  # nobody spends another's id
    assert cast.boss.send("/token", OWN, proofs=[mine]).status_code == 200


@pytest.mark.requirement("DP-06", "DP-07", "DP-12")
def test_one_for_a_session_is_for_its_token_and_request_alone(cast: Cast) -> None:
    token, second = cast.reader.root(rights=details({LOCAL: ["tool:search"]})), None
    second = cast.reader.root(rights=details({LOCAL: ["tool:search"]}))
    reader = cast.reader
    used = reader.proof("/calls", token=token)
    assert reader.hold("/calls", token, CALL, proofs=[used]).status_code == 200
    size = cast.world.size()
    for proofs in (
        [used],
        [],
        [reader.proof("/calls")],
        [reader.proof("/calls", token=second)],
        [reader.proof("/notes", token=token)],
        [reader.proof("/calls", "GET", token=token)],
        [reader.proof("/calls", token=token, key=generate())],
        [cast.boss.proof("/calls", token=token)],
        [reader.proof("/calls", token=token, at=seconds() - 70)],
        [reader.proof("/calls", token=token), reader.proof("/calls", token=token)],
    ):
        answer = reader.hold("/calls", token, CALL, proofs=proofs)
        assert answer.status_code == (401 if len(proofs) < 2 else 400)
        assert answer.json() == {"error": "invalid_dpop_proof"}
    assert not cast.world.since(size)


@pytest.mark.requirement("DP-08", "A-08")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic", "DPoP,", "Token"])
def test_a_session_token_is_never_a_bearer(cast: Cast, scheme: str) -> None:
    token = cast.reader.root(rights=details({LOCAL: ["tool:search"]}))
    size = cast.world.size()
    for path, method, body in (
        ("/calls", "POST", CALL),
        ("/notes", "POST", {"kind": "tool.finished", "outcome": "done"}),
        ("/session", "GET", None),
        ("/session/tree", "GET", None),
        ("/session/close", "POST", {}),
        ("/session/revoke", "POST", {"reason": "x"}),
    ):
        answer = cast.reader.hold(path, token, body, method=method, scheme=scheme)
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"}), path
    assert not cast.world.since(size)


@pytest.mark.requirement("DP-08", "BCP-01")
def test_a_proof_does_not_bind_what_is_a_bearer_token(cast: Cast) -> None:
    from tests.http.raw import WIKI

    token = cast.boss.root(rights=details({WIKI: ["wiki:read"]}))
    answer = cast.boss.send("/token", cast.boss.access_fields(token, resource=WIKI, scope="wiki:read"))
    assert answer.json()["token_type"] == "Bearer"
    assert "cnf" not in claims(answer.json()["access_token"])
    assert answer.json()["expires_in"] <= 60


@pytest.mark.requirement("DP-10", "TX-09")
def test_where_tokens_are_bound_there_is_none_without_a_proof(cast: Cast) -> None:
    token = cast.reader.root(rights=details({CRM: ["crm:read"]}))
    size = cast.world.size()
    answer = cast.reader.send("/token", cast.reader.access_fields(token), proofs=())
    cast.refused(answer, size, error="invalid_dpop_proof", by=cast.reader)
    size = cast.world.size()
    answer = cast.reader.send("/token", cast.reader.access_fields(token), prover=generate())
    cast.refused(answer, size, error="invalid_dpop_proof", by=cast.reader)


@pytest.mark.requirement("A-12", "DP-06")
def test_an_actor_is_named_with_the_proof_of_its_own_key(cast: Cast) -> None:
    token = cast.boss.root()
    for prover in (cast.boss.key, generate(), cast.writer.key):
        size = cast.world.size()
        answer = cast.boss.send("/token", cast.boss.child_fields(token, cast.reader), prover=prover)
        cast.refused(answer, size, error="invalid_dpop_proof", by=cast.boss)
    assert claims(cast.boss.child(token, cast.reader))["cnf"] == {"jkt": cast.reader.key.kid}
