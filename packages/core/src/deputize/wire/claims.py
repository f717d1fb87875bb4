"""What the three tokens have in common: times, names, actor chain, confirmation, context claim."""

import functools
import math
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.model.identity import SESSION_ID_LENGTH
from deputize.model.mode import Mode
from deputize.model.sign_in import NO_SIGN_IN, SignIn
from deputize.model.token import CONTEXT_CLAIM, TokenContext
from deputize.wire.alg import VerifyingKey
from deputize.wire.refusal import (
    EXPIRED,
    KEY_RETIRED,
    NOT_YET_VALID,
    UNKNOWN_CONFIRMATION,
    WRONG_AUDIENCE,
    WRONG_ISSUER,
    malformed,
)

ACTOR_PROFILE: Final = "ai_agent"
THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # base64url of a SHA-256
_SESSION_IDS = re.compile(r"(?:[A-Za-z0-9_-]{16})*\Z")
_MODES: Final = frozenset(mode.value for mode in Mode)
_NEEDS_ACTOR: Final = Mode.ON_BEHALF_OF.value
_CONTEXT_MEMBERS: Final = {"mode", "path", "rec"}
_SIGN_IN: Final = frozenset({"auth_time", "acr", "amr"})


def text(claims: Mapping[str, object], name: str) -> str:
    """A claim that must be there and must be text with something in it."""
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise malformed("a required claim is missing or is not text")
    return value


def moment(claims: Mapping[str, object], name: str) -> int:
    """A NumericDate (RFC 7519 §2) in whole seconds, rounded down; true, text and infinity are no numbers."""
    value = claims.get(name)
    if type(value) is int:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return math.floor(value)
    raise malformed("a time claim is missing or is not a number")


def check_issuer(claims: Mapping[str, object], issuer: str) -> None:
    """Exact, character by character (RFC 9068 §4). Raises InvalidToken (`wrong_issuer`)."""
    if claims.get("iss") != issuer:
        raise InvalidToken("the token is of another issuer", code=WRONG_ISSUER)


def check_audience(claims: Mapping[str, object], audience: str, *, several: bool) -> None:
    """`aud` is `audience`, or if `several` a list that holds it. Raises InvalidToken (`wrong_audience`)."""
    found = claims.get("aud")
    if found == audience:
        return
    if several and isinstance(found, list) and audience in found and all(isinstance(item, str) for item in found):
        return
    raise InvalidToken("the token is for another audience", code=WRONG_AUDIENCE)


def check_times(claims: Mapping[str, object], key: VerifyingKey, *, now: float, leeway: float) -> tuple[int, int]:
    """(`iat`, `exp`) of a token that is valid now.

    Raises InvalidToken: `token_expired`, `not_yet_valid`, `key_retired` (`iat` after the key's `sign_until`).
    """
    iat, exp = moment(claims, "iat"), moment(claims, "exp")
    begins = max(iat, moment(claims, "nbf")) if "nbf" in claims else iat
    if now >= exp + leeway:
        raise InvalidToken("the token has expired", code=EXPIRED)
    if begins > now + leeway:
        raise InvalidToken("the token is not valid yet", code=NOT_YET_VALID)
    if key.sign_until is not None and iat > key.sign_until:
        raise InvalidToken("the token was issued after its key had been retired", code=KEY_RETIRED)
    return iat, exp


def nested_act(chain: tuple[str, ...]) -> dict[str, object]:
    """`act` for a chain that is not empty: the current actor outside, the oldest inside (RFC 8693 §4.1)."""
    inner: dict[str, object] = {}
    for actor in reversed(chain[1:]):
        inner = {"act": {"sub": actor, **inner}}
    return {"sub": chain[0], "sub_profile": ACTOR_PROFILE, **inner}


def chain(claims: Mapping[str, object], issuer: str) -> tuple[str, ...]:
    """The actors, outermost first; empty where there is no `act`.

    An actor of another issuer is written `<iss>|<sub>`, a form that no agent of ours has, so that nobody is
    taken for a namesake.
    """
    actors: list[str] = []
    level = claims
    while "act" in level:
        act = level["act"]
        if not isinstance(act, dict):
            raise malformed("act is not an object")
        sub, iss = text(act, "sub"), act.get("iss", issuer)
        if not isinstance(iss, str):
            raise malformed("the issuer of an actor is not text")
        actors.append(sub if iss == issuer else f"{iss}|{sub}")
        level = act
    return tuple(actors)


