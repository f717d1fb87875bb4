"""The one gate that signed tokens come through: compact JWS, read strictly (RFC 7515, RFC 8725).

A token has one spelling here, save for the signature itself (ES256 is malleable): so replay and revocation
go by (issuer, `jti`), never by the token's bytes.
"""

import functools
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.wire import base64url
from deputize.wire.alg import ALGORITHMS, ED25519, EDDSA, SigningKey, VerifyingKey
from deputize.wire.json_strict import dumps, loads
from deputize.wire.refusal import (
    INVALID_SIGNATURE,
    TOO_LARGE,
    UNKNOWN_KEY,
    UNSUPPORTED_ALGORITHM,
    WRONG_TYPE,
    malformed,
)

MAX_READ: Final = 16 * 1024  # characters; checked before anything is parsed
MAX_ISSUED: Final = 8 * 1024
_MAX_HEADERS: Final = 512
_MAX_MEMBER: Final = 512
_OUR_KID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")
_KNOWN: Final = frozenset({"alg", "kid", "typ", "jwk"})
_CHANGES_MEANING: Final = frozenset({"crit", "b64", "zip", "enc"})  # extensions, other payload forms, encryption


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of itself before it is believed. `typ` is in lower case, without `application/`."""

    alg: str
    kid: str | None
    typ: str | None
    jwk: Mapping[str, object] | None
    others: frozenset[str]
    ours: bool  # exactly alg, kid and typ, and a kid of the form that we give


KeyFor = Callable[[Header], VerifyingKey | None]

# Headers of tokens that verified, by their encoded bytes: an issuer has few. A stranger cannot fill it.
_headers: dict[bytes, Header] = {}


def sign(typ: str, claims: Mapping[str, object], key: SigningKey) -> str:
    """A token of ours, header alg, kid, typ. Raises InvalidRequest (`token_too_large`) above 8 KiB."""
    return _sign(_encoded_header(key.alg, key.kid, typ), claims, key)


def sign_with(header: Mapping[str, object], claims: Mapping[str, object], key: SigningKey) -> str:
    """A token under any other header, as a proof of possession has."""
    return _sign(base64url.encode(dumps(header)), claims, key)


def peek(token: str) -> Header:
    """The header of a token that nobody has checked yet; good for finding a key or a kind, nothing else."""
    head = _segments(token)[0]
    return _headers.get(head) or _header(head, ALGORITHMS)


def verify(token: str, *, typ: str, key_for: KeyFor) -> dict[str, object]:
    """The claims of a token with our header whose signature holds.

    Checks form, `typ`, algorithm = key's algorithm and signature; the claims are the caller's to judge.
    Raises InvalidToken: `malformed_token`, `token_too_large`, `unsupported_algorithm`, `wrong_type`,
    `unknown_key`, `invalid_signature`.
    """
    return verify_with_key(token, typ=typ, key_for=key_for)[0]


def verify_with_key(token: str, *, typ: str, key_for: KeyFor) -> tuple[dict[str, object], VerifyingKey]:
    """Like `verify`, and the key that it was verified with."""
    head, signed, body, signature = _segments(token)
    header = _headers.get(head) or _header(head, ALGORITHMS)
    if header.typ != typ:
        raise InvalidToken("the token is of another type", code=WRONG_TYPE)
    if not header.ours:
        raise malformed("the header has other members than alg, kid and typ")
    key = _authenticate(header, key_for, signed, signature)
    _remember(head, header)
    return loads(base64url.decode(body)), key


def verify_foreign(
    token: str, *, typs: Collection[str | None], key_for: KeyFor, only_known: bool = False
) -> dict[str, object]:
    """The claims of another issuer's token, under one of our own algorithms. Raises InvalidToken as `verify` does."""
    return verify_foreign_with_header(token, typs=typs, key_for=key_for, only_known=only_known)[1]


def verify_foreign_with_header(
    token: str,
    *,
    typs: Collection[str | None],
    key_for: KeyFor,
    only_known: bool = False,
    algorithms: Collection[str] = ALGORITHMS,
) -> tuple[Header, dict[str, object]]:
    """Header and claims of another issuer's token; key hints in it (`jku`, `x5c`, ...) are never looked at.

    `typs` are the accepted types in lower case, None for an absent one. `only_known` refuses members other
    than alg, kid and typ, as JWT-SVIDs ask. Raises InvalidToken as `verify` does.
    """
    head, signed, body, signature = _segments(token)
    header = _header(head, algorithms)
    if header.typ not in typs:
        raise InvalidToken("the token is of another type", code=WRONG_TYPE)
    if only_known and (header.others or header.jwk is not None):
        raise malformed("the header has other members than alg, kid and typ")
    if header.alg == ED25519:
        header = replace(header, alg=EDDSA)
    _authenticate(header, key_for, signed, signature)
    return header, loads(base64url.decode(body))


