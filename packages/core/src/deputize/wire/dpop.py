"""Proofs that the presenter of a token holds its key (RFC 9449)."""

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from deputize.model.failure import InvalidToken
from deputize.model.token import DPOP_TYP
from deputize.wire import base64url, jws
from deputize.wire.alg import ProofKey, VerifyingKey
from deputize.wire.claims import moment, text
from deputize.wire.jwk import verifying_key
from deputize.wire.refusal import INVALID_PROOF, USE_NONCE
from deputize.wire.thumbprint import public_jwk, thumbprint

WINDOW: Final = 60  # seconds that a proof may be old (RFC 9449 §11.1)
SKEW: Final = 5  # seconds that it may be from the future
MAX_JTI: Final = 128  # characters
MAX_URL: Final = 2048  # characters
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_URL = re.compile(r"[\x21\x24-\x3b\x3d\x3f-\x5b\x5d\x5f\x61-\x7a\x7c\x7e#]+\Z")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Spend = Callable[[str, int], bool]


def proof(
    key: ProofKey,
    *,
    htm: str,
    htu: str,
    now: float,
    access_token: str | None = None,
    nonce: str | None = None,
    jti: str | None = None,
) -> str:
    """A proof for one request: method `htm` at URL `htu`; bound to `access_token` where one is sent with it.

    Raises InvalidToken (`invalid_dpop_proof`) for a URL that no request goes to.
    """
    members = key.public_jwk()
    members.pop("alg", None)  # the header names it already
    claims: dict[str, object] = {
        "jti": jti or base64url.encode(secrets.token_bytes(16)),
        "htm": htm,
        "htu": normalized(htu),
        "iat": math.floor(now),
    }
    if access_token is not None:
        claims["ath"] = _digest(access_token)
    if nonce is not None:
        claims["nonce"] = nonce
    return jws.sign_with({"typ": DPOP_TYP, "alg": key.alg, "jwk": members}, claims, key)


def check(
    presented: str,
    *,
    htm: str,
    htu: str,
    access_token: str | None,
    jkt: str | None,
    now: float,
    spend: Spend,
    window: float = WINDOW,
    nonce: str | None = None,
) -> str:
    """The thumbprint of the key that signed `presented`, after every check of RFC 9449 §4.3.

    `htu` is the URL that the server knows itself by, never one that a proxy header made up. `jkt` is the
    `cnf` of the token; None where a proof is what binds a token yet to be made. `spend(digest, until)` says
    whether the digest was new and keeps it until then (seconds); it is asked last. Raises InvalidToken
    (`invalid_dpop_proof`, or `use_dpop_nonce` where `nonce` is what the proof lacks).
    """
    try:
        key, claims = _open(presented)
        _check_request(claims, htm=htm, htu=htu)
        iat = moment(claims, "iat")
        jti = text(claims, "jti")
    except InvalidToken as error:
        raise _refused(str(error)) from None
    if not now - window <= iat <= now + SKEW:
        raise _refused("the proof is too old or from the future")
    if access_token is not None and not _equal(claims.get("ath"), _digest(access_token)):
        raise _refused("the proof is for another token")
    if nonce is not None and not _equal(claims.get("nonce"), nonce):
        raise InvalidToken("the proof lacks the nonce that was given", code=USE_NONCE)
    if len(jti) > MAX_JTI:
        raise _refused("the jti of the proof is too long")
    presenter = thumbprint(public_jwk(key.key))
    if jkt is not None and not _equal(jkt, presenter):
        raise _refused("the proof is by another key than the token's")
    if not spend(_replay_key(presenter, htm, htu, jti), iat + math.ceil(window) + 1):
        raise _refused("the proof was used before")
    return presenter


def normalized(url: str) -> str:
    """`url` less query and fragment, in one spelling of scheme, host, port and path (RFC 3986 §6.2).

    Raises InvalidToken (`invalid_dpop_proof`).
    """
    if len(url) > MAX_URL or not _URL.match(url):
        raise _refused("not a URL that a request goes to")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("not a URL that a request goes to") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or "%" in parts.netloc:
        raise _refused("not a URL that a request goes to")
    authority = _host(parts) + ("" if port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{port}")
    return f"{parts.scheme}://{authority}{_path(parts.path)}"


def _open(presented: str) -> tuple[VerifyingKey, dict[str, object]]:
    found: list[VerifyingKey] = []

    def key_of(jwk: Mapping[str, object]) -> VerifyingKey:
        found.append(verifying_key(jwk))
        return found[0]

    claims = jws.verify_embedded(presented, typ=DPOP_TYP, key_of=key_of)
    return found[0], claims


def _check_request(claims: Mapping[str, object], *, htm: str, htu: str) -> None:
    if text(claims, "htm") != htm:
        raise _refused("the proof is for another method")
    if normalized(text(claims, "htu")) != normalized(htu):
        raise _refused("the proof is for another URL")


def _host(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    return f"[{host}]" if ":" in host else host


def _path(path: str) -> str:
    """Escapes in upper case, none of them needless, no dot segments; never empty."""
    kept: list[str] = []
    plain = _PERCENT.sub(_escape, path)
    segments = plain.split("/")[1:]
    for index, segment in enumerate(segments):
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
        if segment in {".", ".."} and index == len(segments) - 1:
            kept.append("")
    return "/" + "/".join(kept)


def _escape(match: re.Match[str]) -> str:
    digits = match.group(1)
    if digits is None:
        raise _refused("not a URL that a request goes to")
    character = chr(int(digits, 16))
    return character if character in _UNRESERVED else f"%{digits.upper()}"


def _replay_key(presenter: str, htm: str, htu: str, jti: str) -> str:
    """In the context of key and request (RFC 9449 §11.1), so that nobody spends another's `jti`."""
    return hashlib.sha256("\n".join((presenter, htm, normalized(htu), jti)).encode()).hexdigest()


def _digest(access_token: str) -> str:
    return base64url.encode(hashlib.sha256(access_token.encode()).digest())


def _equal(found: object, expected: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode(), expected.encode())


def _refused(reason: str) -> InvalidToken:
    return InvalidToken(reason, code=INVALID_PROOF)