def may_act(claims: Mapping[str, object], issuer: str) -> str | None:
    """Who alone may become the next actor (RFC 8693 §4.4); None where the token does not say.

    It only restricts, so what cannot be read exactly, or names somebody of another issuer, lets nobody act.
    """
    if "may_act" not in claims:
        return None
    stated = claims["may_act"]
    if not isinstance(stated, dict) or not stated.keys() <= {"iss", "sub"} or stated.get("iss", issuer) != issuer:
        raise malformed("may_act does not name one actor of this issuer")
    return text(stated, "sub")


def confirmation(claims: Mapping[str, object]) -> str:
    """The thumbprint in `cnf`. Another member is a binding that we cannot check (RFC 7800 §3.1): refused."""
    cnf = claims.get("cnf")
    if not isinstance(cnf, dict) or cnf.keys() != {"jkt"}:
        raise InvalidToken("the token is bound by something other than a key thumbprint", code=UNKNOWN_CONFIRMATION)
    jkt = cnf["jkt"]
    if not isinstance(jkt, str) or not THUMBPRINT.match(jkt):
        raise malformed("a key thumbprint does not have its form")
    return jkt


def packed_context(context: TokenContext) -> dict[str, object]:
    """The context claim: sids of the path one after another, 16 characters each."""
    return {"mode": context.mode, "path": "".join(context.path), "rec": context.rec}


def sign_in(claims: Mapping[str, object]) -> SignIn:
    """When and how the user signed in (RFC 9068 §2.2.1). Raises InvalidToken for what is there in another form."""
    if _SIGN_IN.isdisjoint(claims):
        return NO_SIGN_IN
    amr = claims.get("amr", [])
    if not isinstance(amr, list) or not all(isinstance(method, str) for method in amr):
        raise malformed("amr is not a list of texts")
    try:
        return SignIn(
            auth_time=moment(claims, "auth_time") if "auth_time" in claims else None,
            acr=text(claims, "acr") if "acr" in claims else None,
            amr=tuple(amr),
        )
    except InvalidToken:
        raise
    except InvalidRequest as error:
        raise malformed(str(error)) from None


def sign_in_claims(found: SignIn) -> dict[str, object]:
    """The inverse of `sign_in`: what is not known is left out."""
    stated: dict[str, object] = {"auth_time": found.auth_time, "acr": found.acr, "amr": list(found.amr) or None}
    return {name: value for name, value in stated.items() if value is not None}


class Position(NamedTuple):
    """What session and access tokens share: for whom, by whom, where in a delegation tree, how long."""

    sub: str
    client_id: str
    chain: tuple[str, ...]
    jti: str
    iat: int
    exp: int
    sid: str
    txn: str
    mode: str
    path: tuple[str, ...]
    rec: str
    sign_in: SignIn

    @property
    def context(self) -> TokenContext:
        """The context claim as a value."""
        return TokenContext(mode=self.mode, path=self.path, rec=self.rec)


def position(claims: Mapping[str, object], key: VerifyingKey, *, issuer: str, now: float, leeway: float) -> Position:
    """Read and check it all but the audience and the binding. Raises InvalidToken.

    The context claim has exactly its three members; a token without it was not issued by an authority of ours.
    One that acts for somebody names who acts: if it lost its `act`, it would be silent impersonation.
    """
    check_issuer(claims, issuer)
    iat, exp = check_times(claims, key, now=now, leeway=leeway)
    context = claims.get(CONTEXT_CLAIM)
    if not isinstance(context, dict) or context.keys() != _CONTEXT_MEMBERS:
        raise malformed("the context claim is missing or has other members")
    mode, path, rec = text(context, "mode"), context["path"], text(context, "rec")
    sid, txn = text(claims, "sid"), text(claims, "txn")
    if not isinstance(path, str) or len(sid) != SESSION_ID_LENGTH or len(txn) != SESSION_ID_LENGTH:
        raise malformed("a session id does not have its form")
    if not _SESSION_IDS.match(txn + path + sid) or not THUMBPRINT.match(rec) or mode not in _MODES:
        raise malformed("a session id or a member of the context claim does not have its form")
    actors = chain(claims, issuer)
    if not actors and mode == _NEEDS_ACTOR:
        raise malformed("a token on somebody's behalf names no actor")
    return Position(
        text(claims, "sub"),
        text(claims, "client_id"),
        actors,
        text(claims, "jti"),
        iat,
        exp,
        sid,
        txn,
        mode,
        _unpacked(path),
        rec,
        sign_in(claims),
    )


@functools.lru_cache(maxsize=1024)
def _unpacked(path: str) -> tuple[str, ...]:
    return tuple(path[start : start + SESSION_ID_LENGTH] for start in range(0, len(path), SESSION_ID_LENGTH))