def unverified_claims(token: str) -> dict[str, object]:
    """What a token says that nobody has checked; good for finding whose it would be, nothing else."""
    return loads(base64url.decode(_segments(token)[2]))


def verify_embedded(
    token: str, *, typ: str, key_of: Callable[[Mapping[str, object]], VerifyingKey]
) -> dict[str, object]:
    """The claims of a proof that brings its key; `key_of` makes or refuses it. Raises InvalidToken."""
    head, signed, body, signature = _segments(token)
    header = _header(head, ALGORITHMS)
    if header.typ != typ:
        raise InvalidToken("the token is of another type", code=WRONG_TYPE)
    if header.others or header.jwk is None:
        raise malformed("the header of a proof has alg, jwk and typ")
    key = key_of(header.jwk)
    _authenticate(header, lambda _: key, signed, signature)
    return loads(base64url.decode(body))


def verify_payload(token: str, *, key_for: KeyFor, algorithms: Collection[str] = ALGORITHMS) -> bytes:
    """The payload of any compact JWS; it may be no JSON, and empty. Raises InvalidToken as `verify` does."""
    head, signed, body, signature = _segments(token)
    _authenticate(_header(head, algorithms), key_for, signed, signature)
    return base64url.decode(body)


def _segments(token: object) -> tuple[bytes, bytes, bytes, bytes]:
    """(header, signing input, payload, signature); all but the last still encoded."""
    if not isinstance(token, str) or not token.isascii():
        raise malformed("a token is ASCII text")
    if len(token) > MAX_READ:
        raise InvalidToken("the token is longer than 16 KiB", code=TOO_LARGE)
    signed, _, signature = token.encode("ascii").rpartition(b".")
    head, dot, body = signed.partition(b".")
    if not dot:
        raise malformed("a token has three parts")
    return head, signed, body, base64url.decode(signature)


def _header(head: bytes, algorithms: Collection[str]) -> Header:
    members = loads(base64url.decode(head))
    if not _CHANGES_MEANING.isdisjoint(members):
        raise malformed("the header has a member that is never accepted")
    alg, kid, typ = (_text(members, name) for name in ("alg", "kid", "typ"))
    if alg is None or alg not in algorithms:
        raise InvalidToken("the algorithm is not accepted", code=UNSUPPORTED_ALGORITHM)
    jwk = members.get("jwk")
    if "jwk" in members and not isinstance(jwk, dict):
        raise malformed("a jwk is an object")
    ours = members.keys() == {"alg", "kid", "typ"} and _OUR_KID.match(kid or "") is not None
    others = frozenset(members) - _KNOWN
    return Header(alg, kid, _plain_type(typ), jwk if isinstance(jwk, dict) else None, others, ours)


def _text(members: Mapping[str, object], name: str) -> str | None:
    value = members.get(name)
    if isinstance(value, str) and len(value) <= _MAX_MEMBER:
        return value
    if name in members:
        raise malformed("a member of the header is not short text")
    return None


def _plain_type(typ: str | None) -> str | None:
    """Media types ignore case, and `application/` may be left out (RFC 7515 §4.1.9)."""
    if typ is None:
        return None
    name = typ.lower()
    short = name.removeprefix("application/")
    return name if "/" in short else short


def _authenticate(header: Header, key_for: KeyFor, signed: bytes, signature: bytes) -> VerifyingKey:
    key = key_for(header)
    if key is None:
        raise InvalidToken("no key of the issuer has that kid", code=UNKNOWN_KEY)
    if header.alg != key.alg or not key.verify(signature, signed):
        raise InvalidToken("the signature does not hold", code=INVALID_SIGNATURE)
    return key


def _remember(head: bytes, header: Header) -> None:
    if head not in _headers:
        if len(_headers) >= _MAX_HEADERS:
            _headers.clear()
        _headers[head] = header


@functools.lru_cache(maxsize=256)
def _encoded_header(alg: str, kid: str, typ: str) -> str:
    return base64url.encode(dumps({"alg": alg, "kid": kid, "typ": typ}))


def _sign(head: str, claims: Mapping[str, object], key: SigningKey) -> str:
    signed = f"{head}.{base64url.encode(dumps(claims))}"
    token = f"{signed}.{base64url.encode(key.sign(signed.encode('ascii')))}"
    if len(token) > MAX_ISSUED:
        raise InvalidRequest("the token would be longer than 8 KiB", code=TOO_LARGE)
    return token
