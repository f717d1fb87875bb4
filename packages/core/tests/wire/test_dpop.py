"""Proofs of possession: RFC 9449 §4.3, check by check."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidToken
from deputize.testing import vectors
from deputize.wire import base64url, dpop, jws
from deputize.wire.alg import generate

TOKEN = "an.access.token"
URL = "https://crm.example/mcp"


class Spent:
    """Remembers what was spent, as a store does."""

    def __init__(self) -> None:
        self.seen = {}

    def __call__(self, digest: Any, until: Any) -> Any:
        if digest in self.seen:
            return False
        self.seen[digest] = until
        return True


def code_of(call: Any, *arguments: Any, **named: Any) -> Any:
    with pytest.raises(InvalidToken) as caught:
        call(*arguments, **named)
    return caught.value.code


@pytest.fixture
def check(issuer: Any) -> Any:
    def run(proof: str, **changes: Any) -> Any:
        given = {"htm": "POST", "htu": URL, "access_token": TOKEN, "jkt": issuer.holder.kid, "now": issuer.now}
        return dpop.check(proof, **{"spend": Spent(), **given, **changes})

    return run


@pytest.fixture
def make(issuer: Any) -> Any:
    def run(key: Any = None, **changes: Any) -> Any:
        return dpop.proof(
            key or issuer.holder, **{"htm": "POST", "htu": URL, "access_token": TOKEN, "now": issuer.now, **changes}
        )

    return run


def altered(issuer: Any, make: Any, header: Any = None, key: Any = None, **claims: Any) -> Any:
    proof = make(key=key)
    head, body = (json.loads(base64url.decode(part.encode())) for part in proof.split(".")[:2])
    both = {**body, **claims}
    return jws.sign_with(
        {**head, **(header or {})}, {k: v for k, v in both.items() if v is not ...}, key or issuer.holder
    )


@pytest.mark.requirement("DP-07")
@pytest.mark.parametrize("alg", ["ES256", "EdDSA", "RS256"])
def test_a_proof_tells_whose_key_signed_it(keys: Any, make: Any, check: Any, alg: str) -> None:
    assert check(make(key=keys[alg]), jkt=keys[alg].kid) == keys[alg].kid
    assert check(make(key=keys[alg]), jkt=None) == keys[alg].kid


def test_a_proof_has_the_form_of_the_standard(issuer: Any, make: Any) -> None:
    head, body = (json.loads(base64url.decode(part.encode())) for part in make().split(".")[:2])
    shown = issuer.holder.public_jwk()
    del shown["alg"]
    assert head == {"typ": "dpop+jwt", "alg": "ES256", "jwk": shown}
    assert body.keys() == {"jti", "htm", "htu", "iat", "ath"}
    assert len(body["jti"]) == 22


@pytest.mark.requirement("DP-04")
@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat", "ath"])
@pytest.mark.parametrize("wrong", [..., None, "", 7.5, True, ["POST"], {"a": 1}])
def test_each_claim_of_a_proof_is_required_in_its_form(
    issuer: Any, make: Any, check: Any, claim: str, wrong: Any
) -> None:
    if claim == "iat" and wrong == 7.5:
        wrong = "1750000000"
    assert code_of(check, altered(issuer, make, **{claim: wrong})) == "invalid_dpop_proof"


@pytest.mark.requirement("DP-04")
@pytest.mark.parametrize("method", ["GET", "post", "POST ", "PUT"])
def test_a_proof_for_another_method_is_refused(make: Any, check: Any, method: str) -> None:
    assert code_of(check, make(htm=method)) == "invalid_dpop_proof"


SAME = [
    "https://crm.example/mcp",
    "HTTPS://CRM.EXAMPLE/mcp",
    "https://crm.example:443/mcp",
    "https://crm.example/mcp?tool=x",
    "https://crm.example/mcp#frag",
    "https://crm.example/%6Dcp",
    "https://crm.example/a/../mcp",
    "https://crm.example/./mcp",
    "https://crm.example/%2e%2e/mcp",
]
OTHER = [
    "http://crm.example/mcp",
    "https://crm.example:8443/mcp",
    "https://crm.example/mcp/",
    "https://crm.example/MCP",
    "https://crm.example//mcp",
    "https://crm.example/",
    "https://crm.example",
    "https://crm.example.evil/mcp",
    "https://evil.example/mcp",
    "https://crm.example/mcp%2Fadmin",
    "https://crm.example/mc%70%20",
]
NO_URL = [
    "",
    "/mcp",
    "crm.example/mcp",
    "ftp://crm.example/mcp",
    "https:///mcp",
    "https://user@crm.example/mcp",
    "https://user:pw@crm.example/mcp",
    "https://crm.example:99999/mcp",
    "https://crm.example:port/mcp",
    "https://crm.example/mcp\n",
    "https://crm.ex\tample/mcp",
    "https://crm.example\\@evil.example/mcp",
    "https://crm%2eexample/mcp",
    "https://[::1/mcp",
    "https://crm.example/%zz",
    "https://crm.example/%2",
    "https://crm.exämple/mcp",
    "https://" + "a" * 3000,
    " https://crm.example/mcp",
]


@pytest.mark.requirement("DP-04")
@pytest.mark.parametrize("url", SAME)
def test_spellings_of_one_url_are_one(issuer: Any, make: Any, check: Any, url: str) -> None:
    assert check(altered(issuer, make, htu=url))
    assert check(make(), htu=url)


@pytest.mark.requirement("DP-04")
@pytest.mark.parametrize("url", OTHER + NO_URL)
def test_a_proof_for_another_url_is_refused(issuer: Any, make: Any, check: Any, url: str) -> None:
    assert code_of(check, altered(issuer, make, htu=url)) == "invalid_dpop_proof"
    assert code_of(check, make(), htu=url) == "invalid_dpop_proof"


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("http://[FE80::1]:8080", "http://[fe80::1]:8080/"),
        ("https://h/%c3%a9/%7Ea", "https://h/%C3%A9/~a"),
        ("https://h/a/b/..", "https://h/a/"),
        ("https://h/a/.", "https://h/a/"),
        ("https://h/../../a", "https://h/a"),
        ("https://h?x=/../", "https://h/"),
    ],
)
def test_a_url_is_written_in_one_way(url: str, normal: str) -> None:
    assert dpop.normalized(url) == normal
    assert dpop.normalized(normal) == normal


@given(st.text(st.sampled_from("ab/.%2eE?#:~-"), max_size=14))
@settings(max_examples=150)
def test_normalising_twice_changes_nothing(tail: str) -> None:
    try:
        once = dpop.normalized("https://h/" + tail)
    except InvalidToken:
        return
    assert dpop.normalized(once) == once
    assert not {"..", "."} & set(once.removeprefix("https://h/").split("/"))


@pytest.mark.requirement("DP-05")
def test_a_proof_lives_for_its_window_and_a_little_skew(issuer: Any, make: Any, check: Any) -> None:
    for age, fine in ((0, True), (60, True), (60.5, False), (-5, True), (-6, False), (1e9, False)):
        if fine:
            assert check(make(), now=issuer.now + age)
        else:
            assert code_of(check, make(), now=issuer.now + age) == "invalid_dpop_proof"
    assert check(make(), now=issuer.now + 200, window=300)


@pytest.mark.requirement("DP-06")
def test_a_proof_is_good_for_once_as_long_as_it_could_be_sent_again(issuer: Any, make: Any, check: Any) -> None:
    spent = Spent()
    proof = make()
    assert check(proof, spend=spent)
    assert code_of(check, proof, spend=spent) == "invalid_dpop_proof"
    (until,) = spent.seen.values()
    assert until > issuer.now + dpop.WINDOW
    assert not any(TOKEN in digest or URL in digest for digest in spent.seen)


@pytest.mark.requirement("DP-06")
def test_nobody_spends_the_proof_of_another(keys: Any, make: Any, check: Any) -> None:
    spent = Spent()
    for key in (keys["ES256"], keys["EdDSA"]):
        assert check(make(key=key, jti="the same"), jkt=None, spend=spent)
    assert check(make(htu=URL + "/2", jti="the same", key=keys["ES256"]), htu=URL + "/2", jkt=None, spend=spent)


@pytest.mark.requirement("DP-06")
def test_a_refused_proof_spends_nothing(issuer: Any, make: Any, check: Any) -> None:
    spent = Spent()
    for bad in (make(htm="GET"), make(access_token="other"), make(now=issuer.now - 900), make(jti="j" * 129)):
        assert code_of(check, bad, spend=spent) == "invalid_dpop_proof"
    assert code_of(check, make(key=generate()), spend=spent) == "invalid_dpop_proof"
    assert spent.seen == {}


@pytest.mark.requirement("DP-07")
def test_a_proof_for_another_token_or_by_another_key_is_refused(issuer: Any, make: Any, check: Any) -> None:
    assert code_of(check, make(access_token="another")) == "invalid_dpop_proof"
    assert code_of(check, make(access_token=None)) == "invalid_dpop_proof"
    assert code_of(check, make(), jkt=generate().kid) == "invalid_dpop_proof"
    assert check(make(access_token=None), access_token=None)


@pytest.mark.requirement("DP-02")
@pytest.mark.parametrize(
    "header", [{"typ": "JWT"}, {"typ": "at+jwt"}, {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"}]
)
def test_a_proof_of_another_type_or_algorithm_is_refused(issuer: Any, make: Any, check: Any, header: Any) -> None:
    assert code_of(check, altered(issuer, make, header=header)) == "invalid_dpop_proof"


@pytest.mark.requirement("DP-03")
@pytest.mark.parametrize("member", ["d", "p", "k"])
def test_a_proof_that_shows_a_private_member_is_refused(issuer: Any, make: Any, check: Any, member: str) -> None:
    jwk = {**issuer.holder.public_jwk(), member: "AAAA"}
    assert code_of(check, altered(issuer, make, header={"jwk": jwk})) == "invalid_dpop_proof"


@pytest.mark.requirement("DP-03")
@pytest.mark.parametrize("jwk", [None, {}, "text", [], {"kty": "oct", "k": "AAAA"}, {"kty": "EC", "crv": "P-256"}])
def test_a_proof_without_a_usable_key_is_refused(issuer: Any, make: Any, check: Any, jwk: Any) -> None:
    assert code_of(check, altered(issuer, make, header={"jwk": jwk})) == "invalid_dpop_proof"


def test_a_proof_whose_key_is_not_the_signers_is_refused(issuer: Any, make: Any, check: Any) -> None:
    proof = altered(issuer, make, header={"jwk": generate().public_jwk()})
    assert code_of(check, proof, jkt=None) == "invalid_dpop_proof"


@pytest.mark.requirement("DP-09")
def test_where_a_nonce_was_given_no_proof_without_it_passes(make: Any, check: Any) -> None:
    assert check(make(nonce="n1"), nonce="n1")
    assert code_of(check, make(), nonce="n1") == "use_dpop_nonce"
    assert code_of(check, make(nonce="n0"), nonce="n1") == "use_dpop_nonce"


@pytest.mark.requirement("DP-01")
@pytest.mark.parametrize(
    "spoil", [lambda p: p + "," + p, lambda p: p + ", " + p, lambda _: "", lambda p: p + ".", lambda _: "é"]
)
def test_what_is_not_one_well_formed_proof_is_refused(make: Any, check: Any, spoil: Any) -> None:
    assert code_of(check, spoil(make())) == "invalid_dpop_proof"


def test_naughty_strings_are_no_urls_and_no_proofs(make: Any, check: Any) -> None:
    for text in json.loads(vectors("naughty_strings").joinpath("blns.json").read_text(encoding="utf-8")):
        for call in (
            check,
            lambda t: check(make(), htu=t),
            lambda t: dpop.normalized("https://h/" + t + "\n"),
        ):
            assert code_of(call, text) == "invalid_dpop_proof"
