"""The check that a resource server makes of every request, offline: no call to the authority."""

from collections.abc import Collection
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from deputize.model.clock import Clock
from deputize.model.failure import ConfigurationError, Denial, Denied, InvalidToken
from deputize.model.mode import Mode
from deputize.system import SystemClock
from deputize.verifier.caller import Caller
from deputize.verifier.credentials import Headers, Presented, presented
from deputize.verifier.memory import Bounded, Replays
from deputize.verifier.sources import KeySource, RevocationSource
from deputize.wire import access_token, dpop, jws
from deputize.wire.alg import VerifyingKey
from deputize.wire.refusal import EXPIRED, INVALID_PROOF, TOO_LARGE

if TYPE_CHECKING:  # the registry is not for resource servers, only the name of a literal is
    from deputize.model.registry import Binding

REVOKED: Final = "token_revoked"
STALE: Final = "stale_revocations"
WRONG_BINDING: Final = "wrong_binding"
INSUFFICIENT_SCOPE: Final = "insufficient_scope"
MAX_LEEWAY: Final = 60  # seconds
_MODES: Final = {mode.value: mode for mode in Mode}


class _Verified(NamedTuple):
    """A token whose signature and claims held once; what may change since is asked every time."""

    caller: Caller
    jkt: str | None
    sids: tuple[str, ...]
    agents: tuple[str, ...]
    iat: int
    kid: str


class Verifier:
    """Verifies access tokens of one issuer for one resource. Safe to share between threads and tasks.

    `leeway` is in seconds (0-60), `cache` the number of verified tokens remembered (0: none). Without
    `revocations` a token is good until it expires. Raises ConfigurationError where issuer, resource or keys are
    missing: there is no check that is left out for want of an argument.
    """

    def __init__(
        self,
        issuer: str,
        resource: str,
        *,
        keys: KeySource | None = None,
        revocations: RevocationSource | None = None,
        leeway: float = 5,
        cache: int = 4096,
        clock: Clock | None = None,
    ) -> None:
        if not issuer or not resource:
            raise ConfigurationError("a verifier needs the issuer and the resource that it stands for")
        if keys is None:
            raise ConfigurationError("a verifier needs keys=: MemoryKeys, FileSource, or a client's")
        if not 0 <= leeway <= MAX_LEEWAY or cache < 0:
            raise ConfigurationError("leeway is 0 to 60 seconds and cache is not negative")
        self.issuer = issuer
        self.resource = resource
        self._keys = keys
        self._revocations = revocations
        self._leeway = leeway
        self._clock = clock or SystemClock()
        self._verified: Bounded[_Verified] | None = Bounded(cache) if cache else None
        self._replays = Replays(self._clock)

    def verify(
        self,
        source: str | Headers,
        *,
        scopes: Collection[str] = (),
        proof: str | None = None,
        method: str | None = None,
        url: str | None = None,
        binding: "Binding" = "bearer",
        spend: dpop.Spend | None = None,
    ) -> Caller:
        """Who presents `source` (the headers of a request, or a bare token), if it may have `scopes` here.

        `method` and `url` (as the client knows it) are what a proof is checked against. `spend` remembers
        proofs; the default remembers those that this process saw. Raises InvalidToken (its code names the
        check), InvalidRequest, Denied (`insufficient_scope`), ConfigurationError, StoreError.
        """
        sent = presented(source, proof)
        verified = self._check_token(sent.token)
        self._check_revocation(verified)
        if verified.jkt is not None or binding == "dpop" or sent.scheme == "dpop":
            self._check_binding(verified.jkt, sent, binding, method, url, spend)
        caller = verified.caller
        if not caller.scopes.issuperset(scopes):
            raise self._insufficient(scopes)
        return caller

    def _check_token(self, token: str) -> _Verified:
        if len(token) > jws.MAX_READ or not token.isascii():
            raise InvalidToken("a token is ASCII text of at most 16 KiB", code=TOO_LARGE)
        if self._verified is None:
            return self._decode(token)
        digest = sha256(token.encode("ascii")).digest()
        known = self._verified.get(digest)
        if known is None:
            known = self._decode(token)
            self._verified.put(digest, known)
        elif self._clock.now() >= known.caller.expires_at + self._leeway:
            self._verified.drop(digest)
            raise InvalidToken("the token has expired", code=EXPIRED)
        return known

    def _decode(self, token: str) -> _Verified:
        found = access_token.read(
            token,
            issuer=self.issuer,
            audience=self.resource,
            key_for=self._key_for,
            now=self._clock.now(),
            leeway=self._leeway,
        )
        where = found.position
        caller = _caller(self.issuer, self.resource, found)
        sids, agents = (where.txn, *where.path, where.sid), (caller.agent, where.client_id)
        return _Verified(caller, found.jkt, sids, agents, where.iat, found.key.kid)

    def _key_for(self, header: jws.Header) -> VerifyingKey | None:
        return self._keys.key(header.kid or "")

    def _check_revocation(self, verified: _Verified) -> None:
        source = self._revocations
        if source is None:
            return
        view = source.view()
        if not source.age() <= source.bound:
            raise InvalidToken("what is known of revocations is too old to be believed", code=STALE)
        caller = verified.caller
        cause = view.refuses(
            sids=verified.sids,
            jti=caller.jti,
            agents=verified.agents,
            sub=caller.subject,
            iat=verified.iat,
            kid=verified.kid,
        )
        if cause is not None:
            raise InvalidToken("the token or what it comes from was revoked", code=REVOKED)

    def _check_binding(
        self,
        jkt: str | None,
        sent: Presented,
        binding: "Binding",
        method: str | None,
        url: str | None,
        spend: dpop.Spend | None,
    ) -> None:
        if jkt is None:
            raise InvalidToken(
                "the scheme DPoP and this resource take tokens that are bound to a key", code=WRONG_BINDING
            )
        if sent.scheme != "dpop" or binding == "bearer":
            raise InvalidToken("a token that is bound to a key is not taken as a bearer", code=WRONG_BINDING)
        if sent.proof is None:
            raise InvalidToken("the request has no proof", code=INVALID_PROOF)
        if method is None or url is None:
            raise ConfigurationError("a proof is checked against method= and url= of the request")
        dpop.check(
            sent.proof,
            htm=method,
            htu=url,
            access_token=sent.token,
            jkt=jkt,
            now=self._clock.now(),
            spend=spend or self._replays.spend,
        )

    def _insufficient(self, scopes: Collection[str]) -> Denied:
        wanted = " ".join(sorted(scopes))
        return Denied(
            Denial(
                code=INSUFFICIENT_SCOPE,
                policy=None,
                asked=f"{wanted} at {self.resource}",
                enough=f"a token with {wanted}",
            )
        )


def _caller(issuer: str, resource: str, found: access_token.Read) -> Caller:
    where = found.position
    mode = _MODES[where.mode]
    without_actor = where.sub if mode is Mode.SELF else where.client_id
    return Caller(
        issuer=issuer,
        resource=resource,
        subject=where.sub,
        agent=where.chain[0] if where.chain else without_actor,
        chain=where.chain,
        client_id=where.client_id,
        session=where.sid,
        root=where.txn,
        mode=mode,
        scopes=frozenset(found.scope),
        jti=where.jti,
        expires_at=float(where.exp),
        bound=found.jkt is not None,
        auth_time=where.sign_in.auth_time,
        acr=where.sign_in.acr,
        amr=where.sign_in.amr,
    )
