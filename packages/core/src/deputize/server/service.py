"""What every endpoint has: the engine, the URL that it is known by, and who is asking."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from deputize.authority.client_auth import Authenticated, authenticate
from deputize.authority.engine import Engine
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.model.failure import InvalidToken, NotFound
from deputize.model.request import Client
from deputize.model.session import Node
from deputize.model.token import SessionClaims
from deputize.server.incoming import Incoming
from deputize.server.rate import Buckets
from deputize.wire import client_assertion, dpop

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
            now=self.engine.parts.now(),
            spend=lambda digest, until: store.write(lambda tx: tx.spend(_PROOFS, digest, until)),
        )

    def holder(self, incoming: Incoming, *, lapsed: bool = False) -> Holder:
        """Who holds the session that the request speaks for: its token in the DPoP scheme, its key by a proof.

        `lapsed`: a token that has expired will do, for what permits nothing.
        """
        scheme, _, token = (incoming.authorization or "").partition(" ")
        if scheme.lower() != "dpop" or not token:
            raise unauthenticated()
        try:
            claims = self.engine.session_token(token, lapsed=lapsed)
            jkt = self.proved_key(incoming, jkt=claims.jkt, access_token=token)
            node = self.engine.session(claims.sid)
        except NotFound:
            raise unauthenticated() from None
        except InvalidToken as error:
            if error.code in {"key_revoked", "token_revoked", "unknown_key", "token_expired", "invalid_dpop_proof"}:
                raise
            raise unauthenticated() from None
        client = Client(agent=node.agent, jkt=jkt, workload=node.workload, attestation=node.attestation)
        trace = incoming.trace
        trace.agent, trace.sid, trace.txn = node.agent, node.sid, node.txn
        self.clients.take(node.agent)
        return Holder(token=token, claims=claims, node=node, client=client)


def unauthenticated() -> InvalidToken:
    """The one answer to whoever did not prove who they are."""
    return InvalidToken("the client is not authenticated", code="invalid_client")
