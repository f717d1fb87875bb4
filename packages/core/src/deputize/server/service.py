"""What every endpoint has: the engine, the URL that it is known by, and who is asking."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from deputize.authority.cards import Cards
from deputize.authority.client_auth import Authenticated, authenticate
from deputize.authority.engine import Engine
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.authority.refusal import Case, decided
from deputize.authority.visible import may_host
from deputize.model.failure import (
    AttestationFailed,
    AuthorityUnavailable,
    DeputizeError,
    InvalidToken,
    NotFound,
    StoreError,
)
from deputize.model.request import Client
from deputize.model.revocation import Kind
from deputize.model.session import Node
from deputize.model.token import SessionClaims
from deputize.server.incoming import Incoming
from deputize.server.rate import Buckets
from deputize.wire import client_assertion, dpop
from deputize.wire.jws import peek

# What may be told of a token before its holder is known: anybody reads it in the authority's own key set.
OF_OUR_KEYS: Final = frozenset({"key_revoked", "unknown_key"})
_PROOFS = "dpop"  # proofs are spent under one name: their digest holds key, method and URL


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who presented a session token with a proof of its key."""

    token: str = field(repr=False)
    claims: SessionClaims
    node: Node
    client: Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One authority at one URL. `base` is the issuer: what a proxy header says of the host is never asked."""

    engine: Engine
    base: str
    evidence_keys: EvidenceKeys
    cards: Cards = field(default_factory=Cards)
    clients: Buckets = field(default_factory=lambda: Buckets(0, time.monotonic))

    @property
    def now(self) -> int:
        """The authority's time, whole seconds."""
        return int(self.engine.parts.now())

    def url(self, incoming: Incoming) -> str:
        """The URL that the client sent its request to, as the operator wrote it."""
        return self.base.rstrip("/") + incoming.path

    def authenticated(self, items: Sequence[tuple[str, str]], incoming: Incoming) -> Authenticated:
        """Client authentication: `private_key_jwt` by the key of an identity of ours, and nothing beside it.

        Whatever fails is `invalid_client`, and nothing more is told (RFC 6749 §5.2). Two methods are
        `invalid_request`. One that asks too often is AuthorityUnavailable (`rate_limited`).
        """
        shown = client_assertion.credentials(items, authorization=incoming.authorization)
        found = authenticate(self.engine.parts, self.engine.tokens, shown)
        incoming.trace.agent = found.client.agent
        self.clients.take(found.client.agent)
        return found

    def proved_key(self, incoming: Incoming, *, jkt: str | None = None, access_token: str | None = None) -> str:
        """The thumbprint of the key that the request's proof shows. Raises InvalidToken (`invalid_dpop_proof`)."""
        if incoming.proof is None:
            raise InvalidToken("the request has no proof of a key (RFC 9449 §4)", code="invalid_dpop_proof")
        store = self.engine.parts.store
        return dpop.check(
            incoming.proof,
            htm=incoming.method,
            htu=self.url(incoming),
            access_token=access_token,
            jkt=jkt,
            now=self.engine.parts.clock.now(),  # freshness is between two clocks; the authority's time may be ahead
            spend=lambda digest, until: store.write(lambda tx: tx.spend(_PROOFS, digest, until)),
        )

    def holder(self, incoming: Incoming) -> Holder:
        """Who holds the session that the request speaks for: its token in the DPoP scheme, its key by a proof.

        The token may have expired: that is told to nobody but its holder, by `check`.
        """
        scheme, _, token = (incoming.authorization or "").partition(" ")
        if scheme.lower() != "dpop" or not token:
            raise unauthenticated()
        try:
            claims = self.engine.session_token(token, lapsed=True)
            jkt = self.proved_key(incoming, jkt=claims.jkt, access_token=token)
            node = self.engine.session(claims.sid)
        except NotFound:
            raise unauthenticated() from None
        except InvalidToken as error:
            if error.code in {*OF_OUR_KEYS, "invalid_dpop_proof"}:
                raise
            raise unauthenticated() from None
        client = Client(agent=node.agent, jkt=jkt, workload=node.workload, attestation=node.attestation)
        trace = incoming.trace
        trace.agent, trace.sid, trace.txn = node.agent, node.sid, node.txn
        self.clients.take(node.agent)
        return Holder(token=token, claims=claims, node=node, client=client)

    def check(self, holder: Holder, *, lapsed: bool) -> None:
        """What was revoked speaks for nobody, and what permits something needs a token and a host of now.

        `lapsed`: a token that has expired will do. Raises InvalidToken, AttestationFailed.
        """
        parts = self.engine.parts
        kid = peek(holder.token).kid or ""
        found = parts.store.read(lambda tx: tx.revoked_among([holder.claims.jti, kid]))
        revoked = {(entry.kind, entry.id) for entry in found}
        if (Kind.KEY, kid) in revoked:
            raise InvalidToken("the key that signed this token was revoked", code="key_revoked")
        if (Kind.TOKEN, holder.claims.jti) in revoked:
            raise InvalidToken("this token was revoked; the session itself was not", code="token_revoked")
        if lapsed:
            return
        if parts.now() >= holder.claims.exp:
            raise InvalidToken("the session token has expired", code="token_expired")
        if not may_host(parts, holder.client, holder.client.agent):
            raise AttestationFailed("no rule of now lets this workload host this agent")

    def recorded(self, client: Client, error: DeputizeError, node: Node | None = None) -> DeputizeError:
        """The refusal to be told to an authenticated client: `error`, which is recorded now if no step did (I16)."""
        if error.reference is not None or isinstance(error, StoreError | AuthorityUnavailable):
            return error
        parts = self.engine.parts
        case = Case("request.denied", client, parts.rules, node=node)

        def refused() -> NoReturn:
            raise error

        try:
            decided(parts, case, refused)
        except DeputizeError as told:
            return told


def unauthenticated() -> InvalidToken:
    """The one answer to whoever did not prove who they are."""
    return InvalidToken("the client is not authenticated", code="invalid_client")
