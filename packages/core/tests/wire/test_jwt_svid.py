"""JWT-SVIDs at the gate: every algorithm that the standard allows, and no other."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from deputize.model.failure import InvalidToken
from deputize.wire import jwt_svid
from deputize.wire.alg import generate
from deputize.wire.foreign_keys import parse_foreign_jwks
from deputize.wire.json_strict import dumps

USE = {jwt_svid.SVID_USE}


@pytest.mark.requirement("WL-01")
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_bundles_parsed_key_is_used_by_its_curve(curve: ec.EllipticCurve) -> None:
    found = jwt_svid.bundle_key("k", ec.generate_private_key(curve).public_key())
    assert (found.kid, found.alg) == ("k", {256: "ES256", 384: "ES384", 521: "ES512"}[curve.key_size])


@pytest.mark.requirement("WL-01")
def test_a_bundles_parsed_rsa_key_is_for_rs256() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    assert jwt_svid.bundle_key("k", key).alg == "RS256"


@pytest.mark.requirement("WL-01")
@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        ec.generate_private_key(ec.SECP256R1()),
        b"secret",
        None,
    ],
    ids=["Ed25519", "secp256k1", "private", "symmetric", "none"],
)
def test_no_other_key_is_one_of_a_bundle(key: object) -> None:
    with pytest.raises(InvalidToken):
        jwt_svid.bundle_key("k", key)


@pytest.mark.requirement("WL-01")
def test_a_bundle_holds_keys_that_say_what_they_are_for() -> None:
    keys = {name: generate() for name in ("svid", "x509", "silent")}
    uses = {"svid": {"use": "jwt-svid"}, "x509": {"use": "x509-svid"}, "silent": {}}
    shown = [{**key.public_jwk(), "kid": name, **uses[name]} for name, key in keys.items()]
    assert parse_foreign_jwks(dumps({"keys": shown}), uses=USE).keys() == {"svid"}
    # An issuer's own set is the other way round: silence means signatures.
    assert parse_foreign_jwks(dumps({"keys": shown})).keys() == {"silent"}


@pytest.mark.parametrize(
    "name",
    [
        "spiffe://prod.example",
        "spiffe://prod.example/",
        "spiffe://prod.example/a/",
        "spiffe://prod.example//a",
        "spiffe://prod.example/./a",
        "spiffe://prod.example/a/..",
        "spiffe://prod.example/a?x",
        "spiffe://prod.example/a#x",
        "spiffe://user@prod.example/a",
        "spiffe://Prod.example/a",
        "SPIFFE://prod.example/a",
        "https://prod.example/a",
        "spiffe://prod.example/" + "a" * 2048,
        "spiffe://prod.example/a\n",
        None,
        7,
    ],
)
def test_what_is_no_spiffe_id_has_no_trust_domain(name: object) -> None:
    with pytest.raises(InvalidToken):
        jwt_svid.trust_domain_of(name)


@pytest.mark.requirement("WL-01")
def test_an_svid_of_another_trust_domain_is_refused_whoever_signed(issuer: Any) -> None:
    assert issuer.read_svid(issuer.svid()).sub == "spiffe://prod.example/ns/churn"
    with pytest.raises(InvalidToken):
        issuer.read_svid(issuer.svid(sub="spiffe://dev.example/ns/churn"))
    with pytest.raises(InvalidToken):
        issuer.read_svid(issuer.svid(), audience="https://sts.example")  # a text is no set of audiences
