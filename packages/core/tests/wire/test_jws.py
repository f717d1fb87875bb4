"""The compact gate: one spelling, one header, one algorithm for each key."""

import base64
import hashlib
import hmac
import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.testing import vectors
from deputize.wire import base64url, jws
from deputize.wire.alg import ALGORITHMS

TYP = "at+jwt"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(value: Any) -> Any:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: Any, claims: Any, signer: Any) -> Any:
    signed = f"{b64(header)}.{b64(claims)}"
    return f"{signed}.{b64(signer(signed.encode()))}"


def code_of(token: str, key_for: Any, typ: str = TYP) -> Any:
    with pytest.raises(InvalidToken) as caught:
        jws.verify(token, typ=typ, key_for=key_for)
    return caught.value.code


@pytest.fixture
def token(issuer: Any) -> Any:
    return jws.sign(TYP, {"sub": "alice"}, issuer.key)


def test_a_signed_token_verifies_and_has_three_header_members(issuer: Any, token: str) -> None:
    assert jws.verify(token, typ=TYP, key_for=issuer.key_for) == {"sub": "alice"}
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert header == {"alg": "ES256", "kid": issuer.key.kid, "typ": TYP}


@pytest.mark.requirement("JW-05")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda _: ".",
        lambda _: "..",
        lambda _: "...",
        lambda t: t.rpartition(".")[0],
        lambda t: t + ".",
        lambda t: t + ".AAAA",
        lambda t: "." + t,
        lambda t: t + "=",
        lambda t: t + "==",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t.replace(".", ". ", 1),
        lambda t: t.replace(".", ".A", 1),
        lambda t: t[:-1] + "é",
        lambda t: "\ud800" + t,
        lambda t: t + "A",
        lambda t: json.dumps({"payload": t.split(".")[1], "signatures": []}),
        lambda _: None,
        lambda _: 7,
        lambda t: t.encode(),
    ],
)
def test_any_other_spelling_of_a_token_is_refused(issuer: Any, token: str, spoil: Any) -> None:
    assert code_of(spoil(token), issuer.key_for) in {"malformed_token", "invalid_signature"}


def test_every_flipped_character_is_noticed(issuer: Any, token: str) -> None:
    for place in range(0, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        spoilt = token[:place] + other + token[place + 1 :]
        with pytest.raises(InvalidToken):
            jws.verify(spoilt, typ=TYP, key_for=issuer.key_for)


def test_size_is_checked_before_anything_else(issuer: Any) -> None:
    asked = []
    for size in (16 * 1024 + 1, 10_000_000):
        with pytest.raises(InvalidToken) as caught:
            jws.verify("A" * size, typ=TYP, key_for=asked.append)
        assert caught.value.code == "token_too_large"
    assert asked == []


def test_a_token_above_eight_kib_is_not_issued(issuer: Any) -> None:
    jws.sign(TYP, {"pad": "x" * 5800}, issuer.key)
    with pytest.raises(InvalidRequest) as caught:
        jws.sign(TYP, {"pad": "x" * 6200}, issuer.key)
    assert caught.value.code == "token_too_large"


@pytest.mark.requirement("JW-05")
@pytest.mark.requirement("JW-02")
@pytest.mark.parametrize(
    "extra",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": [{}]},
        {"crit": False},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AAAA"]},
        {"x5t": "AAAA"},
        {"cty": "JWT"},
        {"nonce": "1"},
        {"jwk": {"kty": "EC"}},
        {"jwk": "text"},
        {"kid": None},
        {"kid": ""},
        {"kid": 1},
        {"kid": ["a"]},
        {"kid": "../../etc/passwd"},
        {"kid": "' or 1=1 --"},
        {"kid": "k" * 600},
        {"typ": None},
        {"typ": 1},
        {"alg": None},
        {"alg": ["ES256"]},
        {"alg": "es256"},
    ],
)
def test_any_other_header_is_refused(issuer: Any, extra: Any) -> None:
    header = {"alg": "ES256", "kid": issuer.key.kid, "typ": TYP, **extra}
    found = code_of(forged(header, {"sub": "alice"}, issuer.key.sign), lambda _: issuer.key.public)
    assert found in {"malformed_token", "unsupported_algorithm", "wrong_type"}


