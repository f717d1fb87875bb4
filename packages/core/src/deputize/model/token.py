"""What tokens say, as values. `deputize.wire` turns them to and from compact JWS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deputize.model.sign_in import NO_SIGN_IN, SignIn

IDENTITY_TYP: Final = "wit+jwt"
SESSION_TYP: Final = "vnd.deputize.session+jwt"
ACCESS_TYP: Final = "at+jwt"
DPOP_TYP: Final = "dpop+jwt"
CONTEXT_CLAIM: Final = "urn:deputize:ctx"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenContext:
    """The one collision-resistant claim: `path` are the sids strictly between root and this session."""

    mode: str
    path: tuple[str, ...]
    rec: str  # base64url(SHA-256 leaf hash) of the token's own audit record


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityClaims:
    """`wit+jwt`: who a key belongs to. Never a bearer."""

    iss: str
    sub: str
    jti: str
    iat: int
    exp: int
    jwk: Mapping[str, str]  # public, with `alg`
    rec: str | None = None  # as in TokenContext; an identity stands in no tree, so that it has no more context


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionClaims:
    """`vnd.deputize.session+jwt`: `aud` is the authority alone; `jkt` always.

    `may_act`: the one agent that it may be handed on to; no token of ours says so yet, and it is heeded.
    """

    iss: str
    sub: str
    client_id: str
    chain: tuple[str, ...]  # -> nested `act`, outermost first; empty: no `act`
    jti: str
    iat: int
    exp: int
    sid: str
    txn: str
    jkt: str
    context: TokenContext
    may_act: str | None = None
    sign_in: SignIn = NO_SIGN_IN  # -> `auth_time`, `acr`, `amr`


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessClaims:
    """`at+jwt` (RFC 9068): one `aud`, nested `act`, `cnf` where the resource's binding asks for it."""

    iss: str
    aud: str
    sub: str
    client_id: str
    chain: tuple[str, ...]
    scope: tuple[str, ...]
    jti: str
    iat: int
    exp: int
    sid: str
    txn: str
    jkt: str | None
    context: TokenContext
    sign_in: SignIn = NO_SIGN_IN  # -> `auth_time`, `acr`, `amr`
