"""The committed token vectors: what our code makes, what it reads, and what an independent reader makes of them."""

import hashlib
import json
from base64 import urlsafe_b64decode
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from deputize.model.failure import InvalidToken
from deputize.wire import access_token, dpop, identity_token, session_token
from deputize.wire.alg import LocalKey
from deputize.wire.jwk import parse_jwks
from tools import token_vectors

ROOT = next(parent for parent in Path(__file__).resolve().parents if (parent / "requirements.lock").exists())
DATA: dict[str, Any] = json.loads((ROOT / "docs/formats/vectors/tokens.json").read_text(encoding="ascii"))
KEYS = parse_jwks(json.dumps(DATA["jwks"]).encode())
PROOFS: dict[str, Any] = DATA["proofs"]


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read(kind: str, token: str) -> Any:
    given: dict[str, Any] = {"issuer": DATA["issuer"], "now": DATA["now"], "leeway": DATA["leeway"]}
    given["key_for"] = lambda header: KEYS.get(header.kid or "")
    if kind == "access":
        return access_token.decode(token, audience=DATA["audience"], **given)
    return {"identity": identity_token, "session": session_token}[kind].decode(token, **given)


def check(proof: str, *, token: str | None, spent: bool = False, nonce: str | None = None) -> str:
    jkt = PROOFS["jkt"] if token is not None else None
    return dpop.check(
        proof,
        htm=PROOFS["method"],
        htu=PROOFS["url"],
        access_token=token,
        jkt=jkt,
        now=DATA["now"],
        spend=lambda _digest, _until: not spent,
        nonce=nonce,
    )


def unsigned(value: Any) -> Any:
    """Every token and proof without its last part, which differs where ES256 has no fixed nonces."""
    if isinstance(value, dict):
        return {name: unsigned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unsigned(item) for item in value]
    if isinstance(value, str) and value.count(".") >= 2 and value.startswith("ey"):
        return value.rpartition(".")[0]
    return value


def fixed_nonces() -> bool:
    key = LocalKey("ES256", ec.derive_private_key(7, ec.SECP256R1()))
    return key.sign(b"twice") == key.sign(b"twice")


def test_the_committed_vectors_are_what_the_code_makes() -> None:
    made = json.loads(json.dumps(token_vectors.vectors()))
    if fixed_nonces():
        assert made == DATA
    else:  # a proof's `ath` is a digest of the token with its signature
        assert unsigned({**made, "proofs": None}) == unsigned({**DATA, "proofs": None})


@pytest.mark.requirement("AT-01")
@pytest.mark.requirement("AT-02")
@pytest.mark.parametrize("case", DATA["valid"], ids=lambda case: f"{case['kind']}: {case['name']}")
def test_a_valid_token_of_the_vectors_says_what_stands_beside_it(case: Any) -> None:
    found, claims = read(case["kind"], case["token"]), case["claims"]
    assert (found.iss, found.sub, found.jti, found.iat) == tuple(claims[name] for name in ("iss", "sub", "jti", "iat"))
    assert found.exp == int(claims["exp"])
    if case["kind"] == "identity":
        assert found.jwk == claims["cnf"]["jwk"]
        told = claims.get(DATA["context_claim"])
        assert (asdict(found.context) if found.context is not None else None) == told
        return
    assert (found.sid, found.txn, found.client_id) == (claims["sid"], claims["txn"], claims["client_id"])
    context = claims[DATA["context_claim"]]
    assert (found.context.mode, "".join(found.context.path), found.context.rec) == tuple(
        context[name] for name in ("mode", "path", "rec")
    )
    assert found.jkt == claims.get("cnf", {}).get("jkt")


@pytest.mark.parametrize("case", DATA["invalid"], ids=lambda case: f"{case['kind']}: {case['name']}")
def test_an_invalid_token_of_the_vectors_is_refused_with_its_code(case: Any) -> None:
    token = case["token"]
    if then := case.get("then"):
        token = token.ljust(then["up_to"], then["text"])
    with pytest.raises(InvalidToken) as caught:
        read(case["kind"], token)
    assert caught.value.code == case["code"]


@pytest.mark.requirement("DP-04")
@pytest.mark.requirement("DP-05")
@pytest.mark.parametrize("case", PROOFS["valid"], ids=lambda case: case["name"])
def test_a_valid_proof_of_the_vectors_names_the_key_of_the_token(case: Any) -> None:
    assert check(case["proof"], token=PROOFS["token"]) == PROOFS["jkt"]


def test_a_proof_without_a_token_is_what_binds_one_that_is_yet_to_be_made() -> None:
    assert check(PROOFS["without a token"]["proof"], token=None) == PROOFS["jkt"]


@pytest.mark.requirement("DP-12")
@pytest.mark.parametrize("case", PROOFS["invalid"], ids=lambda case: case["name"])
def test_an_invalid_proof_of_the_vectors_is_refused_with_its_code(case: Any) -> None:
    with pytest.raises(InvalidToken) as caught:
        check(case["proof"], token=PROOFS["token"], spent=case.get("spent", False), nonce=case.get("nonce"))
    assert caught.value.code == case["code"]


def test_there_are_enough_of_each_kind_and_no_two_are_the_same() -> None:
    kinds = Counter(case["kind"] for case in DATA["invalid"])
    assert kinds.keys() == {"identity", "session", "access"}
    assert min(*kinds.values(), len(PROOFS["invalid"])) >= 25
    names = [(case["kind"], case["name"]) for case in DATA["invalid"]]
    tokens = [case["token"] for case in DATA["invalid"] if "then" not in case]
    assert len(set(names)) == len(names)
    assert len(set(tokens)) == len(tokens)


def test_the_valid_tokens_hold_by_cryptography_and_json_alone() -> None:
    jwks = {jwk["kid"]: jwk for jwk in DATA["jwks"]["keys"]}
    for case in DATA["valid"]:
        signed, _, signature = case["token"].rpartition(".")
        head, payload = (json.loads(unb64(part)) for part in signed.split("."))
        assert (head, payload) == (case["header"], case["claims"])
        jwk = jwks[head["kid"]]
        assert jwk["alg"] == head["alg"]
        verify(jwk, unb64(signature), signed.encode())


def verify(jwk: dict[str, str], signature: bytes, signed: bytes) -> None:
    if jwk["kty"] == "OKP":
        ed25519.Ed25519PublicKey.from_public_bytes(unb64(jwk["x"])).verify(signature, signed)
    elif jwk["kty"] == "EC":
        x, y, r, s = (
            int.from_bytes(part) for part in (unb64(jwk["x"]), unb64(jwk["y"]), signature[:32], signature[32:])
        )
        point = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        point.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
    else:
        e, n = (int.from_bytes(unb64(jwk[name])) for name in ("e", "n"))
        rsa.RSAPublicNumbers(e, n).public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


def test_the_thumbprint_and_the_token_digest_of_the_proofs_can_be_made_by_hand() -> None:
    case = PROOFS["valid"][0]
    head, claims = (json.loads(unb64(part)) for part in case["proof"].split(".")[:2])
    members = json.dumps({name: head["jwk"][name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    assert unb64(PROOFS["jkt"]) == hashlib.sha256(members.encode()).digest()
    assert unb64(claims["ath"]) == hashlib.sha256(PROOFS["token"].encode()).digest()
