"""Forgeries that worked on other products, by CVE: `python -m tests.security.replays CVE` says `taken` or `refused`.

Each is made of public material alone: a key's public half, an identity, a token that was seen. The same forgery is a
token for a resource and the assertion of a client. Numbers and findings are those of the products' advisories.
"""

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deputize.errors import DeputizeError
from deputize.model.token import CONTEXT_CLAIM
from deputize.testing import FakeClock
from deputize.verifier import MemoryKeys, MemoryRevocations, Verifier
from deputize.wire.alg import LocalKey, generate

ISSUER: Final = "https://sts.example"
RESOURCE: Final = "https://crm.example/mcp"
AGENT: Final = "spiffe://example.org/agent/reader"
JWS: Final = "wire/jws.py"
HEADERS: Final = "if not _CHANGES_MEANING.isdisjoint(members):"
ALGORITHM: Final = "if alg is None or alg not in algorithms:"
SIGNATURE: Final = "if header.alg != key.alg or not key.verify(signature, signed):"
UNKNOWN: Final = "    key = key_for(header)\n    if key is None:"
ISSUERS: Final = 'if claims.get("iss") != issuer:'
EMBEDDED: Final = """    from deputize.wire import jwk
    key = key_for(header) or (jwk.verifying_key(header.jwk) if header.jwk else None)
    if key is None:"""
UNSIGNED: Final = f'if header.alg != "none" and ({SIGNATURE[3:-1]}):'
OTHERS: Final = "    if not header.ours:\n"
HMAC: Final = """import hashlib, hmac
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    pem = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    shared = header.alg == "HS256" and hmac.digest(pem, signed, "sha256") == signature
    if not shared and (header.alg != key.alg or not key.verify(signature, signed)):"""
Claims = Mapping[str, object]
Forge = Callable[[str, Claims, LocalKey], Iterator[str]]
Break = tuple[str, str, str]


