"""The tokens and proofs of the vectors that have to be refused, each with one fault and the code of its refusal."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tools.token_forge import (
    KEYS,
    b64,
    compact,
    header,
    proof_header,
    public,
    spelled,
    token,
    unb64,
    without,
)

NOW: Final = 1_750_000_000
CTX: Final = "urn:deputize:ctx"
OTHER_TYPES: Final = ("wit+jwt", "vnd.deputize.session+jwt", "at+jwt", "dpop+jwt")
Claims = Mapping[str, object]
Case = tuple[str, str, str]  # name, token, code

MALFORMED: Final = "malformed_token"
SIGNATURE: Final = "invalid_signature"
ALGORITHM: Final = "unsupported_algorithm"
TYPE: Final = "wrong_type"
CONFIRMATION: Final = "unknown_confirmation"
KEY: Final = "unsupported_key"


def of_form(typ: str, claims: Claims) -> Iterator[Case]:
    """What every kind refuses before its claims are looked at."""
    good = token(header(typ), claims)
    signed, _, signature = good.rpartition(".")
    head, _, body = signed.partition(".")
    raw = unb64(signature)
    zero, half = bytes(64), len(raw) // 2
    der = encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
    yield "two parts", signed, MALFORMED
    yield "padding in the header", f"{head}=.{body}.{signature}", MALFORMED
    yield "padding in the signature", good + "==", MALFORMED
    yield "spare bits of the signature are not zero", good[:-1] + _next(good[-1]), MALFORMED
    yield "a line feed at the end", good + "\n", MALFORMED
    yield "a character that is not ASCII", "\u00e9" + good[1:], MALFORMED
    yield "a fourth part", good + ".AAAA", SIGNATURE
    yield "payload changed", f"{head}.{b64(compact({**claims, 'iat': NOW - 1}))}.{signature}", SIGNATURE
    yield "no signature", signed + ".", SIGNATURE
    yield "signature of zeros", f"{signed}.{b64(zero)}", SIGNATURE
    yield "signature in DER", f"{signed}.{b64(der)}", SIGNATURE
    yield "signed by another key under this kid", token(header(typ), claims, KEYS.stranger.sign), SIGNATURE
    yield from _headers(typ, claims)
    yield from _payloads(typ, claims)


def _headers(typ: str, claims: Claims) -> Iterator[Case]:
    ours = header(typ)

    def with_head(**members: object) -> str:
        return token({**ours, **members}, claims)

    secret = compact(public(KEYS.issuer))
    yield "alg none", spelled(compact({**ours, "alg": "none"}), compact(claims), lambda _: b""), ALGORITHM
    forged = token({**ours, "alg": "HS256"}, claims, lambda data: hmac.digest(secret, data, hashlib.sha256))
    yield "alg HS256, keyed with the public key", forged, ALGORITHM
    yield "alg ES384", with_head(alg="ES384"), ALGORITHM
    yield "alg in lower case", with_head(alg="es256"), ALGORITHM
    yield "no alg", token(without(ours, "alg"), claims), ALGORITHM
    yield "alg of another key", with_head(alg="EdDSA"), SIGNATURE
    yield "kid of another key", with_head(kid=KEYS.eddsa.kid), SIGNATURE
    yield "unknown kid", token(header(typ, KEYS.stranger), claims, KEYS.stranger.sign), "unknown_key"
    yield "no kid", token(without(ours, "kid"), claims), MALFORMED
    yield "kid with a path in it", with_head(kid="../" + KEYS.issuer.kid), MALFORMED
    yield "no typ", token(without(ours, "typ"), claims), TYPE
    yield "typ JWT", with_head(typ="JWT"), TYPE
    for other in OTHER_TYPES:
        if other != typ:
            yield f"typ {other}", with_head(typ=other), TYPE
    yield "crit", with_head(crit=["exp"]), MALFORMED
    yield "b64 false", with_head(b64=False), MALFORMED
    yield "jku", with_head(jku="https://keys.example/jwks"), MALFORMED
    yield "jwk in the header", with_head(jwk=public(KEYS.issuer)), MALFORMED
    twice = b'{"alg":"ES256","kid":"' + KEYS.issuer.kid.encode() + b'","typ":"' + typ.encode() + b'","typ":"x"}'
    yield "typ named twice", spelled(twice, compact(claims), KEYS.issuer.sign), MALFORMED


def _payloads(typ: str, claims: Claims) -> Iterator[Case]:
    head, sign = compact(header(typ)), KEYS.issuer.sign
    plain = compact(claims)
    deep = b'{"a":' * 40 + b"1" + b"}" * 40
    yield "payload is a list", spelled(head, b"[" + plain + b"]", sign), MALFORMED
    yield "payload is no JSON", spelled(head, plain[:-1], sign), MALFORMED
    yield "exp named twice", spelled(head, plain[:-1] + b',"exp":9999999999}', sign), MALFORMED
    yield "NaN", spelled(head, plain[:-1] + b',"x":NaN}', sign), MALFORMED
    yield "a byte order mark", spelled(head, b"\xef\xbb\xbf" + plain, sign), MALFORMED
    yield "nested 40 deep", spelled(head, plain[:-1] + b',"x":' + deep + b"}", sign), MALFORMED


def of_all(typ: str, claims: Claims) -> Iterator[Case]:
    """Issuer and times, which every kind has."""

    def made(**members: object) -> str:
        return token(header(typ), {**claims, **members})

    yield "no iss", token(header(typ), without(claims, "iss")), "wrong_issuer"
    yield "another iss", made(iss="https://other.example"), "wrong_issuer"
    yield "iss with a slash at its end", made(iss=f"{claims['iss']}/"), "wrong_issuer"
    yield "iss is a list", made(iss=[claims["iss"]]), "wrong_issuer"
    yield "expired, to the second", made(exp=NOW), "token_expired"
    yield "from the future", made(iat=NOW + 1), "not_yet_valid"
    yield "nbf in the future", made(nbf=NOW + 1), "not_yet_valid"
    yield "exp is text", made(exp=str(NOW + 60)), MALFORMED
    yield "exp is true", made(exp=True), MALFORMED
    for name in ("iat", "exp", "sub", "jti"):
        yield f"no {name}", token(header(typ), without(claims, name)), MALFORMED
    late = token(header(typ, KEYS.retired), claims, KEYS.retired.sign)
    yield "iat after the key's sign_until", late, "key_retired"


def of_tree(typ: str, claims: Claims) -> Iterator[Case]:
    """The place in a delegation tree, which session and access tokens have."""

    def made(**members: object) -> str:
        return token(header(typ), {**claims, **members})

    context = claims[CTX]
    inside: dict[str, object] = dict(context) if isinstance(context, dict) else {}
    for name in ("sid", "txn", "client_id", CTX):
        yield f"no {name}", token(header(typ), without(claims, name)), MALFORMED
    yield "sid of 15 characters", made(sid="S" * 15), MALFORMED
    yield "sid with a character that is not base64url", made(sid="S" * 15 + "+"), MALFORMED
    yield "no act on somebody's behalf", token(header(typ), without(claims, "act")), MALFORMED
    yield "act is text", made(act="spiffe://example.org/agent/researcher"), MALFORMED
    yield "an inner act without sub", made(act={"sub": "spiffe://example.org/agent/researcher", "act": {}}), MALFORMED
    yield "ctx with a member more", made(**{CTX: {**inside, "x": 1}}), MALFORMED
    yield "ctx without rec", made(**{CTX: without(inside, "rec")}), MALFORMED
    yield "ctx with an unknown mode", made(**{CTX: {**inside, "mode": "root"}}), MALFORMED
    yield "ctx with a path that is no multiple of 16", made(**{CTX: {**inside, "path": "P" * 17}}), MALFORMED
    yield "cnf with two members", made(cnf={"jkt": KEYS.holder.kid, "kid": "k"}), CONFIRMATION
    yield "cnf of a certificate", made(cnf={"x5t#S256": KEYS.holder.kid}), CONFIRMATION
    yield "cnf with a short thumbprint", made(cnf={"jkt": KEYS.holder.kid[:-1]}), MALFORMED


def of_identity(typ: str, claims: Claims) -> Iterator[Case]:
    """`cnf.jwk`: exactly one usable public key."""
    jwk = {**public(KEYS.holder), "alg": KEYS.holder.alg}

    def made(cnf: object) -> str:
        return token(header(typ), {**claims, "cnf": cnf})

    def told(context: object) -> str:
        return token(header(typ), {**claims, CTX: context})

    known = claims[CTX]
    context = dict(known) if isinstance(known, dict) else {}
    yield "context without workload", told(without(context, "workload")), MALFORMED
    yield "context without method", told(without(context, "method")), MALFORMED
    yield "context without the time of its evidence", told(without(context, "attested")), MALFORMED
    yield "context without rec", told(without(context, "rec")), MALFORMED
    yield "context with another member", told({**context, "mode": "self"}), MALFORMED
    yield "context whose time is no whole number", told({**context, "attested": True}), MALFORMED
    yield "context whose rec is no hash", told({**context, "rec": "R"}), MALFORMED
    yield "context that is text", told("x"), MALFORMED
    yield "an aud", token(header(typ), {**claims, "aud": claims["iss"]}), MALFORMED
    yield "no cnf", token(header(typ), without(claims, "cnf")), MALFORMED
    yield "cnf with a thumbprint alone", made({"jkt": KEYS.holder.kid}), MALFORMED
    yield "cnf with two members", made({"jwk": jwk, "kid": "k"}), MALFORMED
    yield "jwk without alg", made({"jwk": without(jwk, "alg")}), MALFORMED
    yield "jwk with a private member", made({"jwk": {**jwk, "d": "A" * 43}}), KEY
    yield "jwk with a foreign alg", made({"jwk": {**jwk, "alg": "RS256"}}), KEY
    yield "jwk for encryption", made({"jwk": {**jwk, "use": "enc"}}), KEY
    yield "jwk that is a secret", made({"jwk": {"kty": "oct", "k": "AAAA", "alg": "HS256"}}), KEY
    yield "jwk whose point is not on the curve", made({"jwk": {**jwk, "y": jwk["x"]}}), KEY


def of_session(typ: str, claims: Claims) -> Iterator[Case]:
    """For the authority alone, always bound, `may_act` read exactly."""

    def made(**members: object) -> str:
        return token(header(typ), {**claims, **members})

    yield "no aud", token(header(typ), without(claims, "aud")), "wrong_audience"
    yield "aud of a resource", made(aud="https://crm.example/mcp"), "wrong_audience"
    yield "aud is a list", made(aud=[claims["iss"]]), "wrong_audience"
    yield "no cnf", token(header(typ), without(claims, "cnf")), CONFIRMATION
    yield "may_act is text", made(may_act="spiffe://example.org/agent/writer"), MALFORMED
    writer = "spiffe://example.org/agent/writer"
    yield "may_act of another issuer", made(may_act={"sub": writer, "iss": "https://other.example"}), MALFORMED


def of_access(typ: str, claims: Claims) -> Iterator[Case]:
    """For one resource, with its scopes in their one form."""

    def made(**members: object) -> str:
        return token(header(typ), {**claims, **members})

    yield "no aud", token(header(typ), without(claims, "aud")), "wrong_audience"
    yield "another aud", made(aud="https://wiki.example/mcp"), "wrong_audience"
    yield "aud with a slash at its end", made(aud=f"{claims['aud']}/"), "wrong_audience"
    yield "a list without this aud", made(aud=["https://wiki.example/mcp"]), "wrong_audience"
    yield "no scope", token(header(typ), without(claims, "scope")), MALFORMED
    yield "scope is empty", made(scope=""), MALFORMED
    yield "scope is a list", made(scope=["crm:read"]), MALFORMED
    yield "two spaces in scope", made(scope="crm:read  crm:write"), MALFORMED
    yield "a scope named twice", made(scope="crm:read crm:read"), MALFORMED


def _next(character: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) + 1]


def of_proof(claims: Claims, other_ath: str) -> Iterator[Case]:
    """Proofs that are refused for the request POST https://crm.example/mcp with the token of the vectors."""
    ours, sign, bad = proof_header(), KEYS.holder.sign, "invalid_dpop_proof"

    def made(**members: object) -> str:
        return token(ours, {**claims, **members}, sign)

    def lacks(*names: str) -> str:
        return token(ours, without(claims, *names), sign)

    def with_head(**members: object) -> str:
        return token({**ours, **members}, claims, sign)

    jwk = public(KEYS.holder)
    good = token(ours, claims, sign)
    faults = {
        "two parts": good.rpartition(".")[0],
        "payload changed": good.replace(good.split(".")[1], b64(compact({**claims, "iat": NOW - 1}))),
        "typ JWT": with_head(typ="JWT"),
        "typ at+jwt": with_head(typ="at+jwt"),
        "no typ": token(without(ours, "typ"), claims, sign),
        "alg none": spelled(compact({**ours, "alg": "none"}), compact(claims), lambda _: b""),
        "alg HS256": with_head(alg="HS256"),
        "alg of another key": with_head(alg="EdDSA"),
        "no jwk": token(without(ours, "jwk"), claims, sign),
        "jwk with a private member": with_head(jwk={**jwk, "d": "A" * 43}),
        "jwk on another curve": with_head(jwk={**jwk, "crv": "P-384"}),
        "jwk of another key than the signature's": with_head(jwk=public(KEYS.stranger)),
        "a header member more": with_head(nonce="n"),
        "crit": with_head(crit=["htm"]),
        "no htm": lacks("htm"),
        "another method": made(htm="GET"),
        "method in lower case": made(htm="post"),
        "no htu": lacks("htu"),
        "another host": made(htu="https://crm.example.org/mcp"),
        "another scheme": made(htu="http://crm.example/mcp"),
        "another port": made(htu="https://crm.example:8443/mcp"),
        "another path": made(htu="https://crm.example/mcp/"),
        "htu with user information": made(htu="https://crm.example@evil.example/mcp"),
        "no iat": lacks("iat"),
        "iat is text": made(iat=str(NOW)),
        "61 seconds old": made(iat=NOW - 61),
        "6 seconds from the future": made(iat=NOW + 6),
        "no jti": lacks("jti"),
        "jti is empty": made(jti=""),
        "jti of 129 characters": made(jti="j" * 129),
        "no ath": lacks("ath"),
        "ath of another token": made(ath=other_ath),
        "ath with padding": made(ath=f"{claims['ath']}="),
        "by another key than the token's": token(proof_header(KEYS.stranger), claims, KEYS.stranger.sign),
    }
    for name, proof in faults.items():
        yield name, proof, bad
