"""What tokens say, as values. `deputize.wire` turns them to and from compact JWS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deputize.model.sign_in import NO_SIGN_IN, SignIn

IDENTITY_TYP: Final = "wit+jwt"
SESSION_TYP: Final = "vnd.deputize.session+jwt"
ACCESS_TYP: Final = "at+jwt"
DPOP_TYP: Final = "dpop+jwt"
CLIENT_ASSERTION_TYP: Final = "client-authentication+jwt"
SUBJECT_ASSERTION_TYP: Final = "vnd.deputize.subject+jwt"
CONTEXT_CLAIM: Final = "urn:deputize:ctx"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenContext:
    """The one collision-resistant claim: `path` are the sids strictly between root and this session."""

    mode: str
    path: tuple[str, ...]
    rec: str  # base64url(SHA-256 leaf hash) of the token's own audit record


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityContext:
    """The context claim of an identity, which stands in no tree: what a replica needs to know its holder again.

    `workload` is what was attested, by `method`; `attested` when its evidence was checked, seconds since the epoch
    (0 in process, where there is none). `rec` as in TokenContext.
    """

    workload: str
    method: str
    attested: int
    rec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityClaims:
    """`wit+jwt`: who a key belongs to. Never a bearer."""

    iss: str
    sub: str
    jti: str
    iat: int
    exp: int
    jwk: Mapping[str, str]  # public, with `alg`
    context: IdentityContext | None = None  # None: issued by an earlier version; good as actor token alone


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAssertion:
    """`client-authentication+jwt`: who asks, for one request (RFC 7523 §3, draft-ietf-oauth-rfc7523bis)."""

    client_id: str
    jti: str
    exp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectAssertion:
    """`vnd.deputize.subject+jwt`: an agent names a user who is not present by a token of their own."""

    agent: str
    user: str
    jti: str
    exp: int
