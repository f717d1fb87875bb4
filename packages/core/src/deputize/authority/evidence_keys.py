"""Where the keys of evidence come from: one source for each issuer or trust domain, made when needed."""

import threading
from collections.abc import Callable
from typing import Final, Protocol

from deputize.attestation.deciding import CLIENT_METADATA
from deputize.issuers.keys import issuer_keys
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable
from deputize.model.rules import AttestationRule
from deputize.wire.alg import VerifyingKey
from deputize.wire.jws import Header
from deputize.wire.jwt_svid import SVID_USE

WORKLOAD_API: Final = "unix:"
_SPIFFE: Final = "spiffe"


class KeySource(Protocol):
    """The keys of one issuer or trust domain."""

    def key_for(self, header: Header) -> VerifyingKey | None:
        """The key that a token's header names, or None. Raises AuthorityUnavailable."""
        ...


# (socket of the Workload API, trust domain) -> its bundle; `deputize.client.spiffe.workload_api_keys` is one.
Bundles = Callable[[str, str], KeySource]


class EvidenceKeys:
    """Thread-safe; one object for the life of an authority.

    Args:
        clock: Whose steady seconds the caches count.
        bundles: How bundles are read from a Workload API; None where there is none.
        documents: How the keys of a client are had from its metadata document; None where they are not.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        bundles: Bundles | None = None,
        documents: Callable[[AttestationRule], KeySource] | None = None,
    ) -> None:
        self._clock = clock
        self._documents = documents
        self._bundles = bundles
        self._sources: dict[tuple[object, ...], KeySource] = {}
        self._lock = threading.Lock()

    def of(self, rule: AttestationRule) -> KeySource:
        """The keys that may have signed what `rule` accepts. Raises AuthorityUnavailable, ConfigurationError."""
        kind = rule.method if rule.method in {_SPIFFE, CLIENT_METADATA} else ""
        key = (kind, rule.issuer, rule.jwks, rule.ca_file, rule.private_network)
        with self._lock:
            source = self._sources.get(key)
            if source is None:
                source = self._sources[key] = self._made(rule)
            return source

    def _made(self, rule: AttestationRule) -> KeySource:
        if rule.method == CLIENT_METADATA:
            if self._documents is None:
                raise AuthorityUnavailable("this process fetches no client metadata documents")
            return self._documents(rule)
        svid = rule.method == _SPIFFE
        if svid and rule.jwks.startswith(WORKLOAD_API):
            if self._bundles is None:
                raise AuthorityUnavailable("this authority has no client of the Workload API")
            return self._bundles(rule.jwks, rule.issuer.removeprefix("spiffe://"))
        return issuer_keys(
            rule.issuer,
            clock=self._clock,
            jwks=rule.jwks,
            ca_file=rule.ca_file,
            private_network=rule.private_network,
            uses={SVID_USE} if svid else {"sig"},
        )
