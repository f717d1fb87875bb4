"""Subject assertions: an agent names a user who is not here, for one authority, one minute and one use."""

import json
from typing import Any

import pytest

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.wire import base64url, jws
from deputize.wire.alg import generate

TYP = "vnd.deputize.subject+jwt"
NOW = 1_750_000_000
CLAIMS = {
    "iss": "spiffe://example.org/agent/researcher",
    "sub": "local|alice",
    "aud": "https://sts.example",
    "jti": "j",
    "iat": NOW,
    "exp": NOW + 60,
}


def test_what_an_agent_asserts_is_read_back(issuer: Any) -> None:
    made = issuer.subject(user="okta|00u1", jti="j1")
    found = issuer.read_subject(made)
    assert (found.user, found.agent, found.jti, found.exp) == ("okta|00u1", CLAIMS["iss"], "j1", NOW + 60)
    head = json.loads(base64url.decode(made.split(".")[0].encode()))
    assert head == {"alg": "ES256", "kid": issuer.holder.kid, "typ": TYP}


@pytest.mark.parametrize("user", ["alice", "local|", "|alice", "local|spiffe://x/y", "LOCAL|alice", "local|a b", ""])
def test_only_a_user_is_asserted(issuer: Any, user: str) -> None:
    with pytest.raises(InvalidRequest):
        issuer.subject(user=user)
    forged = jws.sign(TYP, {**CLAIMS, "sub": user}, issuer.holder)
    with pytest.raises(InvalidToken) as caught:
        issuer.read_subject(forged)
    assert caught.value.code == "malformed_token"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": "spiffe://example.org/agent/supervisor"}, "wrong_issuer"),
        ({"aud": ["https://sts.example"]}, "wrong_audience"),
        ({"aud": "https://crm.example"}, "wrong_audience"),
        ({"exp": NOW}, "token_expired"),
        ({"exp": NOW + 66}, "malformed_token"),
        ({"exp": True}, "malformed_token"),
        ({"iat": NOW + 6}, "not_yet_valid"),
        ({"iat": NOW - 66}, "token_expired"),
        ({"jti": ""}, "malformed_token"),
        ({"jti": "j" * 129}, "malformed_token"),
        ({"may_act": {"sub": "x"}}, "malformed_token"),
        ({"cnf": {"jkt": "x"}}, "malformed_token"),
    ],
)
def test_an_assertion_that_differs_in_one_claim_is_refused(issuer: Any, change: dict[str, object], code: str) -> None:
    assert issuer.read_subject(jws.sign(TYP, CLAIMS, issuer.holder)).user == "local|alice"
    with pytest.raises(InvalidToken) as caught:
        issuer.read_subject(jws.sign(TYP, {**CLAIMS, **change}, issuer.holder))
    assert caught.value.code == code


@pytest.mark.requirement("A-03")
def test_an_unsigned_claim_of_a_user_and_one_by_another_key_are_refused(issuer: Any) -> None:
    with pytest.raises(InvalidToken) as caught:
        issuer.read_subject(jws.sign(TYP, CLAIMS, generate()))
    assert caught.value.code == "unknown_key"
    head, body, _ = jws.sign(TYP, CLAIMS, issuer.holder).split(".")
    none = base64url.encode(json.dumps({"alg": "none", "typ": TYP}).encode())
    for token, code in ((f"{none}.{body}.", "unsupported_algorithm"), (f"{head}.{body}.", "invalid_signature")):
        with pytest.raises(InvalidToken) as caught:
            issuer.read_subject(token)
        assert caught.value.code == code


def test_a_user_that_was_changed_on_the_way_is_refused(issuer: Any) -> None:
    head, _, signature = issuer.subject().split(".")
    body = base64url.encode(json.dumps({**CLAIMS, "sub": "local|mallory"}).encode())
    with pytest.raises(InvalidToken) as caught:
        issuer.read_subject(f"{head}.{body}.{signature}")
    assert caught.value.code == "invalid_signature"
