"""A person signs in at their own provider, in their own browser: authorization code, PKCE, a redirect to the loopback.

Sources: RFC 8252 §7.3 (loopback redirect), RFC 7636 (PKCE, S256 alone), RFC 9207 (`iss`), RFC 6749 §4.1, RFC 9700
§2.1.1, OpenID Connect Core §3.1.3.7 (`nonce`). The client is public: it has no secret, and no refresh token is
asked for.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

import httpx

from deputize.client.redirect import Redirect
from deputize.fetch import Fetcher
from deputize.fetch.target import is_loopback, parse
from deputize.issuers.metadata import discover
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable, Denial, Denied, InvalidRequest, InvalidToken
from deputize.wire import base64url, jws
from deputize.wire.json_strict import loads

WAIT: Final = 300.0  # seconds that a person has to sign in
KEPT_MOST: Final = 8 * 3600  # seconds that a token is kept at most, whatever its issuer says
KEPT_UNSAID: Final = 600  # seconds where neither answer nor token says
MAX_ANSWER: Final = 256 * 1024  # bytes
_S256: Final = "S256"
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """How to sign in. `resource` (RFC 8707) and `audience` say for whom the access token is, as the issuer wants it.

    `id_token`: the ID token is what is wanted, for an authority that lists `client_id` as an audience.
    """

    issuer: str
    client_id: str
    scope: str = "openid"
    resource: str | None = None
    audience: str | None = None
    id_token: bool = False
    port: int = 0  # of the redirect; 0: any that is free
    wait: float = WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A token, until when it is good (seconds since the epoch)."""

    token: str = field(repr=False)
    expires: int


@dataclass(frozen=True, slots=True)
class _Provider:
    authorization: str
    token: str
    says_iss: bool


def sign_in(how: SignIn, *, clock: Clock, show: Callable[[str], None]) -> Obtained:
    """Sign in; `show` is given the URL that a person opens. One answer is awaited, and then nothing listens.

    Raises Denied (`login_refused`), InvalidToken (`state_mismatch`, `wrong_issuer`, `malformed_token`),
    InvalidRequest (`metadata_refused`, `invalid_response`), AuthorityUnavailable (`login_timed_out`, unreachable).
    """
    provider = _provider(how, clock)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    with Redirect(port=how.port, clock=clock) as redirect:
        asked = {
            "response_type": "code",
            "client_id": how.client_id,
            "redirect_uri": redirect.uri,
            "scope": how.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge(verifier),
            "code_challenge_method": _S256,
            **_for_whom(how),
        }
        mark = "&" if "?" in provider.authorization else "?"
        show(f"{provider.authorization}{mark}{urlencode(asked)}")
        told = redirect.wait(how.wait)
    code = _code(told, how.issuer, state, says_iss=provider.says_iss)
    answer = _exchange(provider.token, how, code, redirect.uri, verifier)
    return _obtained(answer, how, nonce, clock.now())


def challenge(verifier: str) -> str:
    """RFC 7636 §4.2."""
    return base64url.encode(hashlib.sha256(verifier.encode()).digest())


def _for_whom(how: SignIn) -> dict[str, str]:
    named = {"resource": how.resource, "audience": how.audience}
    return {name: value for name, value in named.items() if value is not None}


def _provider(how: SignIn, clock: Clock) -> _Provider:
    """The person at this machine named the issuer: it may be on their own network."""
    local = is_loopback(parse(how.issuer).host)
    document = discover(Fetcher(clock=clock, private_network=True, loopback=local, ports=None), how.issuer)
    methods = document.get("code_challenge_methods_supported")
    if isinstance(methods, list) and _S256 not in methods:
        raise _refused("does not know PKCE with S256")
    return _Provider(
        _endpoint(document, "authorization_endpoint", local=local),
        _endpoint(document, "token_endpoint", local=local),
        document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: Mapping[str, object], name: str, *, local: bool) -> str:
    url = document.get(name)
    if not isinstance(url, str):
        raise _refused(f"has no {name}")
    target = parse(url)
    if target.scheme != "https" and not (local and is_loopback(target.host)):
        raise _refused(f"has its {name} at no https URL")
    return url


def _code(told: Mapping[str, str], issuer: str, state: str, *, says_iss: bool) -> str:
    if not hmac.compare_digest(told.get("state", "").encode(), state.encode()):
        raise InvalidToken("the answer is to another sign-in than this one; nothing was taken", code="state_mismatch")
    iss = told.get("iss")
    if (iss is None and says_iss) or (iss is not None and iss != issuer):
        raise InvalidToken("the answer is of another issuer than was asked (RFC 9207)", code="wrong_issuer")
    code = told.get("code")
    if "error" in told or not code:
        raise _login_refused(told.get("error", "no code came back"))
    return code


def _exchange(url: str, how: SignIn, code: str, redirect: str, verifier: str) -> Mapping[str, object]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect,
        "client_id": how.client_id,
        "code_verifier": verifier,
        **_for_whom(how),
    }
    try:
        with httpx.Client(follow_redirects=False, trust_env=False, timeout=30) as client:
            answer = client.post(url, data=form, headers={"Accept": "application/json"})
    except httpx.HTTPError as error:
        raise AuthorityUnavailable(f"the issuer could not be asked: {type(error).__name__}") from None
    if len(answer.content) > MAX_ANSWER:
        raise _bad("the issuer's answer is too large")
    told = loads(answer.content, refuse=_bad)
    if answer.status_code != _OK:
        raise _login_refused(str(told.get("error", answer.status_code)))
    return told


def _obtained(answer: Mapping[str, object], how: SignIn, nonce: str, now: float) -> Obtained:
    kind = answer.get("token_type")
    token = answer.get("id_token" if how.id_token else "access_token")
    if not isinstance(token, str) or (not how.id_token and not (isinstance(kind, str) and kind.lower() == "bearer")):
        raise _bad("the issuer gave no token of the kind that was asked for")
    claims: Mapping[str, object] = {}
    if how.id_token or token.count(".") == 2:  # noqa: PLR2004  # a JWS; an opaque token says nothing
        claims = jws.unverified_claims(token)  # the authority verifies it
    if how.id_token and (claims.get("nonce") != nonce or claims.get("iss") != how.issuer):
        raise InvalidToken("the ID token is of another sign-in than this one", code="state_mismatch")
    said = [int(now) + KEPT_MOST]
    life, exp = answer.get("expires_in"), claims.get("exp")
    if isinstance(life, int | float) and not how.id_token:
        said.append(int(now + life))
    if isinstance(exp, int | float):
        said.append(int(exp))
    if len(said) == 1:
        said.append(int(now) + KEPT_UNSAID)
    return Obtained(token=token, expires=min(said))


def _login_refused(error: str) -> Denied:
    shown = "".join(c for c in error if c.isalnum() or c in "_- ")[:64]
    return Denied(
        Denial(
            code="login_refused",
            policy=None,
            asked=f"the issuer gave no token ({shown})",
            enough="an account there, and a client that is registered for http://127.0.0.1 with any port",
        )
    )


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"the issuer's metadata {reason}", code="metadata_refused")


def _bad(reason: str) -> InvalidRequest:
    return InvalidRequest(reason, code="invalid_response")
