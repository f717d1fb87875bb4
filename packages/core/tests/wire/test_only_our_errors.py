"""Whatever bytes come in, only our errors come out, and they tell nothing of what came in (I9, I10)."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidToken
from deputize.testing import vectors
from deputize.wire import base64url, jws

pytestmark = [pytest.mark.requirement("I10"), pytest.mark.requirement("I9")]

CODES = re.compile(r"[a-z_]{4,30}")
WORDS = ["alg", "kid", "typ", "jwk", "crit", "b64", "exp", "iat", "nbf", "cnf", "jkt", "act", "sub", "none", "ES256"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=6,
)


def error_of(read: Any, token: str) -> InvalidToken:
    """Our error, or an empty one where there was none; any other error fails the test."""
    try:
        read(token)
    except InvalidToken as error:
        return error
    return InvalidToken("", code="none")


def everywhere(issuer: Any, token: str) -> None:
    for read in (*issuer.slots().values(), jws.peek):
        error = error_of(read, token)
        assert CODES.fullmatch(error.code)
        said = str(error)
        assert len(said) < 200
        assert len(token) < 12 or token[:12] not in said


@given(text=st.text(max_size=60) | st.text("eyJ.AQ-_=", max_size=60))
@settings(max_examples=100)
def test_any_text(issuer: Any, text: str) -> None:
    everywhere(issuer, text)


@given(data=st.data())
@settings(max_examples=100)
def test_any_mutation_of_a_token(issuer: Any, data: Any) -> None:
    token = data.draw(st.sampled_from([issuer.access(), issuer.session(), issuer.identity(), issuer.proof()]))
    at = data.draw(st.integers(0, len(token)))
    cut = data.draw(st.integers(0, 5))
    everywhere(issuer, token[:at] + data.draw(st.text(max_size=5)) + token[at + cut :])


@given(header=st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=4), payload=st.binary(max_size=30))
@settings(max_examples=100)
def test_any_signed_header_and_payload(issuer: Any, header: Any, payload: bytes) -> None:
    head = base64url.encode(json.dumps({"alg": "ES256", "kid": issuer.key.kid, "typ": "at+jwt", **header}).encode())
    signed = f"{head}.{base64url.encode(payload)}"
    everywhere(issuer, f"{signed}.{base64url.encode(issuer.key.sign(signed.encode()))}")


@given(data=st.data())
@settings(max_examples=150)
def test_any_value_in_any_claim_of_a_well_signed_token(issuer: Any, data: Any) -> None:
    kind = data.draw(st.sampled_from(["identity", "session", "access"]))
    typ, read, claims = issuer.token_slots()[kind]
    name = data.draw(st.sampled_from([*claims, "nbf", "may_act"]))
    token = jws.sign(typ, {**claims, name: data.draw(VALUES)}, issuer.key)
    assert CODES.fullmatch(error_of(read, token).code)


def test_naughty_strings_as_tokens_and_as_claims(issuer: Any) -> None:
    typ, read, claims = issuer.token_slots()["access"]
    for text in json.loads(vectors("naughty_strings").joinpath("blns.json").read_text(encoding="utf-8")):
        everywhere(issuer, text)
        for name in ("sub", "client_id", "jti"):
            token = jws.sign(typ, {**claims, name: text}, issuer.key)
            if text:
                assert getattr(read(token), name) == text
        for name in ("sid", "txn", "iss", "aud"):
            with pytest.raises(InvalidToken) as caught:
                read(jws.sign(typ, {**claims, name: text}, issuer.key))
            assert len(text) < 12 or text[:12] not in str(caught.value)