@pytest.mark.parametrize("missing", ["alg", "kid", "typ"])
def test_each_header_member_is_required(issuer: Any, missing: str) -> None:
    header = {"alg": "ES256", "kid": issuer.key.kid, "typ": TYP}
    del header[missing]
    assert code_of(forged(header, {}, issuer.key.sign), lambda _: issuer.key.public) in {
        "malformed_token",
        "unsupported_algorithm",
        "wrong_type",
    }


def test_a_header_with_a_member_twice_is_refused(issuer: Any) -> None:
    text = f'{{"alg":"none","kid":"{issuer.key.kid}","typ":"{TYP}","alg":"ES256"}}'.encode()
    assert code_of(forged(text, {}, issuer.key.sign), issuer.key_for) == "malformed_token"


def test_a_payload_with_a_claim_twice_is_refused(issuer: Any) -> None:
    header = {"alg": "ES256", "kid": issuer.key.kid, "typ": TYP}
    text = b'{"sub":"alice","sub":"mallory"}'
    assert code_of(forged(header, text, issuer.key.sign), issuer.key_for) == "malformed_token"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"\xff", b"{" * 2000, b'{"a":' * 2000])
def test_a_payload_that_is_no_object_is_refused(issuer: Any, body: Any) -> None:
    header = {"alg": "ES256", "kid": issuer.key.kid, "typ": TYP}
    assert code_of(forged(header, body, issuer.key.sign), issuer.key_for) == "malformed_token"


@pytest.mark.requirement("AT-01")
@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"])
def test_the_type_ignores_case_and_may_be_written_in_full(issuer: Any, typ: str) -> None:
    token = jws.sign(typ, {"sub": "a"}, issuer.key)
    assert jws.verify(token, typ=TYP, key_for=issuer.key_for) == {"sub": "a"}


@pytest.mark.requirement("AT-01")
@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt ", "at-jwt", "application/application/at+jwt", "x/at+jwt", ""])
def test_any_other_type_is_refused(issuer: Any, typ: str) -> None:
    assert code_of(jws.sign(typ, {"sub": "a"}, issuer.key), issuer.key_for) == "wrong_type"


@pytest.mark.requirement("JW-01")
@pytest.mark.parametrize("said", sorted(ALGORITHMS))
@pytest.mark.parametrize("signed_with", sorted(ALGORITHMS))
@pytest.mark.parametrize("published", sorted(ALGORITHMS))
def test_header_signature_and_published_key_must_be_of_one_algorithm(
    keys: Any, said: str, signed_with: str, published: str
) -> None:
    header = {"alg": said, "kid": "k", "typ": TYP}
    token = forged(header, {"sub": "a"}, keys[signed_with].sign)
    if said == signed_with == published:
        assert jws.verify(token, typ=TYP, key_for=lambda _: keys[published].public) == {"sub": "a"}
    else:
        assert code_of(token, lambda _: keys[published].public) == "invalid_signature"


@pytest.mark.requirement("JW-01")
@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "ES256K", "ES384", "PS256", ""]
)
def test_algorithms_outside_the_table_are_refused_before_a_key_is_looked_for(issuer: Any, alg: str) -> None:
    asked = []
    token = forged({"alg": alg, "kid": issuer.key.kid, "typ": TYP}, {"sub": "a"}, lambda _: b"")
    with pytest.raises(InvalidToken) as caught:
        jws.verify(token, typ=TYP, key_for=asked.append)
    assert (caught.value.code, asked) == ("unsupported_algorithm", [])


@pytest.mark.requirement("JW-01")
def test_no_public_key_in_any_encoding_is_an_hmac_secret(keys: Any) -> None:
    for alg, key in keys.items():
        encodings = [
            key.public.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            key.public.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            key.public.key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            json.dumps(key.public_jwk()).encode(),
            b"",
        ]
        for secret in encodings:
            for said in ("HS256", alg):
                header = {"alg": said, "kid": key.kid, "typ": TYP}
                token = forged(header, {"sub": "a"}, lambda data, s=secret: hmac.digest(s, data, hashlib.sha256))
                found = code_of(token, lambda _, k=key: k.public)
                assert found in {"unsupported_algorithm", "invalid_signature"}


