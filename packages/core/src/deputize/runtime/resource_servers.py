"""For resource servers on the authority's own machine: what verifies its tokens, without asking it each time."""

from typing import TYPE_CHECKING, Final

from deputize.model.report import Rejections
from deputize.model.revocation import Kind
from deputize.store.opening import is_postgres
from deputize.verifier import FileSource, RevocationSet, Verifier

if TYPE_CHECKING:
    from deputize.authority.parts import Parts
    from deputize.client.engine import RemoteEngine
    from deputize.facade.authority import Authority
    from deputize.model.revocation import RevocationEntry, RevocationView
    from deputize.store.protocol import ReadTx
    from deputize.wire.alg import VerifyingKey

_MEMORY: Final = ":memory:"
_SQLITE: Final = "sqlite:"
_ALL: Final = 2**62  # sessions
BOUND: Final = 10.0  # seconds that what is known of revocations may be old


def verifier_for(authority: "Authority", resource: str, *, bound: float = BOUND) -> Verifier:
    """A verifier of the embedded authority's tokens for `resource` (URL).

    Keys and revocations come from the authority's store file, opened read-only; where that file alone does not tell
    (a store in memory or in PostgreSQL, or keys that an anchor endorsed), from the authority itself.
    `bound`: seconds; what is known of revocations and is older is not believed.
    """
    remote = authority.remote
    if remote is not None:
        return _over_http(authority.issuer, remote, resource, bound)
    parts = authority.embedded("its store").parts
    url = parts.rules.configuration.store_url
    if url.endswith(_MEMORY) or is_postgres(url) or parts.keys.anchor.name != "none":
        here = _InProcess(parts)
        return Verifier(authority.issuer, resource, keys=here, revocations=here, clock=parts.clock)
    file = FileSource(url.removeprefix(_SQLITE), bound=bound, clock=parts.clock)
    return Verifier(authority.issuer, resource, keys=file, revocations=file, clock=parts.clock)


def report_rejections(authority: "Authority", *, resource: str, code: str, client: str, count: int) -> None:
    """Record requests at `resource` that no caller could be named for. `client`: an address; bound how often."""
    authority.engine.record_rejections(Rejections(resource=resource, code=code, client=client, count=count))


def _over_http(issuer: str, remote: "RemoteEngine", resource: str, bound: float) -> Verifier:
    """Keys and revocations by HTTP: nothing is asked when a token comes. The feed's reader is this workload."""
    from deputize.client.feed import HttpRevocations  # noqa: PLC0415  # an embedded authority needs neither
    from deputize.client.jwks import HttpKeys  # noqa: PLC0415  # the same

    clock = remote.clock
    revocations = HttpRevocations(issuer, auth=remote.credentials, bound=bound, clock=clock)
    return Verifier(issuer, resource, keys=HttpKeys(issuer, clock=clock), revocations=revocations, clock=clock)


class _InProcess:
    """A KeySource and a RevocationSource over the store of this process: never stale."""

    bound = BOUND

    def __init__(self, parts: "Parts") -> None:
        self._parts = parts
        self._revoked = RevocationSet()
        self._newest = -1
        self._seen = -1

    def key(self, kid: str) -> "VerifyingKey | None":
        """See KeySource."""
        served = self._parts.keys.served(kid)
        return None if served is None else served.key.until(served.sign_until)

    def view(self) -> "RevocationView":
        """See RevocationSource."""
        count = self._parts.store.change_count()
        if count != self._seen:
            for entry, sids in self._parts.store.read(self._since):
                self._revoked.add(entry)
                self._revoked.end(sids, entry.kind)
                self._newest = max(self._newest, entry.seq)
            self._seen = count
        return self._revoked

    def _since(self, tx: "ReadTx") -> "list[tuple[RevocationEntry, list[str]]]":
        """What was revoked since the last look, and the sessions that a user or agent took along."""
        return [(entry, _sessions_of(tx, entry)) for entry in tx.revocations(after_seq=self._newest)]

    def age(self) -> float:
        """See RevocationSource."""
        return 0.0


def _sessions_of(tx: "ReadTx", entry: "RevocationEntry") -> list[str]:
    """A token below them need not name the user or agent: a link, or what a suspended agent handed on."""
    if entry.kind is Kind.USER:
        found = [node for node in tx.sessions(sub=entry.id, limit=_ALL) if node.sid == node.txn]
    elif entry.kind is Kind.AGENT:
        found = tx.sessions(agent=entry.id, limit=_ALL)
    else:
        return []
    return [node.sid for node in found if entry.before is None or node.created <= entry.before]
