"""Write the vectors of the tokens: `python -m tools.token_vectors` after a change that is meant to be one.

ES256 is signed with the nonces of RFC 6979 where the library offers them. Where it does not, a regenerated file differs
in those signatures alone, and the test compares the rest.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deputize.model.token import AccessClaims, IdentityClaims, IdentityContext, SessionClaims, TokenContext
from deputize.wire import access_token, dpop, identity_token, session_token
from deputize.wire.alg import LocalKey
from tools import token_faults as faults
from tools.token_faults import CTX, NOW, Case
from tools.token_forge import KEYS, b64, header, other_half, proof_header, token, unb64, without

FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "formats" / "vectors" / "tokens.json"
ISSUER: Final = "https://sts.example"
RESOURCE: Final = "https://crm.example/mcp"
AGENT: Final = "spiffe://example.org/agent/"
WORKLOAD: Final = "spiffe://example.org/workload/churn"
SIGN_UNTIL: Final = NOW + 600  # of the current keys
RETIRED: Final = NOW - 1  # of the retired one
TOO_LONG: Final = 16 * 1024 + 1  # characters
REC: Final = b64(hashlib.sha256(b"\x00 the leaf of a record").digest())
CONTEXT: Final = TokenContext(mode="on_behalf_of", path=("PPPPPPPPPPPPPPPP",), rec=REC)
CHAIN: Final = (AGENT + "researcher", AGENT + "planner", AGENT + "supervisor")
TYPES: Final = {"identity": "wit+jwt", "session": "vnd.deputize.session+jwt", "access": "at+jwt"}


def identity(key: LocalKey = KEYS.issuer, *, sub: str = CHAIN[0], attested: bool = True) -> str:
    """The identity of the researcher, or of the workload that hosts it."""
    claims = IdentityClaims(
        iss=ISSUER,
        sub=sub,
        jti="IIIIIIIIIIIIIIII",
        iat=NOW,
        exp=NOW + 900,
        jwk=KEYS.holder.public_jwk(),
        context=IdentityContext(workload=WORKLOAD, method="kubernetes", attested=NOW - 60, rec=REC)
        if attested
        else None,
    )
    return identity_token.encode(claims, key)


def session(key: LocalKey = KEYS.issuer, may_act: str | None = None) -> str:
    """A session of the researcher, third in line."""
    claims = SessionClaims(
        iss=ISSUER,
        sub="okta|00u1abcd",
        client_id=CHAIN[0],
        chain=CHAIN,
        jti="JJJJJJJJJJJJJJJJ",
        iat=NOW,
        exp=NOW + 900,
        sid="SSSSSSSSSSSSSSSS",
        txn="TTTTTTTTTTTTTTTT",
        jkt=KEYS.holder.kid,
        context=CONTEXT,
        may_act=may_act,
    )
    return session_token.encode(claims, key)


def access(key: LocalKey = KEYS.issuer, *, mode: str = "on_behalf_of", bound: bool = True) -> str:
    """Access of the same session, or in another mode."""
    own = mode == "self"
    claims = AccessClaims(
        iss=ISSUER,
        aud=RESOURCE,
        sub=CHAIN[0] if own else "okta|00u1abcd",
        client_id=CHAIN[0],
        chain=CHAIN if mode == "on_behalf_of" else (),
        scope=("crm:read",),
        jti="AAAAAAAAAAAAAAAA",
        iat=NOW,
        exp=NOW + 60,
        sid="SSSSSSSSSSSSSSSS",
        txn="TTTTTTTTTTTTTTTT",
        jkt=KEYS.holder.kid if bound else None,
        context=TokenContext(mode=mode, path=() if own else CONTEXT.path, rec=REC),
    )
    return access_token.encode(claims, key)


def _parts(made: str) -> tuple[dict[str, object], dict[str, object]]:
    head, payload = (json.loads(unb64(part)) for part in made.split(".")[:2])
    return head, payload


def good() -> Iterator[dict[str, object]]:
    """Tokens that hold, and what they say."""
    claims = {"identity": _parts(identity())[1], "session": _parts(session())[1], "access": _parts(access())[1]}
    at = claims["access"]
    both = [RESOURCE, "https://wiki.example/mcp"]
    known: list[tuple[str, str, str]] = [
        ("identity", "ES256", identity()),
        ("identity", "EdDSA", identity(KEYS.eddsa)),
        ("identity", "RS256", identity(KEYS.rsa)),
        ("identity", "of a workload", identity(sub=WORKLOAD)),
        ("identity", "of an earlier version, without context", identity(attested=False)),
        ("session", "ES256", session()),
        ("session", "EdDSA", session(KEYS.eddsa)),
        ("session", "RS256", session(KEYS.rsa)),
        ("session", "may_act", session(may_act=AGENT + "writer")),
        ("access", "ES256, bound", access()),
        ("access", "EdDSA, bound", access(KEYS.eddsa)),
        ("access", "RS256, bearer", access(KEYS.rsa, bound=False)),
        ("access", "bearer", access(bound=False)),
        ("access", "own behalf", access(mode="self")),
        ("access", "impersonation", access(mode="impersonation", bound=False)),
        ("access", "the other ES256 signature of the same token", other_half(access())),
        ("access", "typ in upper case and with its prefix", token(header("application/AT+JWT"), at)),
        ("access", "several audiences, this one among them", token(header("at+jwt"), {**at, "aud": both})),
        ("access", "times with fractions, rounded down", token(header("at+jwt"), {**at, "exp": NOW + 60.9})),
        ("access", "a claim that nobody knows", token(header("at+jwt"), {**at, "x": {"y": [1]}})),
        ("access", "an actor of another issuer", token(header("at+jwt"), {**at, "act": _foreign()})),
    ]
    for kind, name, made in known:
        head, payload = _parts(made)
        yield {"kind": kind, "name": name, "token": made, "header": head, "claims": payload}


def _foreign() -> dict[str, object]:
    inner = {"sub": AGENT + "supervisor", "iss": "https://other.example"}
    return {"sub": AGENT + "researcher", "sub_profile": "ai_agent", "act": inner}


def bad() -> Iterator[dict[str, object]]:
    """Tokens with one fault each, and the code of the refusal."""
    own = {"identity": faults.of_identity, "session": faults.of_session, "access": faults.of_access}
    made = {"identity": identity(), "session": session(), "access": access()}
    for kind, typ in TYPES.items():
        claims = _parts(made[kind])[1]
        cases: list[Case] = [*faults.of_form(typ, claims), *faults.of_all(typ, claims)]
        cases += [] if kind == "identity" else faults.of_tree(typ, claims)
        cases += own[kind](typ, claims)
        for name, refused, code in cases:
            yield {"kind": kind, "name": name, "token": refused, "code": code}
        long = {"kind": kind, "name": "longer than 16 KiB", "token": made[kind], "code": "token_too_large"}
        yield {**long, "then": {"text": "A", "up_to": TOO_LONG}}


def proofs() -> dict[str, object]:
    """Proofs for one request with the bound access token, and what is refused there."""
    bound = access()
    plain = dpop.proof(KEYS.holder, htm="POST", htu=RESOURCE, now=NOW, access_token=bound, jti="proof-1")
    claims = _parts(plain)[1]
    other = b64(hashlib.sha256(access(bound=False).encode()).digest())

    def made(**members: object) -> str:
        return token(proof_header(), {**claims, **members}, KEYS.holder.sign)

    fine = {
        "as we make it": plain,
        "htu in another spelling": made(htu="HTTPS://CRM.example:443/./%6dcp?x=1#y"),
        "60 seconds old": made(iat=NOW - 60),
        "5 seconds from the future": made(iat=NOW + 5),
        "jti of 128 characters": made(jti="j" * 128),
        "with a nonce that was not asked for": made(nonce="n"),
    }
    refused: list[dict[str, object]] = [
        {"name": name, "proof": proof, "code": code} for name, proof, code in faults.of_proof(claims, other)
    ]
    refused += [
        {"name": "used before", "proof": plain, "code": "invalid_dpop_proof", "spent": True},
        {"name": "without the nonce that was given", "proof": plain, "code": "use_dpop_nonce", "nonce": "n"},
        {"name": "with another nonce", "proof": made(nonce="m"), "code": "use_dpop_nonce", "nonce": "n"},
    ]
    return {
        "method": "POST",
        "url": RESOURCE,
        "token": bound,
        "jkt": KEYS.holder.kid,
        "valid": [{"name": name, "proof": proof, "claims": _parts(proof)[1]} for name, proof in fine.items()],
        "without a token": {"proof": token(proof_header(), without(claims, "ath"), KEYS.holder.sign)},
        "invalid": refused,
    }


def vectors() -> dict[str, object]:
    """The whole file."""
    published = [(KEYS.issuer, SIGN_UNTIL), (KEYS.eddsa, SIGN_UNTIL), (KEYS.rsa, SIGN_UNTIL), (KEYS.retired, RETIRED)]
    return {
        "about": "TEST KEYS, known to everybody; made by tools/token_vectors.py; docs/formats/tokens.md explains",
        "now": NOW,
        "leeway": 0,
        "issuer": ISSUER,
        "audience": RESOURCE,
        "jwks": {
            "keys": [
                {**key.public_jwk(), "kid": key.kid, "use": "sig", "sign_until": until} for key, until in published
            ]
        },
        "context_claim": CTX,
        "valid": list(good()),
        "invalid": list(bad()),
        "proofs": proofs(),
    }


def text() -> str:
    """As it is committed."""
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
    print(f"wrote {FILE}")
