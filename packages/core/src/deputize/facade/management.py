"""What is done about sessions from above: cut off, explain, look up. The other half of `Authority`."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from deputize.authority.engine import Engine
from deputize.authority.explain import Explanation
from deputize.authority.protocol import AuthorityEngine
from deputize.authority.revocation import Revocation
from deputize.config import from_mappings
from deputize.facade.audit_log import AuditLog
from deputize.model.agent_card import AgentMetadata
from deputize.model.clock import Clock
from deputize.model.failure import ConfigurationError, InvalidRequest
from deputize.model.identity import local_user
from deputize.model.introspection import Introspection
from deputize.model.registry import Registry, ToolEntry
from deputize.model.report import Report
from deputize.model.revocation import Kind

if TYPE_CHECKING:
    from deputize.client.engine import RemoteEngine
    from deputize.client.remote_log import RemoteLog

T = TypeVar("T")


class Management:
    """Needs no session and changes none but by revoking."""

    engine: AuthorityEngine
    _engine: Engine | None
    _remote: "RemoteEngine | None" = None
    issuer: str
    _clock: Clock
    _waits: bool
    _store_name: str
    _mappings: tuple[Mapping[str, Sequence[str]], ...] | None

    @property
    def registry(self) -> Registry:
        """What is registered now. Read-only."""
        return self.engine.registry

    def now(self) -> float:
        """The authority's time, seconds since the epoch."""
        return self._clock.now()

    def tool(self, tool: str, resource: str | None = None) -> ToolEntry:
        """Which scopes one call of `tool` needs, and where."""
        return self.registry.tool(tool, resource)

    def agent_id(self, name: str) -> str:
        """The SPIFFE ID of an agent by its short name. Names that are not registered stay what they are."""
        entry = self.registry.agent(name)
        return entry.id if entry is not None else name

    def user_id(self, name: str) -> str:
        """`local|alice` for a name that the host asserts; `<alias>|<sub>` as it is. Raises InvalidRequest."""
        return local_user(name)

    @property
    def audit(self) -> "AuditLog | RemoteLog":
        """The log: search, checkpoint, verify. A server's is an operator's to read: `deputize login`."""
        if self._remote is None:
            return AuditLog(self.embedded("the log").parts)
        from deputize.client.remote_log import RemoteLog  # noqa: PLC0415  # an embedded authority needs no client

        return RemoteLog(self._remote.operator, self.issuer)

    @property
    def remote(self) -> "RemoteEngine | None":
        """The connection to the server that decides; None in process."""
        return self._remote

    def embedded(self, what: str) -> Engine:
        """The engine of this process. Raises ConfigurationError where the authority is a server's."""
        if self._engine is None:
            raise ConfigurationError(f"{what} is the server's; this process has no store")
        return self._engine

    @property
    def waits(self) -> bool:
        """Whether its operations wait for a disk, a database or a server: nothing for the thread of an event loop."""
        return self._waits

    async def run(self, call: Callable[[], T]) -> T:
        """Run an operation for an async caller: in a thread where it waits, else here."""
        return await asyncio.to_thread(call) if self._waits else call()

    def revoke(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        key: str | None = None,
        token: str | None = None,
        reason: str,
    ) -> Revocation:
        """Kill exactly one target (`token` is a `jti`): one row; all below is dead on return. Raises NotFound."""
        targets = [
            (Kind.SESSION, session),
            (Kind.USER, self.user_id(user) if user is not None else None),
            (Kind.AGENT, self.agent_id(agent) if agent is not None else None),
            (Kind.KEY, key),
            (Kind.TOKEN, token),
        ]
        named = [(kind, target) for kind, target in targets if target is not None]
        if len(named) != 1:
            raise InvalidRequest("exactly one of session, user, agent, key and token is revoked at a time")
        kind, target = named[0]
        return self.engine.revoke(kind, target, reason=reason)

    async def arevoke(
        self,
        *,
        session: str | None = None,
        user: str | None = None,
        agent: str | None = None,
        key: str | None = None,
        token: str | None = None,
        reason: str,
    ) -> Revocation:
        """`revoke`, without blocking the loop."""
        return await self.run(
            lambda: self.revoke(session=session, user=user, agent=agent, key=key, token=token, reason=reason),
        )

    def update(
        self,
        *,
        agents: Mapping[str, Sequence[str]] | None = None,
        resources: Mapping[str, Sequence[str]] | None = None,
        delegations: Mapping[str, Sequence[str]] | None = None,
    ) -> str:
        """A new policy version over the same log, for notebooks. What is left out stays. Returns the digest."""
        if self._mappings is None:
            raise ConfigurationError("this authority was opened from a file; change the file and open it again")
        old_agents, old_resources, old_delegations = self._mappings
        mappings = (
            old_agents if agents is None else agents,
            old_resources if resources is None else resources,
            old_delegations if delegations is None else delegations,
        )
        digest = self.embedded("its policy").apply(
            from_mappings(agents=mappings[0], resources=mappings[1], delegations=mappings[2], store=self._store_name)
        )
        self._mappings = mappings
        return digest

    def suggest(self, *, session: str | None = None) -> str:
        """TOML that would have allowed every refusal so far, all of them at once. To be reviewed and cut."""
        return self.engine.suggest(session)

    def explain(
        self,
        *,
        chain: Sequence[str],
        tool: str | None = None,
        scopes: Sequence[str] = (),
        resource: str | None = None,
        user: str | None = None,
    ) -> Explanation:
        """Dry run, hop by hop, of `user` > chain[0] > chain[1] ...; nothing is issued and nothing recorded."""
        return self.engine.explain(
            chain=[self.agent_id(name) for name in chain],
            tool=tool,
            scopes=scopes,
            resource=resource,
            user=self.user_id(user) if user is not None else None,
        )

    async def aexplain(
        self,
        *,
        chain: Sequence[str],
        tool: str | None = None,
        scopes: Sequence[str] = (),
        resource: str | None = None,
        user: str | None = None,
    ) -> Explanation:
        """`explain`, without blocking the loop."""
        return await self.run(lambda: self.explain(chain=chain, tool=tool, scopes=scopes, resource=resource, user=user))

    def introspect(self, token: str) -> Introspection:
        """The state of any token of this authority (RFC 7662)."""
        return self.engine.introspect(token)

    async def aintrospect(self, token: str) -> Introspection:
        """`introspect`, without blocking the loop."""
        return await self.run(lambda: self.introspect(token))

    def discover(self, url: str, *, issuer: str | None = None) -> AgentMetadata:
        """The agent whose A2A card is at `url`, if this authority signed it, or `issuer` that you trust instead.

        Fetched from public addresses alone, unless the authority itself is at the loopback; keys that a card names
        are never used. A card tells where and who; what is permitted there the authority decides. Raises
        InvalidRequest (`fetch_refused`), InvalidToken, AuthorityUnavailable.
        """
        from deputize.authority import discovery  # noqa: PLC0415  # most processes discover nobody
        from deputize.fetch.target import at_loopback  # noqa: PLC0415  # as above

        trusted = self.issuer if issuer is None else issuer
        key_for = (
            discovery.keys_of(self.engine.jwks()) if issuer is None else discovery.keys_of_issuer(trusted, self._clock)
        )
        return discovery.discover(
            url,
            issuer=trusted,
            key_for=key_for,
            fetcher=discovery.fetcher_for(self.issuer, self._clock),
            loopback=at_loopback(self.issuer),
            now=self.now(),
        )

    async def adiscover(self, url: str, *, issuer: str | None = None) -> AgentMetadata:
        """`discover`, without blocking the loop."""
        return await asyncio.to_thread(lambda: self.discover(url, issuer=issuer))

    def jwks(self) -> Mapping[str, object]:
        """The public keys that tokens are verified with (RFC 7517 §5)."""
        return {"keys": self.engine.jwks()}

    def record_call(
        self,
        *,
        sid: str,
        txn: str,
        tool: str,
        outcome: str,
        resource: str,
        sub: str,
        agent: str,
        jti: str,
        call_id: str | None = None,
        code: str | None = None,
        scopes: Sequence[str] = (),
    ) -> None:
        """What a resource server on this machine tells of a call: started, done, failed or denied."""
        self.engine.record_call(
            Report(
                sid=sid,
                txn=txn,
                tool=tool,
                outcome=outcome,
                resource=resource,
                sub=sub,
                agent=agent,
                jti=jti,
                call_id=call_id,
                code=code,
                scopes=tuple(scopes),
            )
        )
