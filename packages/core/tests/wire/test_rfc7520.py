"""The JOSE cookbook: what is ours verifies, what is not is refused for the right reason."""

import json
from typing import Any

import pytest

from deputize.model.failure import InvalidToken
from deputize.testing import vectors
from deputize.wire import jwk, jws
from deputize.wire.alg import VerifyingKey

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}


def example(folder: str, name: str) -> Any:
    return json.loads(vectors("rfc7520").joinpath(folder, name).read_text(encoding="utf-8"))


def public(members: Any) -> Any:
    return {name: value for name, value in members.items() if name not in PRIVATE}


def verify(token: str, key: Any) -> Any:
    return jws.verify_payload(token, key_for=lambda _: key)


def test_the_rsa_signature_of_section_4_1_verifies() -> None:
    found = example("jws", "4_1.rsa_v15_signature.json")
    key = jwk.verifying_key(public(found["input"]["key"]))
    assert verify(found["output"]["compact"], key).decode() == found["input"]["payload"]


@pytest.mark.parametrize(
    "name", ["4_2.rsa-pss_signature.json", "4_3.ecdsa_signature.json", "4_4.hmac-sha2_integrity_protection.json"]
)
def test_algorithms_that_are_not_ours_are_refused(name: str) -> None:
    found = example("jws", name)
    with pytest.raises(InvalidToken) as caught:
        verify(found["output"]["compact"], None)
    assert caught.value.code == "unsupported_algorithm"


@pytest.mark.parametrize(
    "name",
    [
        "4_1.rsa_v15_signature.json",
        "4_6.protecting_specific_header_fields.json",
        "4_7.protecting_content_only.json",
        "4_8.multiple_signatures.json",
    ],
)
def test_json_serialisations_are_no_tokens(name: str) -> None:
    output = example("jws", name)["output"]
    for form in ("json", "json_flat"):
        if form in output:
            with pytest.raises(InvalidToken):
                verify(json.dumps(output[form]), None)


def test_detached_content_does_not_verify_without_its_content() -> None:
    output = example("jws", "4_5.signature_with_detached_content.json")["output"]
    with pytest.raises(InvalidToken):
        verify(output["compact"], None)


def test_a_private_or_symmetric_key_is_refused_as_a_verifying_key() -> None:
    for name in ("3_2.ec_private_key.json", "3_4.rsa_private_key.json", "3_5.symmetric_key_mac_computation.json"):
        with pytest.raises(InvalidToken) as caught:
            jwk.verifying_key(example("jwk", name))
        assert caught.value.code == "unsupported_key"


def test_the_rsa_public_key_of_section_3_3_is_read_under_its_kid() -> None:
    found = example("jwk", "3_3.rsa_public_key.json")
    key = jwk.verifying_key(found)
    assert isinstance(key, VerifyingKey)
    assert (key.kid, key.alg) == (found["kid"], "RS256")
    assert jwk.public_jwk(key.key) == {name: found[name] for name in ("kty", "n", "e")}


def test_the_p521_key_of_section_3_1_is_no_key_of_ours() -> None:
    with pytest.raises(InvalidToken) as caught:
        jwk.verifying_key(example("jwk", "3_1.ec_public_key.json"))
    assert caught.value.code == "unsupported_key"
