"""Authority: issues identities, sessions and access. Here in process; a server's client has the same surface."""

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from os import PathLike, fspath
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from deputize.authority.engine import Engine
from deputize.authority.journal import new_id
from deputize.authority.opening import Opened
from deputize.authority.protocol import AuthorityEngine
from deputize.authority.stores import check_anchor, store_of
from deputize.config import Configuration, from_mappings, load
from deputize.facade.lifetime import seconds
from deputize.facade.management import Management
from deputize.facade.rights import rights_from
from deputize.facade.session import Session
from deputize.keys.anchor import anchor_from_environment
from deputize.model.clock import Clock
from deputize.model.failure import NotFound
from deputize.model.request import HandOffRequest, RedeemRequest, RootRequest
from deputize.model.session import Evidence, Mode
from deputize.system import SystemClock

if TYPE_CHECKING:
    from deputize.client.engine import RemoteEngine
    from deputize.client.evidence import Attestor

T = TypeVar("T")


class Authority(Management):
    """Issues identities, sessions and access, in process. Thread-safe; one object for all agents of a process."""

    def __init__(
        self,
        *,
        agents: Mapping[str, Sequence[str]] | None = None,
        resources: Mapping[str, Sequence[str]] | None = None,
        delegations: Mapping[str, Sequence[str]] | None = None,
        store: str = ":memory:",
        clock: Clock | None = None,
    ) -> None:
        """From three mappings, the shorthand of deputize.toml.

        `agents`: what each may use (scopes of `resources`, or names of its own tools). `resources`: URL to
        scopes. `delegations`: to whom each may hand on. `store`: `:memory:`, a path or `postgresql://...`.
        Raises ConfigurationError.
        """
        configuration = from_mappings(
            agents=agents or {}, resources=resources or {}, delegations=delegations or {}, store=store
        )
        self._mappings = (agents or {}, resources or {}, delegations or {})
        self._store_name = store
        self._start(configuration, clock)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str] = "deputize.toml",
        *,
        store: str | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """From a file; embedded. `store` overrides `[store] url`. Raises ConfigurationError with file and line."""
        configuration = load(fspath(path), environ=os.environ)
        if store is not None:
            configuration = replace(configuration, store_url=store)
        return cls.from_configuration(configuration, clock=clock)

    @classmethod
    def from_configuration(cls, configuration: Configuration, *, clock: Clock | None = None) -> Self:
        """From a configuration that was read already."""
        self = cls.__new__(cls)
        self._mappings = None
        self._store_name = configuration.store_url
        self._start(configuration, clock)
        return self

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        agents: Sequence[str] = (),
        attestor: "Attestor | None" = None,
        timeout: float = 10.0,
        clock: Clock | None = None,
    ) -> Self:
        """An authority at a URL, with the same meaning as one in process. `timeout` in seconds, of one request.

        This process is attested for `agents` (default: all that its evidence allows). Its keys live in memory.
        `attestor` None tries what this machine offers and says which. Raises AttestationFailed,
        AuthorityUnavailable.
        """
        from deputize.client.connect import connect  # noqa: PLC0415  # an embedded authority needs no client
        from deputize.client.operator_token import operator_token  # noqa: PLC0415  # as above

        used = clock or SystemClock()
        remote = connect(
            url,
            agents=agents,
            attestor=attestor,
            timeout=timeout,
            clock=used,
            operator_token=lambda issuer: operator_token(issuer, os.environ, now=used.now()),
        )
        return cls.over(remote, clock=used)

    @classmethod
    def over(cls, remote: "RemoteEngine", *, clock: Clock) -> Self:
        """Over a connection that was made already."""
        self = cls.__new__(cls)
        self._mappings = None
        self._store_name = ""
        self._clock = clock
        self._engine, self._remote = None, remote
        self._waits = True
        self.issuer = remote.issuer
        self._hold(remote)
        return self

    def _start(self, configuration: Configuration, clock: Clock | None) -> None:
        self._clock: Clock = clock or SystemClock()
        anchor = anchor_from_environment(os.environ)
        check_anchor(configuration, anchor)
        store = store_of(configuration)
        try:
            self._engine = Engine(configuration, store=store, clock=self._clock, anchor=anchor)
        except BaseException:
            store.close()
            raise
        self.issuer = configuration.issuer
        self._waits = store_is_file(configuration.store_url)
        self._hold(self._engine)

    def _hold(self, engine: AuthorityEngine) -> None:
        self.engine = engine
        self._live: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
        self._closer = weakref.finalize(self, type(engine).close, engine)
        self._closer.atexit = True

    def session(
        self,
        *,
        agent: str,
        user: str | None = None,
        subject_token: str | None = None,
        mode: Mode = Mode.ON_BEHALF_OF,
        task: str | None = None,
        scopes: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        ttl: timedelta | float | None = None,
        key: str | None = None,
        continues: str | None = None,
    ) -> Session:
        """A root session: `with`, `async with`, or close() by hand. `ttl` in seconds.

        `user` is asserted by this process; `subject_token` is the user's own, of an issuer that `[[users]]` names.
        `Mode.SELF` is the agent's own behalf and takes neither. The live session of (`key`, agent, subject) is
        returned instead of a second one. Omitted scopes are all that the registry lists for
        the agent. `continues` is the sid of an expired root of the same agent and subject, which this one is linked
        to in the record: SessionEnded tells it (`denial.session`). It brings nothing along; who starts, and what is
        permitted, is decided afresh. Raises Denied, UnknownAgent, InvalidRequest.
        """
        request = RootRequest(
            mode=mode,
            user=self.user_id(user) if user is not None else None,
            evidence=Evidence.AGENT if mode is Mode.SELF else Evidence.ASSERTED,
            subject_token=subject_token,
            requested=rights_from(self.registry, scopes, resources),
            ttl=seconds(ttl),
            task=task,
            key=key or new_id(),
            continues=continues,
        )
        opened = self.engine.open_root(self.agent_id(agent), request)
        return self.adopt(opened, replace(request, continues=None), None)  # repeats for a new token link nothing

    def redeem(
        self,
        invitation: str,
        *,
        agent: str,
        task: str | None = None,
        scopes: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        ttl: timedelta | float | None = None,
        key: str | None = None,
    ) -> Session:
        """The session that an invitation opens for `agent`, whose own audience it names: a remote hand-off.

        `invitation` is what `Access.reveal()` gave in the other process. The session is a child of the one that
        invited, dies with it, and holds what was `onward` and is asked for and permitted now. Redeeming again gives
        the same session; with another `key` one more. `ttl` in seconds. Raises Denied, InvalidToken.
        """
        request = RedeemRequest(
            invitation=invitation,
            requested=rights_from(self.registry, scopes, resources),
            ttl=seconds(ttl),
            task=task,
            key=key,
        )
        return self.adopt(self.engine.redeem(self.agent_id(agent), request), request, None)

    async def aredeem(
        self,
        invitation: str,
        *,
        agent: str,
        task: str | None = None,
        scopes: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        ttl: timedelta | float | None = None,
        key: str | None = None,
    ) -> Session:
        """`redeem`, without blocking the loop."""
        return await self.run(
            lambda: self.redeem(
                invitation, agent=agent, task=task, scopes=scopes, resources=resources, ttl=ttl, key=key
            )
        )

    def adopt(
        self, opened: Opened, request: RootRequest | HandOffRequest | RedeemRequest, parent: Session | None
    ) -> Session:
        """Hold what was opened; `get_session` finds it while somebody else holds it too."""
        held = self._live.get(opened.node.sid) if opened.reissued else None
        if held is not None:
            held.reissued = True
            return held
        session = Session(self, opened, request, parent)
        self._live[session.id] = session
        return session

    async def asession(
        self,
        *,
        agent: str,
        user: str | None = None,
        subject_token: str | None = None,
        mode: Mode = Mode.ON_BEHALF_OF,
        task: str | None = None,
        scopes: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        ttl: timedelta | float | None = None,
        key: str | None = None,
        continues: str | None = None,
    ) -> Session:
        """`session`, without blocking the loop."""
        return await self.run(
            lambda: self.session(
                agent=agent,
                user=user,
                subject_token=subject_token,
                mode=mode,
                task=task,
                scopes=scopes,
                resources=resources,
                ttl=ttl,
                key=key,
                continues=continues,
            )
        )

    aopen_session = asession

    def get_session(self, sid: str) -> Session:
        """A session that this process holds. Raises NotFound."""
        held = self._live.get(sid)
        if held is None:
            raise NotFound("this process holds no such session; `authority.audit` reads those of others")
        return held

    async def aget_session(self, sid: str) -> Session:
        """`get_session`; nothing is waited for."""
        return self.get_session(sid)

    def sessions(
        self, *, user: str | None = None, agent: str | None = None, live: bool | None = None
    ) -> Iterator[Session]:
        """The sessions that this process holds, oldest first."""
        subject = self.user_id(user) if user is not None else None
        identifier = self.agent_id(agent) if agent is not None else None
        for session in sorted(self._live.values(), key=lambda s: s.node.leaf):
            wanted = subject in {None, session.subject} and identifier in {None, session.agent}
            if wanted and (live is None or (session.state == "open") is live):
                yield session

    def close(self) -> None:
        """End this process's lease to sign and close the store. Sessions in a file go on to their own end."""
        self._closer()

    async def aclose(self) -> None:
        """`close`, without blocking the loop."""
        await self.run(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Authority(issuer={self.issuer!r})"


def store_is_file(url: str) -> bool:
    """Whether commits wait for a disk or a network."""
    return ":memory:" not in url