def encoded(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(header: Claims, claims: Claims, sign: Callable[[bytes], bytes]) -> str:
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def own(typ: str, key: LocalKey, **more: object) -> dict[str, object]:
    return {"alg": key.alg, "kid": key.kid, "typ": typ, **more}


def public_key_as_secret(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2022-29217 (PyJWT), CVE-2024-33663 (python-jose): a public key, however it is written, as an HMAC secret."""
    public = key.public.key
    point = PublicFormat.UncompressedPoint
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        public.public_bytes(Encoding.X962, point),
        json.dumps(key.public_jwk()).encode(),
        key.kid.encode(),
        b"",
    ]
    for secret in forms:
        for alg in ("HS256", "HS384", "HS512"):
            digest = getattr(hashlib, "sha" + alg[2:])
            yield token(own(typ, key) | {"alg": alg}, claims, lambda data, s=secret, d=digest: hmac.digest(s, data, d))


def no_signature(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2026-28802 (Authlib): `none` with an empty signature; and no signature at all under an honest header."""
    for alg in ("none", "None", "NONE", "", key.alg):
        yield token(own(typ, key) | {"alg": alg}, claims, lambda _: b"")


def embedded_key(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2026-27962 (Authlib): where no key is known, the one in the header is believed."""
    mine = generate()
    for kid in (mine.kid, key.kid, "unknown"):
        yield token({**own(typ, mine), "kid": kid, "jwk": mine.public_jwk()}, claims, mine.sign)


def critical(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2026-32597 (PyJWT), CVE-2025-59420 (Authlib): a critical extension that nobody knows is passed over."""
    for names in (["x-bork"], ["exp"], [], "x-bork", [{}]):
        yield token(own(typ, key, crit=names) | {"x-bork": True}, claims, key.sign)


def unencoded(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2026-48525 (PyJWT): `b64` false goes around what is checked of a payload."""
    yield token(own(typ, key, b64=False, crit=["b64"]), claims, key.sign)
    yield token(own(typ, key, b64=False), claims, key.sign)


def compressed(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2024-33664 (python-jose), CVE-2025-62706 (Authlib): a payload that is unpacked before it is measured."""
    yield token(own(typ, key, zip="DEF"), claims, key.sign)


def oversized(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2025-61920 (Authlib), CVE-2026-27932 (joserfc): no bound on what is parsed."""
    yield token(own(typ, key), {**claims, "pad": "a" * 40_000}, key.sign)


def other_algorithm(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2026-48523 (PyJWT): the header names an allowed algorithm, and the key verifies by its own."""
    for alg in ("EdDSA", "RS256", "ES384", "PS256"):
        yield token(own(typ, key) | {"alg": alg}, claims, key.sign)


def like_the_issuer(typ: str, claims: Claims, key: LocalKey) -> Iterator[str]:
    """CVE-2024-53861 (PyJWT): the issuer is compared as a part of a text."""
    whole = str(claims["iss"])
    for other in (whole[:-1], whole[1:], whole[:8], whole + "/", whole + ".evil", whole.upper(), [whole], ""):
        yield token(own(typ, key), {**claims, "iss": other}, key.sign)


@dataclass(frozen=True, slots=True)
class Replay:
    """`breaks`: (file, text, other text) that takes the rule out of a copy of the library."""

    cve: str
    forge: Forge
    breaks: tuple[Break, ...]


BLIND: Final[Break] = (JWS, HEADERS, "if False:")
TOLERANT: Final[Break] = (JWS, OTHERS, "    if False:\n")
ANY: Final[Break] = (JWS, ALGORITHM, "if alg is None:")
REPLAYS: Final = (
    Replay("CVE-2022-29217", public_key_as_secret, (ANY, (JWS, SIGNATURE, HMAC))),
    Replay("CVE-2026-28802", no_signature, (ANY, (JWS, SIGNATURE, UNSIGNED))),
    Replay(
        "CVE-2026-27962",
        embedded_key,
        (
            TOLERANT,
            (JWS, UNKNOWN, EMBEDDED),
        ),
    ),
    Replay("CVE-2026-32597", critical, (BLIND, TOLERANT)),
    Replay("CVE-2026-48525", unencoded, (BLIND, TOLERANT)),
    Replay("CVE-2024-33664", compressed, (BLIND, TOLERANT)),
    Replay(
        "CVE-2025-61920",
        oversized,
        ((JWS, "MAX_READ: Final = 16 * 1024", "MAX_READ: Final = 16 * 1024 * 1024"),),
    ),
    Replay("CVE-2026-48523", other_algorithm, (ANY, (JWS, SIGNATURE, "if not key.verify(signature, signed):"))),
    Replay(
        "CVE-2024-53861",
        like_the_issuer,
        (("wire/claims.py", ISSUERS, 'if str(claims.get("iss")) not in issuer:'),),
    ),
)


def taken(replay: Replay) -> bool:
    """Whether a verifier of a resource takes one of its forgeries. Raises what is none of our errors."""
    clock, key = FakeClock(), generate()
    verifier = Verifier(ISSUER, RESOURCE, keys=MemoryKeys([key.public]), revocations=MemoryRevocations(), clock=clock)
    at = int(clock.now())
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": AGENT,
        "client_id": AGENT,
        "scope": "crm:read",
        "jti": "j" * 22,
        "iat": at,
        "exp": at + 300,
        "sid": "S" * 16,
        "txn": "S" * 16,
        CONTEXT_CLAIM: {"mode": "self", "path": "", "rec": "R" * 43},
    }
    honest = token(own("at+jwt", key), claims, key.sign)
    assert verifier.verify(honest).subject == AGENT
    return any(_held(verifier, forged) for forged in replay.forge("at+jwt", claims, key))


def _held(verifier: Verifier, forged: str) -> bool:
    try:
        verifier.verify(forged)
    except DeputizeError:
        return False
    return True


if __name__ == "__main__":
    sys.stdout.write("taken" if taken(next(one for one in REPLAYS if one.cve == sys.argv[1])) else "refused")
