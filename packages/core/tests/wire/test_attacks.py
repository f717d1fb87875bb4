"""The published attacks on JWTs, each against every slot that takes a token.

The classes: PortSwigger's eight labs (unverified signature, `none`, weak HMAC secret, `jwk` injection, `jku` injection,
`kid` path traversal, RS/HS confusion, confusion without an exposed key) and the further ones of known tool sets (null
signature, blank password, `kid` injection, `x5u`, claim reflection).
"""

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deputize.model.failure import InvalidToken
from deputize.wire import base64url
from deputize.wire.alg import generate

SLOTS = ["identity", "session", "access", "proof", "assertion", "subject", "svid"]
SELF_SIGNED = {"proof", "assertion", "subject"}  # by the key of their holder
ACCEPTABLE = {
    "invalid_signature",
    "unsupported_algorithm",
    "malformed_token",
    "wrong_type",
    "unknown_key",
    "unsupported_key",
    "invalid_dpop_proof",
}


@pytest.fixture(params=SLOTS)
def slot(request: Any, issuer: Any, claims_of: Any) -> Any:
    """(reader, header, claims, key) of a token that the slot accepts as it stands."""
    made = {
        "identity": issuer.identity(),
        "session": issuer.session(),
        "access": issuer.access(),
        "proof": issuer.proof(),
        "assertion": issuer.assertion(),
        "subject": issuer.subject(),
        "svid": issuer.svid(),
    }
    token = made[request.param]
    header = json.loads(base64url.decode(token.split(".")[0].encode()))
    read = issuer.slots()[request.param]
    if request.param == "proof":

        def read(proof: str) -> Any:
            return issuer.read_proof(proof, jkt=issuer.holder.kid)

    assert read(token)
    return read, header, claims_of(token), issuer.holder if request.param in SELF_SIGNED else issuer.key


def forge(header: Any, claims: Any, signer: Any) -> Any:
    signed = ".".join(base64url.encode(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{base64url.encode(signer(signed.encode()))}"


def refused(read: Any, token: str) -> Any:
    with pytest.raises(InvalidToken) as caught:
        read(token)
    assert caught.value.code in ACCEPTABLE
    return True


def test_changed_claims_under_the_old_signature_are_refused(slot: Any) -> None:
    read, header, claims, key = slot
    old = forge(header, claims, key.sign)
    new = forge(header, {**claims, "sub": "okta|admin", "iat": claims.get("iat", 0)}, key.sign)
    head, body, _ = new.split(".")
    if new.split(".")[1] != old.split(".")[1]:
        assert refused(read, f"{head}.{body}.{old.split('.')[2]}")


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"AA"])
def test_alg_none_is_refused_with_and_without_a_signature(slot: Any, alg: str, signature: bytes) -> None:
    read, header, claims, _ = slot
    assert refused(read, forge({**header, "alg": alg}, claims, lambda _: signature))


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"\0" * 256, b"\0"])
def test_a_null_signature_is_refused(slot: Any, signature: bytes) -> None:
    read, header, claims, _ = slot
    assert refused(read, forge(header, claims, lambda _: signature))


@pytest.mark.parametrize("secret", [b"", b"secret", b"secret1", b"password", b"\0", b"your-256-bit-secret", b"-"])
@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_a_weak_or_blank_hmac_secret_opens_nothing(slot: Any, alg: str, secret: bytes) -> None:
    read, header, claims, _ = slot
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[alg]
    assert refused(read, forge({**header, "alg": alg}, claims, lambda data: hmac.digest(secret, data, digest)))


@pytest.mark.parametrize("alg", ["HS256", "ES256", "RS256", "EdDSA"])
def test_the_public_key_as_hmac_secret_opens_nothing(slot: Any, alg: str) -> None:
    """RS/HS confusion; without an exposed key it is the same attack with a key worked out from two signatures."""
    read, header, claims, key = slot
    public = key.public.key
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(key.public_jwk()).encode(),
    ):
        for padded in (secret, secret.strip(), secret + b"\n"):
            token = forge({**header, "alg": alg}, claims, lambda data, s=padded: hmac.digest(s, data, hashlib.sha256))
            assert refused(read, token)


@pytest.mark.requirement("JW-02")
def test_an_injected_key_is_not_used(slot: Any) -> None:
    read, header, claims, _ = slot
    mallory = generate()
    injected = {**header, "kid": mallory.kid, "jwk": mallory.public_jwk()}
    assert refused(read, forge(injected, claims, mallory.sign))
    assert refused(
        read, forge({**header, "jwk": mallory.public_jwk(), "kid": header.get("kid", "k")}, claims, mallory.sign)
    )


@pytest.mark.requirement("JW-02")
@pytest.mark.parametrize("member", ["jku", "x5u", "x5c", "x5t", "x5t#S256", "jwks", "cty"])
def test_a_pointer_to_a_key_is_not_followed(slot: Any, member: str) -> None:
    read, header, claims, _ = slot
    mallory = generate()
    for value in ("https://evil.example/jwks.json", "file:///proc/self/environ", ["MIIB"], mallory.public_jwk()):
        assert refused(read, forge({**header, member: value}, claims, mallory.sign))


@pytest.mark.requirement("JW-06")
@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "x' UNION SELECT 'key';--",
        "key|/bin/sleep 10",
        "$(sleep 10)",
        "http://evil.example/key",
        "k\0ey",
        "",
        "k" * 5000,
    ],
)
def test_an_odd_kid_names_no_key(slot: Any, kid: Any) -> None:
    read, header, claims, _ = slot
    for secret in (b"", b"\0", b"key"):
        token = forge(
            {**header, "kid": kid, "alg": "HS256"}, claims, lambda data, s=secret: hmac.digest(s, data, hashlib.sha256)
        )
        assert refused(read, token)
    assert refused(read, forge({**header, "kid": kid}, claims, generate().sign))


def test_another_key_of_the_same_kind_is_refused(slot: Any) -> None:
    read, header, claims, _ = slot
    assert refused(read, forge(header, claims, generate().sign))


@pytest.mark.requirement("JW-01")
def test_a_signature_by_another_algorithm_under_the_same_kid_is_refused(slot: Any, issuer: Any) -> None:
    read, header, claims, _ = slot
    for alg, key in issuer.other.items():
        for said in {alg, header["alg"]}:
            assert refused(read, forge({**header, "alg": said}, claims, key.sign))


def test_claims_reflected_into_the_header_mean_nothing(slot: Any) -> None:
    read, header, claims, key = slot
    if "jwk" in header:
        return
    assert refused(read, forge({**header, "sub": "okta|admin", "iss": "https://evil.example"}, claims, key.sign))


@pytest.mark.requirement("JW-05")
def test_nested_and_encrypted_forms_are_refused(slot: Any) -> None:
    read, header, claims, key = slot
    token = forge(header, claims, key.sign)
    assert refused(read, forge({**header, "cty": "JWT"}, {"jwt": token}, key.sign))
    assert refused(read, ".".join([*token.split("."), "AAAA", "AAAA"]))
    assert refused(read, json.dumps(dict(zip(("protected", "payload", "signature"), token.split("."), strict=True))))
    assert refused(read, base64url.encode(token.encode()))
    assert refused(read, f"Bearer {token}")
