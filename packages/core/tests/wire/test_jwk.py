"""Keys: which JWKs become verifying keys, and what they are called."""

import copy
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from deputize.model.failure import DeputizeError, InvalidToken
from deputize.wire import base64url, jwk
from deputize.wire.alg import ALGORITHMS, LocalKey, VerifyingKey, generate


def code_of(call: Any, *arguments: Any, **named: Any) -> Any:
    with pytest.raises(InvalidToken) as caught:
        call(*arguments, **named)
    return caught.value.code


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_a_generated_key_signs_what_its_own_jwk_verifies(keys: Any, alg: str) -> None:
    key = keys[alg]
    shown = key.public_jwk()
    read = jwk.verifying_key(shown)
    assert (read.kid, read.alg) == (key.kid, alg) == (jwk.thumbprint(shown), shown["alg"])
    signature = key.sign(b"data")
    assert read.verify(signature, b"data")
    assert not read.verify(signature, b"date")
    assert not read.verify(signature[:-1], b"data")
    assert not read.verify(b"", b"data")
    assert not {"d", "p", "q", "k"} & shown.keys()


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "ignored"}
    assert jwk.thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert jwk.verifying_key({**key, "kid": "own"}).kid == "own"


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
def test_no_algorithm_takes_the_key_of_another(keys: Any, alg: str) -> None:
    for other in ALGORITHMS - {alg}:
        assert code_of(jwk.verifying_key, keys[alg].public_jwk(), alg=other) == "unsupported_key"
        assert code_of(jwk.verifying_key, {**keys[alg].public_jwk(), "alg": other}) == "unsupported_key"
        assert code_of(VerifyingKey, "k", other, keys[alg].public.key) == "unsupported_key"


@pytest.mark.parametrize("alg", sorted(ALGORITHMS))
@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.requirement("DP-03")
def test_a_private_member_is_refused_whatever_it_holds(keys: Any, alg: str, member: str) -> None:
    assert code_of(jwk.verifying_key, {**keys[alg].public_jwk(), member: None}) == "unsupported_key"


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"use": ["sig"]},
        {"use": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"key_ops": []},
        {"kid": 7},
        {"kty": None},
        {"kty": ["EC"]},
        {"kty": "oct"},
        {"crv": "P-384"},
        {"crv": ["P-256"]},
        {"crv": None},
        {"x": "AA"},
        {"x": 5},
        {"y": None},
        {"x": "A" * 43, "y": "A" * 43},
        {"alg": "ES384"},
        {"alg": "none"},
        {"alg": None},
        {"alg": ["ES256"]},
    ],
)
def test_a_jwk_that_says_something_else_is_refused(keys: Any, change: Any) -> None:
    assert code_of(jwk.verifying_key, {**keys["ES256"].public_jwk(), **change}) in {
        "unsupported_key",
        "malformed_token",
    }


def test_a_key_for_signatures_may_say_so(keys: Any) -> None:
    said = {**keys["ES256"].public_jwk(), "use": "sig", "key_ops": ["verify", "sign"], "x5c": ["ignored"]}
    assert jwk.verifying_key(said).kid == keys["ES256"].kid
    svid = {**keys["ES256"].public_jwk(), "use": "jwt-svid"}
    assert jwk.verifying_key(svid, uses={"jwt-svid"}).kid == keys["ES256"].kid
    assert code_of(jwk.verifying_key, svid) == "unsupported_key"


@pytest.mark.requirement("DP-03")
def test_an_rsa_key_below_2048_bits_is_refused() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505  # to be refused
    assert code_of(jwk.verifying_key, jwk.public_jwk(small)) == "unsupported_key"


@pytest.mark.parametrize(
    "change",
    [
        {"e": "AQ"},
        {"e": "Aw"},
        {"e": base64url.encode((2**40 + 1).to_bytes(6))},
        {"n": base64url.encode(b"\xff" * 1025)},
        {"n": base64url.encode(b"\0" + b"\xff" * 256)},
        {"n": ""},
        {"e": None},
    ],
)
def test_an_rsa_key_that_only_costs_time_is_refused(keys: Any, change: Any) -> None:
    assert code_of(jwk.verifying_key, {**keys["RS256"].public_jwk(), **change}) in {
        "unsupported_key",
        "malformed_token",
    }


def test_a_p384_key_is_no_key_for_es256() -> None:
    other = ec.generate_private_key(ec.SECP384R1())
    assert code_of(VerifyingKey, "k", "ES256", other.public_key()) == "unsupported_key"
    assert code_of(LocalKey, "ES256", other) == "unsupported_key"


def test_an_unknown_algorithm_generates_nothing() -> None:
    with pytest.raises(DeputizeError):
        generate("HS256")


def test_a_private_key_is_neither_shown_nor_pickled(keys: Any) -> None:
    for key in keys.values():
        assert repr(key) == f"LocalKey({key.kid!r}, {key.alg})"
        with pytest.raises(TypeError):
            copy.copy(key)


def test_a_key_set_is_read_by_kid_and_passes_over_what_is_not_ours(keys: Any) -> None:
    members = [
        {**keys["ES256"].public_jwk(), "sign_until": 99},
        {**keys["RS256"].public_jwk(), "kid": "rsa-1", "use": "sig"},
        {"kty": "oct", "k": "AAAA", "kid": "secret"},
        {**keys["EdDSA"].public_jwk(), "use": "enc"},
        {"kty": "XYZ"},
    ]
    found = jwk.parse_jwks(json.dumps({"keys": members}).encode())
    assert set(found) == {keys["ES256"].kid, "rsa-1"}
    assert found[keys["ES256"].kid].sign_until == 99


def test_a_key_set_with_one_kid_twice_is_refused(keys: Any) -> None:
    members = [{**keys[alg].public_jwk(), "kid": "same"} for alg in ("ES256", "EdDSA")]
    assert code_of(jwk.parse_jwks, json.dumps({"keys": members}).encode()) == "malformed_token"


@pytest.mark.parametrize(
    "text", ["{}", '{"keys":{}}', '{"keys":[1]}', "[]", '{"keys":[' + ",".join(["{}"] * 129) + "]}", " " * 70_000]
)
def test_what_is_no_key_set_is_refused(text: str) -> None:
    assert code_of(jwk.parse_jwks, text.encode()) == "malformed_token"
