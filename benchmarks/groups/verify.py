"""Verifying one access token of 1 kB: raw, ours at two heights, and the libraries that people know."""

import secrets
from collections.abc import Callable
from functools import partial

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey

from benchmarks.measure import Case, Group, looped
from deputize.model.token import ACCESS_TYP, AccessClaims, TokenContext
from deputize.system import SystemClock
from deputize.verifier import MemoryKeys, MemoryRevocations, Verifier
from deputize.wire import access_token, base64url, jws
from deputize.wire.alg import LocalKey
from deputize.wire.jws import Header

RAW = "raw: cryptography, ES256"
ISSUER = "https://sts.example"
PADDING = "https://crm.example/mcp/" + "tenants/" * 8  # so that the token has 1 kB


def build(*, quick: bool) -> Group:
    """One token, one key; nothing is remembered between calls but in the case that says so."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = LocalKey("ES256", private)
    resource = PADDING.rstrip("/")
    token = _token(key, resource)
    loops = 20 if quick else 200
    ours = [
        ("deputize.wire.jws.verify", _gate(token, key), 1.25),
        ("deputize.verifier.Verifier, no cache", _verifier(token, key, resource, 0), 1.25),
        ("deputize.verifier.Verifier, cache hit", _verifier(token, key, resource, 64), 0.05),
    ]
    peers = [
        ("PyJWT decode", _pyjwt(token, key, resource)),
        ("joserfc decode + claims", _joserfc(token, private, resource)),
    ]
    return Group(
        name="verify",
        title=f"Verifying an ES256 access token of {len(token):,} bytes",
        clock="thread CPU time",
        unit="us",
        cases=(
            Case(name=RAW, sample=looped(_raw(token, key), loops, cpu=True)),
            *(
                Case(name=name, sample=looped(op, loops, cpu=True), against=RAW, at_most=most)
                for name, op, most in ours
            ),
            *(Case(name=name, sample=looped(op, loops, cpu=True), against=RAW) for name, op in peers),
        ),
        rounds=3 if quick else 31,
    )


def _token(key: LocalKey, resource: str) -> str:
    now = int(SystemClock().now())
    sid, txn, middle = (secrets.token_urlsafe(12) for _ in range(3))
    claims = AccessClaims(
        iss=ISSUER,
        aud=resource,
        sub="okta|00u1a2b3c4d5e6f7g8h9",
        client_id="spiffe://example.org/agent/researcher",
        chain=tuple(f"spiffe://example.org/agent/{name}" for name in ("researcher", "analyst", "supervisor")),
        scope=("crm:read",),
        jti=secrets.token_urlsafe(12),
        iat=now,
        exp=now + 3600,
        sid=sid,
        txn=txn,
        jkt=None,
        context=TokenContext(mode="on_behalf_of", path=(middle,), rec=base64url.encode(secrets.token_bytes(32))),
    )
    return access_token.encode(claims, key)


def _raw(token: str, key: LocalKey) -> Callable[[], object]:
    signed, _, encoded = token.encode().rpartition(b".")
    both = base64url.decode(encoded)
    signature = encode_dss_signature(int.from_bytes(both[:32], "big"), int.from_bytes(both[32:], "big"))
    public = key.public.key
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return partial(public.verify, signature, signed, ec.ECDSA(hashes.SHA256()))


def _gate(token: str, key: LocalKey) -> Callable[[], object]:
    def key_for(_: Header) -> object:
        return key.public

    return partial(jws.verify, token, typ=ACCESS_TYP, key_for=key_for)  # type: ignore[arg-type]  # always our key


def _verifier(token: str, key: LocalKey, resource: str, cache: int) -> Callable[[], object]:
    verifier = Verifier(ISSUER, resource, keys=MemoryKeys([key.public]), revocations=MemoryRevocations(), cache=cache)
    return partial(verifier.verify, token, scopes=("crm:read",))


def _pyjwt(token: str, key: LocalKey, resource: str) -> Callable[[], object]:
    public = key.public.key
    return partial(jwt.decode, token, public, algorithms=["ES256"], audience=resource, issuer=ISSUER)  # noqa: TID251  # the peer as its users call it


def _joserfc(token: str, private: ec.EllipticCurvePrivateKey, resource: str) -> Callable[[], object]:
    public = ECKey.import_key(private.public_key())
    registry = joserfc_jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": resource}
    )

    def decode() -> None:
        registry.validate(joserfc_jwt.decode(token, public, algorithms=["ES256"]).claims)

    return decode
