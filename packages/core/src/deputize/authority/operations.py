"""What an operator does, over the store of an authority of this process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deputize.audit.checkpoint import verifier_key
from deputize.audit.log import Log
from deputize.authority import proofs, revocation, rollout
from deputize.authority.explain import Explanation
from deputize.authority.joining import TTL, JoinToken, enroll
from deputize.authority.log_keys import LogKey, publish_log_key
from deputize.authority.naming import agent_named, node_of, target_of
from deputize.authority.operating import RecordPage, SignedHead, Wanted, matching, resource_named
from deputize.authority.rollout import Applied
from deputize.authority.subject import state_of
from deputize.authority.tree import SessionTree
from deputize.authority.tree_reading import build_tree
from deputize.config import Bundle, from_bundle
from deputize.model.event import Json
from deputize.model.failure import AttestationFailed, ConfigurationError, InvalidRequest, NotFound
from deputize.model.identity import local_user
from deputize.model.overview import AgentRow, SessionPage, SessionRow, session_row
from deputize.model.registry import AgentEntry
from deputize.model.resource import Right
from deputize.model.revocation import Kind
from deputize.store.protocol import ReadTx

if TYPE_CHECKING:
    from deputize.authority.engine import Engine

MILLIS = 1000
POLICY_REFUSED = "policy_refused"


@dataclass(frozen=True, slots=True)
class Operations:
    """Implements `Operating`. `by` names who acts, `role` in which role; both stand in the log.

    `head` signs checkpoints.
    """

    engine: "Engine"
    by: str
    role: str = ""
    head: LogKey | None = None

    def sessions(
        self, *, user: str | None, agent: str | None, live: bool, limit: int, cursor: int | None = None
    ) -> SessionPage:
        """See Operating."""
        parts = self.engine.parts
        subject = local_user(user) if user is not None else None
        identifier = agent_named(parts, agent) if agent is not None else None

        def read(tx: ReadTx) -> SessionPage:
            now, below = parts.moment(tx), cursor
            rows: list[SessionRow] = []
            while True:
                live_at = int(now) if live else None
                nodes = tx.sessions(sub=subject, agent=identifier, live_at=live_at, below=below, limit=limit)
                states = [(node, state_of(tx, tx.line(node), now).value) for node in nodes]
                rows[:0] = [session_row(node, state) for node, state in states if not live or state == "open"]
                below = nodes[0].leaf if len(nodes) == limit else None
                if below is None or len(rows) >= limit:
                    return SessionPage(rows=tuple(rows), cursor=below)

        return parts.store.read(read)

    def session(self, identifier: str) -> tuple[SessionRow, SessionTree]:
        """See Operating."""
        parts = self.engine.parts

        def read(tx: ReadTx) -> tuple[SessionRow, str]:
            node = node_of(tx, identifier)
            return session_row(node, state_of(tx, tx.line(node), parts.moment(tx)).value), node.txn

        row, txn = parts.store.read(read)
        root = parts.store.read(lambda tx: tx.session(txn))
        if root is None:
            raise NotFound("the root of this session's tree is not in the store")
        return row, build_tree(parts, root)

    def revoke_named(self, identifier: str, *, reason: str) -> revocation.Revocation:
        """See Operating."""
        kind, target = self.engine.parts.store.read(lambda tx: target_of(tx, identifier))
        return self.revoke(kind, target, reason=reason)

    def revoke(self, kind: Kind, target: str, *, reason: str) -> revocation.Revocation:
        """See Operating."""
        name = target
        if kind is Kind.USER:
            name = local_user(target)
        elif kind is Kind.AGENT:
            name = agent_named(self.engine.parts, target)
        return self.engine.revoke(kind, name, reason=reason, by=self.by, role=self.role)

    def agents(self) -> tuple[AgentRow, ...]:
        """See Operating."""
        entries = sorted(self.engine.registry.agents.values(), key=lambda entry: entry.name)
        return self.engine.parts.store.read(lambda tx: tuple(self._row(tx, entry) for entry in entries))

    def agent(self, name: str) -> AgentRow:
        """See Operating."""
        entry = self.engine.registry.agent(name)
        if entry is None:
            raise NotFound(f'no agent "{name[:64]}" is registered')
        return self.engine.parts.store.read(lambda tx: self._row(tx, entry))

    def resume(self, name: str, *, reason: str) -> AgentRow:
        """See Operating."""
        parts = self.engine.parts
        revocation.resume(parts, agent_named(parts, name), reason=reason, by=self.by, role=self.role)
        self.engine.renew_identities()
        return self.agent(name)

    def enroll(self, workload: str, *, ttl: int = TTL) -> JoinToken:
        """See Operating."""
        try:
            return enroll(self.engine.parts, workload, by=self.by, role=self.role, ttl=ttl)
        except AttestationFailed:
            raise NotFound("no [[attestation]] of the method join names that workload") from None

    def records(self, wanted: Wanted, *, limit: int, below: int | None = None) -> RecordPage:
        """See Operating."""
        parts = self.engine.parts
        agent = agent_named(parts, wanted.agent) if wanted.agent is not None else None
        resource = resource_named(self.engine.registry, wanted.resource)
        page = parts.store.read(
            lambda tx: matching(tx, wanted, agent=agent, resource=resource, limit=limit, below=below)
        )
        found = tuple(page)
        return RecordPage(records=found, below=found[0].seq if len(found) == limit else None)

    def checkpoint(self) -> SignedHead:
        """See Operating. Raises ConfigurationError where this process has no key of the log."""
        head, parts = self.head, self.engine.parts
        if head is None:
            raise ConfigurationError("this process signs no checkpoints")
        publish_log_key(parts.store, head, parts.clock)
        made = Log(parts.store).checkpoint(head.key, origin=head.key.name, unanchored=head.unanchored)
        return SignedHead(note=str(made), key=str(verifier_key(head.key)))

    def inclusion(self, seq: int, size: int) -> dict[str, Json]:
        """See Operating."""
        return proofs.inclusion(self.engine.parts.store, seq, size)

    def consistency(self, first: int, second: int) -> dict[str, Json]:
        """See Operating."""
        return proofs.consistency(self.engine.parts.store, first, second)

    def apply(self, bundle: Bundle, *, reason: str, expected: str | None) -> str:
        """See Operating. Raises InvalidRequest (`policy_refused`) with the reason of the configuration."""
        parts = self.engine.parts
        try:
            configuration = from_bundle(bundle, replica=parts.rules.configuration)
            digest = rollout.apply(
                parts.store,
                parts.clock,
                configuration,
                by=self.by,
                role=self.role,
                reason=reason,
                expected=expected,
            )
        except ConfigurationError as error:
            raise InvalidRequest(str(error), code=POLICY_REFUSED) from None
        self._follow()
        return digest

    def rollback(self, digest: str | None, *, reason: str) -> str:
        """See Operating."""
        parts = self.engine.parts
        try:
            found = rollout.rollback(parts.store, parts.clock, digest, by=self.by, role=self.role, reason=reason)
        except ConfigurationError as error:
            raise InvalidRequest(str(error), code=POLICY_REFUSED) from None
        self._follow()
        return found

    def history(self) -> list[Applied]:
        """See Operating."""
        return rollout.history(self.engine.parts.store)

    def policy(self, digest: str | None = None) -> tuple[str, Bundle]:
        """See Operating."""
        store = self.engine.parts.store
        found = rollout.resolve(store, digest)
        return found, rollout.show(store, found)

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """See Operating."""
        registry = self.engine.registry
        entries = [(name, registry.agent(name)) for name in chain]
        return self.engine.explain(
            chain=[name if entry is None else entry.id for name, entry in entries],
            tool=tool,
            scopes=scopes,
            resource=resource,
            user=local_user(user) if user is not None else None,
        )

    def suggest(self, session: str | None) -> str:
        """See Operating."""
        return self.engine.suggest(session)

    def _follow(self) -> None:
        parts = self.engine.parts
        if parts.follower is not None:
            parts.follower.follow(parts)

    def _row(self, tx: ReadTx, entry: AgentEntry) -> AgentRow:
        parts = self.engine.parts
        row = tx.revoked(Kind.AGENT, entry.id)
        told = tx.record(row.seq) if row is not None else None
        hosts = parts.rules.configuration.workloads.get(entry.id, frozenset())
        return AgentRow(
            id=entry.id,
            name=entry.name,
            opens=entry.opens,
            use=self._words(entry.use),
            delegate=self._words(entry.delegate),
            delegate_to=tuple(sorted(entry.delegate_to)),
            groups=tuple(sorted(entry.groups)),
            workloads=tuple(sorted(hosts)),
            state="suspended" if row is not None and row.before is None else "active",
            since=told.time // MILLIS if told is not None else None,
            reason=row.reason if row is not None else "",
        )

    def _words(self, rights: frozenset[Right]) -> tuple[str, ...]:
        registry = self.engine.registry
        return tuple(sorted(f"{registry.resource(right.resource).alias} {right.scope}" for right in rights))
