"""Tokens of other issuers: more algorithms, the same gate; what they must say and whom they are for."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from deputize.model.failure import InvalidToken
from deputize.testing import vectors
from deputize.wire import base64url, foreign_token, jws
from deputize.wire.alg import ALGORITHMS, VerifyingKey, generate
from deputize.wire.foreign_keys import FOREIGN_ALGORITHMS, foreign_key, parse_foreign_jwks

NOW = 1_750_000_000
ISSUER = "https://login.example/tenant"
AUDIENCE = "https://sts.example"
CLAIMS = {"iss": ISSUER, "sub": "u1", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600}
DIGESTS = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES384": (ec.SECP384R1(), "P-384", 48), "ES512": (ec.SECP521R1(), "P-521", 66)}

Sign = Callable[[bytes], bytes]


def number(value: int, size: int | None = None) -> str:
    return base64url.encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@pytest.fixture(scope="module")
def rsa_key() -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def issuers(rsa_key: Any) -> dict[str, tuple[dict[str, object], Sign]]:
    """Of every algorithm the public JWK and how its holder signs."""
    found: dict[str, tuple[dict[str, object], Sign]] = {}
    for alg in ALGORITHMS:
        key = generate(alg)
        found[alg] = ({**key.public_jwk(), "kid": alg}, key.sign)
    eddsa = found["EdDSA"]
    found["Ed25519"] = ({**eddsa[0], "alg": "Ed25519", "kid": "Ed25519"}, eddsa[1])
    for alg, (curve, crv, size) in CURVES.items():
        private = ec.generate_private_key(curve)
        point = private.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": crv, "kid": alg, "x": number(point.x, size), "y": number(point.y, size)}

        def sign(data: bytes, private: Any = private, digest: Any = DIGESTS[alg[2:]], size: int = size) -> bytes:
            r, s = decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")

        found[alg] = (jwk, sign)
    public = rsa_key.public_key().public_numbers()
    for alg in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        digest = DIGESTS[alg[2:]]
        scheme = padding.PKCS1v15() if alg[0] == "R" else padding.PSS(padding.MGF1(digest), digest.digest_size)

        def sign_rsa(data: bytes, scheme: Any = scheme, digest: Any = digest) -> bytes:
            return rsa_key.sign(data, scheme, digest)

        found[alg] = ({"kty": "RSA", "alg": alg, "kid": alg, "n": number(public.n), "e": number(public.e)}, sign_rsa)
    return found


def made(header: object, claims: object, sign: Sign) -> str:
    parts = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in (header, claims)]
    signed = ".".join(base64url.encode(part) for part in parts)
    return f"{signed}.{base64url.encode(sign(signed.encode()))}"


def keys_of(issuers: Any) -> Any:
    found = parse_foreign_jwks(json.dumps({"keys": [jwk for jwk, _ in issuers.values()]}).encode())
    return lambda header: found.get(header.kid)


def read(token: str, key_for: Any, **changes: Any) -> foreign_token.ForeignClaims:
    given = {"issuer": ISSUER, "audience": {AUDIENCE}, "now": NOW, "leeway": 0, "types": {None, "jwt"}, **changes}
    return foreign_token.decode(token, key_for=key_for, **given)


def refused(token: str, key_for: Any, **changes: Any) -> str:
    with pytest.raises(InvalidToken) as caught:
        read(token, key_for, **changes)
    return caught.value.code


@pytest.mark.parametrize("alg", sorted(FOREIGN_ALGORITHMS))
@pytest.mark.requirement("AT-02")
def test_a_token_under_every_foreign_algorithm_is_read(issuers: Any, alg: str) -> None:
    token = made({"alg": alg, "kid": alg, "typ": "JWT", "x5t": "AAAA", "x5t#S256": "AA"}, CLAIMS, issuers[alg][1])
    found = read(token, keys_of(issuers))
    assert (found.iss, found.sub, found.aud, found.iat, found.exp) == (ISSUER, "u1", (AUDIENCE,), NOW, NOW + 600)
    assert (found.jti, found.typ, dict(found.claims)) == (None, "jwt", CLAIMS)
    assert foreign_token.claimed_issuer(token) == ISSUER
    cut = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    assert refused(cut, keys_of(issuers)) in {"invalid_signature", "malformed_token"}


@pytest.mark.requirement("JW-01")
def test_no_key_is_used_under_the_algorithm_of_another(issuers: Any) -> None:
    same = {"EdDSA", "Ed25519"}
    for alg in FOREIGN_ALGORITHMS:
        for other in FOREIGN_ALGORITHMS - {alg} - (same if alg in same else set()):
            token = made({"alg": alg, "kid": other}, CLAIMS, issuers[alg][1])
            assert refused(token, keys_of(issuers)) == "invalid_signature", (alg, other)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "HS384", "HS512", "ES256K", "ES521", "RSA-OAEP", "", 7])
@pytest.mark.requirement("AT-02")
def test_an_algorithm_without_a_public_key_is_never_accepted(issuers: Any, alg: Any) -> None:
    for sign in (lambda _: b"", issuers["ES256"][1]):
        token = made({"alg": alg, "kid": "ES256"}, CLAIMS, sign)
        assert refused(token, keys_of(issuers)) in {"unsupported_algorithm", "malformed_token"}


@pytest.mark.parametrize("alg", sorted(FOREIGN_ALGORITHMS - ALGORITHMS))
def test_our_own_tokens_are_never_read_under_a_foreign_algorithm(issuers: Any, alg: str) -> None:
    token = made({"alg": alg, "kid": alg, "typ": "at+jwt"}, CLAIMS, issuers[alg][1])
    with pytest.raises(InvalidToken) as caught:
        jws.verify(token, typ="at+jwt", key_for=keys_of(issuers))
    assert caught.value.code == "unsupported_algorithm"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": ISSUER + "/"}, "wrong_issuer"),
        ({"iss": ISSUER.upper()}, "wrong_issuer"),
        ({"iss": [ISSUER]}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"aud": "https://other.example"}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": [AUDIENCE, 7]}, "wrong_audience"),
        ({"aud": {AUDIENCE: 1}}, "wrong_audience"),
        ({"sub": ""}, "malformed_token"),
        ({"sub": 7}, "malformed_token"),
        ({"exp": NOW}, "token_expired"),
        ({"exp": str(NOW + 600)}, "malformed_token"),
        ({"exp": None}, "malformed_token"),
        ({"exp": True}, "malformed_token"),
        ({"iat": NOW + 1}, "not_yet_valid"),
        ({"iat": None}, "malformed_token"),
        ({"nbf": NOW + 1}, "not_yet_valid"),
        ({"nbf": "now"}, "malformed_token"),
        ({"jti": ""}, "malformed_token"),
        ({"jti": 7}, "malformed_token"),
    ],
)
@pytest.mark.requirement("JW-04")
def test_a_claim_that_does_not_hold_refuses_the_token(issuers: Any, change: Any, code: str) -> None:
    token = made({"alg": "ES256", "kid": "ES256"}, {**CLAIMS, **change}, issuers["ES256"][1])
    assert refused(token, keys_of(issuers)) == code


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "exp", "iat"])
def test_every_required_claim_is_required(issuers: Any, claim: str) -> None:
    short = {name: value for name, value in CLAIMS.items() if name != claim}
    token = made({"alg": "ES256", "kid": "ES256"}, short, issuers["ES256"][1])
    assert refused(token, keys_of(issuers)) in {"malformed_token", "wrong_issuer", "wrong_audience"}


def test_a_kind_that_may_leave_out_iat_is_read_without_it(issuers: Any) -> None:
    svid = {name: value for name, value in CLAIMS.items() if name != "iat"}
    token = made({"alg": "ES256", "kid": "ES256"}, svid, issuers["ES256"][1])
    assert read(token, keys_of(issuers), require_iat=False, only_known=True).iat is None
    late = made({"alg": "ES256", "kid": "ES256"}, {**svid, "iat": NOW + 9}, issuers["ES256"][1])
    assert refused(late, keys_of(issuers), require_iat=False) == "not_yet_valid"


def test_leeway_is_what_the_caller_says_and_no_more(issuers: Any) -> None:
    token = made({"alg": "ES256", "kid": "ES256"}, CLAIMS, issuers["ES256"][1])
    assert read(token, keys_of(issuers), now=NOW - 5, leeway=5).sub == "u1"
    assert refused(token, keys_of(issuers), now=NOW - 6, leeway=5) == "not_yet_valid"
    assert read(token, keys_of(issuers), now=NOW + 604, leeway=5).sub == "u1"
    assert refused(token, keys_of(issuers), now=NOW + 605, leeway=5) == "token_expired"


def test_one_of_several_audiences_is_enough_and_none_is_not(issuers: Any) -> None:
    token = made({"alg": "ES256", "kid": "ES256"}, {**CLAIMS, "aud": ["a", AUDIENCE]}, issuers["ES256"][1])
    assert read(token, keys_of(issuers)).aud == ("a", AUDIENCE)
    assert refused(token, keys_of(issuers), audience=()) == "wrong_audience"
    assert refused(token, keys_of(issuers), audience=AUDIENCE) == "wrong_audience"


@pytest.mark.requirement("JW-02")
@pytest.mark.requirement("JW-05")
def test_hints_at_keys_are_not_followed_and_critical_members_refuse(issuers: Any) -> None:
    jwk, sign = issuers["ES256"]
    mallory = generate()
    for hint in ({"jwk": mallory.public_jwk()}, {"jku": "https://evil.example/"}, {"x5u": "https://evil.example/"}):
        forged = made({"alg": "ES256", "kid": "ES256", **hint}, CLAIMS, mallory.sign)
        assert refused(forged, keys_of(issuers)) == "invalid_signature"
        assert refused(made({"alg": "ES256", **hint}, CLAIMS, mallory.sign), keys_of(issuers)) == "unknown_key"
    for member in ({"crit": []}, {"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}, {"enc": "A128GCM"}):
        token = made({"alg": "ES256", "kid": jwk["kid"], **member}, CLAIMS, sign)
        assert refused(token, keys_of(issuers)) == "malformed_token"
    assert refused(made({"alg": "ES256", "kid": "ES256", "x5t": "A"}, CLAIMS, sign), keys_of(issuers), only_known=True)


@pytest.mark.parametrize("typ", ["at+jwt", "dpop+jwt", "wit+jwt", "vnd.deputize.session+jwt", "logout+jwt", ""])
@pytest.mark.requirement("JW-03")
def test_a_type_that_was_not_asked_for_is_refused(issuers: Any, typ: str) -> None:
    token = made({"alg": "ES256", "kid": "ES256", "typ": typ}, CLAIMS, issuers["ES256"][1])
    assert refused(token, keys_of(issuers)) == "wrong_type"


@pytest.mark.parametrize(
    "text",
    [
        b'{"iss":"https://login.example/tenant","iss":"https://login.example/tenant","sub":"u1"}',
        b'{"sub":"u1","sub":"u1"}',
        b"[]",
        b"",
        b"{",
        b'{"a":NaN}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
def test_claims_with_more_than_one_reading_are_refused(issuers: Any, text: bytes) -> None:
    token = made({"alg": "ES256", "kid": "ES256"}, text, issuers["ES256"][1])
    assert refused(token, keys_of(issuers)) == "malformed_token"
    with pytest.raises(InvalidToken):
        foreign_token.claimed_issuer(token)


@pytest.mark.requirement("JW-05")
def test_a_token_above_16_kib_is_refused_before_any_key_is_asked_for(issuers: Any) -> None:
    asked: list[object] = []
    token = made({"alg": "ES256", "kid": "ES256"}, {**CLAIMS, "x": "a" * 17_000}, lambda _: bytes(64))
    assert refused(token, asked.append) == "token_too_large"
    assert not asked
    with pytest.raises(InvalidToken) as caught:
        foreign_token.claimed_issuer(token)
    assert caught.value.code == "token_too_large"


@pytest.mark.parametrize(
    "change",
    [{"d": "AA"}, {"use": "enc"}, {"key_ops": ["sign"]}, {"kid": 7}, {"alg": "ES256"}, {"x": "AA"}, {"y": "A" * 64}],
)
def test_a_foreign_key_that_says_something_else_is_refused(issuers: Any, change: Any) -> None:
    with pytest.raises(InvalidToken) as caught:
        foreign_key({**issuers["ES384"][0], **change})
    assert caught.value.code in {"unsupported_key", "malformed_token"}


def test_a_small_rsa_key_is_refused_under_every_algorithm() -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505  # to be refused
    numbers = small.public_numbers()
    for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        with pytest.raises(InvalidToken) as caught:
            foreign_key({"kty": "RSA", "alg": alg, "n": number(numbers.n), "e": number(numbers.e)})
        assert caught.value.code == "unsupported_key"


def test_a_foreign_claims_repr_shows_no_claim(issuers: Any) -> None:
    token = made({"alg": "ES256", "kid": "ES256"}, {**CLAIMS, "email": "alice@x.example"}, issuers["ES256"][1])
    assert "alice@" not in repr(read(token, keys_of(issuers)))


@pytest.mark.requirement("JW-01")
def test_the_foreign_algorithms_agree_with_wycheproof() -> None:
    text = vectors("wycheproof").joinpath("testvectors_v1", "json_web_signature_test.json").read_text(encoding="utf-8")
    tried, disagree = 0, set()
    for group in json.loads(text)["testGroups"]:
        jwk = group.get("public")
        alg = jwk.get("alg") if jwk else None
        if alg not in FOREIGN_ALGORITHMS - ALGORITHMS:
            continue
        try:
            key: VerifyingKey | None = foreign_key(jwk)
        except InvalidToken:
            key = None
        for case in group["tests"]:
            tried += 1
            try:
                jws.verify_payload(case["jws"], key_for=lambda _, key=key: key, algorithms=FOREIGN_ALGORITHMS)
                valid = True
            except InvalidToken:
                valid = False
            if valid is not (case["result"] == "valid"):
                disagree.add(case["tcId"])
    assert tried > 80
    # As in test_wycheproof: a PS256 key under a PS384 header, twice.
    assert disagree <= {346, 350}