def test_an_unknown_kid_is_refused(issuer: Any, token: str) -> None:
    assert code_of(token, lambda _: None) == "unknown_key"


def test_a_malleable_signature_is_still_the_same_token(issuer: Any, token: str) -> None:
    """ES256 takes (r, n-s) too: which is why nothing of ours goes by a token's bytes."""
    signed, _, text = token.rpartition(".")
    signature = base64url.decode(text.encode())
    twin = (P256_ORDER - int.from_bytes(signature[32:])).to_bytes(32)
    other = f"{signed}.{base64url.encode(signature[:32] + twin)}"
    assert other != token
    assert jws.verify(other, typ=TYP, key_for=issuer.key_for) == {"sub": "alice"}


def test_es256_signatures_are_deterministic(issuer: Any) -> None:
    """RFC 6979 where OpenSSL has it (JW-07): the same claims signed again are the same token."""
    assert jws.sign(TYP, {"sub": "a"}, issuer.key) == jws.sign(TYP, {"sub": "a"}, issuer.key)


def test_headers_of_strangers_are_not_remembered(issuer: Any) -> None:
    known = len(jws._headers)
    for number in range(50):
        header = {"alg": "ES256", "kid": f"stranger{number}", "typ": TYP}
        with pytest.raises(InvalidToken):
            jws.verify(forged(header, {}, lambda _: bytes(64)), typ=TYP, key_for=lambda _: issuer.key.public)
    assert len(jws._headers) == known


def test_a_remembered_header_forgets_nothing_of_its_checks(issuer: Any, token: str) -> None:
    jws.verify(token, typ=TYP, key_for=issuer.key_for)
    assert code_of(token, issuer.key_for, typ="wit+jwt") == "wrong_type"
    assert code_of(token, lambda _: None) == "unknown_key"


def test_a_foreign_token_may_have_key_hints_and_they_are_not_followed(keys: Any) -> Any:
    header = {"alg": "RS256", "kid": "a/b c", "x5t": "AAAA", "jku": "https://evil.example/", "jwk": {"kty": "EC"}}
    token = forged(header, {"iss": "https://idp.example"}, keys["RS256"].sign)
    seen = []

    def key_for(found: Any) -> Any:
        seen.append(found.kid)
        return keys["RS256"].public

    assert jws.verify_foreign(token, typs={None, "jwt"}, key_for=key_for) == {"iss": "https://idp.example"}
    assert seen == ["a/b c"]
    with pytest.raises(InvalidToken) as caught:
        jws.verify_foreign(token, typs={None, "jwt"}, key_for=key_for, only_known=True)
    assert caught.value.code == "malformed_token"
    with pytest.raises(InvalidToken) as caught:
        jws.verify_foreign(token, typs={"jwt"}, key_for=key_for)
    assert caught.value.code == "wrong_type"


@pytest.mark.parametrize("extra", [{"crit": ["x"]}, {"b64": False}, {"zip": "DEF"}, {"alg": "none"}])
def test_a_foreign_token_is_read_as_strictly(keys: Any, extra: Any) -> None:
    token = forged({"alg": "ES256", "kid": "a", **extra}, {"iss": "x"}, keys["ES256"].sign)
    with pytest.raises(InvalidToken):
        jws.verify_foreign(token, typs={None}, key_for=lambda _: keys["ES256"].public)


@pytest.mark.requirement("JW-06")
def test_naughty_strings_as_kid_reach_nobody(issuer: Any) -> None:
    asked = []
    for text in json.loads(vectors("naughty_strings").joinpath("blns.json").read_text(encoding="utf-8")):
        header = json.dumps({"alg": "ES256", "kid": text, "typ": TYP}).encode()
        token = forged(header, {"sub": "a"}, issuer.key.sign)
        with pytest.raises(InvalidToken):
            jws.verify(token, typ=TYP, key_for=lambda found: asked.append(found.kid))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", kid) for kid in asked)
