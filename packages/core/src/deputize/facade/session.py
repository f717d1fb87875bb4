"""Session: a node of the delegation tree, as the code that works in it holds it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, TypeVar

from deputize.authority.journal import new_id
from deputize.authority.opening import Opened
from deputize.authority.revocation import Revocation
from deputize.authority.tree import SessionTree
from deputize.facade import ambient
from deputize.facade.access import Access
from deputize.facade.lifetime import seconds
from deputize.facade.rights import rights_from
from deputize.facade.tool_call import ToolCall
from deputize.model.event import Json
from deputize.model.failure import AuthorityUnavailable, Denied, DeputizeError, InvalidRequest, InvalidToken
from deputize.model.identity import short_name
from deputize.model.registry import ToolEntry
from deputize.model.report import Note
from deputize.model.request import AccessRequest, HandOffRequest, RedeemRequest, RootRequest
from deputize.model.resource import Right, check_scope
from deputize.model.session import Mode, Node

if TYPE_CHECKING:
    from deputize.facade.authority import Authority

T = TypeVar("T")
State = Literal["open", "closed", "expired", "revoked"]
_STATES: Final[dict[str, State]] = {"open": "open", "closed": "closed", "expired": "expired", "revoked": "revoked"}
RENEW_BEFORE = 30  # seconds of a session token's life left when it is minted again


class Session:
    """Holds its token where nothing prints it. Usable as a `with` block: ambient inside, closed at its end."""

    def __init__(
        self,
        authority: "Authority",
        opened: Opened,
        request: RootRequest | HandOffRequest | RedeemRequest,
        parent: "Session | None",
    ) -> None:
        self.authority = authority
        self.node: Node = opened.node
        self.narrowed: tuple[tuple[Right, str], ...] = opened.narrowed
        self.task = request.task
        self.reissued = opened.reissued  # its key named a session that was there before
        self._opened = opened
        self._request = request
        self._parent = parent
        self._lock = RLock()

    @property
    def id(self) -> str:
        """`sid`."""
        return self.node.sid

    @property
    def root(self) -> str:
        """`txn`: the id of the tree's root."""
        return self.node.txn

    @property
    def agent(self) -> str:
        """SPIFFE ID of the agent."""
        return self.node.agent

    @property
    def name(self) -> str:
        """Short name of the agent."""
        return short_name(self.node.agent)

    @property
    def subject(self) -> str:
        """For whom: `<alias>|<sub>` of a user, or an agent's SPIFFE ID."""
        return self.node.sub

    @property
    def mode(self) -> Mode:
        """On whose behalf."""
        return self.node.mode

    @property
    def depth(self) -> int:
        """0 for a root."""
        return self.node.depth

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        return float(self.node.exp)

    @property
    def rights(self) -> frozenset[Right]:
        """The ceiling: pairs of resource and scope."""
        return self.node.ceiling

    @property
    def chain(self) -> tuple[str, ...]:
        """The actors, outermost first; empty where the agent acts on its own behalf."""
        return self.node.chain

    @property
    def parent(self) -> "Session | None":
        """The session that handed on, where this process holds it."""
        return self._parent

    @property
    def state(self) -> State:
        """As the store says now, ended ancestors included."""
        return _STATES[self.authority.engine.state(self.node, self.shown)]

    def present(self, *, anew: bool = False) -> str:
        """The session token, minted again where it runs out. For the authority alone; not an access token."""
        with self._lock:
            engine = self.authority.engine
            ending = self._opened.expires - self.authority.now() < min(RENEW_BEFORE, engine.token_life // 2)
            if anew or ending or self._opened.jkt != engine.identity(self.node.agent).client.jkt:
                self._opened = self._again(anew=anew)  # in a forked child the agent has another key
            return self._opened.token

    def shown(self) -> str:
        """The session token for what permits nothing: the last one, where none is minted any more."""
        try:
            return self.present()
        except (Denied, InvalidToken):  # it has ended, or its agent is suspended
            return self._opened.token

    def presenting(self, ask: Callable[[str], T]) -> T:
        """Ask with the session token; with a new one where only the token, or the key that signed it, was revoked."""
        try:
            return ask(self.present())
        except (InvalidToken, AuthorityUnavailable) as refused:
            if not _curable(refused):
                raise
        self.authority.engine.renew_identities()
        try:
            return ask(self.present(anew=True))
        except AuthorityUnavailable as refused:  # another process revoked our key: it is forgotten by now
            if not _curable(refused):
                raise
        return ask(self.present(anew=True))

    def _again(self, *, anew: bool) -> Opened:
        """The same request under the same key: the same session, a new token; presenter and policy asked afresh."""
        now = self.authority.now()
        if not anew and self.node.exp <= now + RENEW_BEFORE and self._opened.expires > now:
            return self._opened
        request = self._request
        if isinstance(request, RootRequest):
            return self.authority.engine.open_root(self.node.agent, request)
        if isinstance(request, RedeemRequest):
            return self.authority.engine.redeem(self.node.agent, request)
        if self._parent is None:
            raise InvalidRequest("this process holds no session to hand off from")
        return self._parent.hand_off(request)

    def hand_off(self, request: HandOffRequest) -> Opened:
        """Present this session for a hand-off; the request's tokens are filled in here."""
        engine = self.authority.engine
        known = self.authority.registry.agent(request.to)

        def ask(token: str) -> Opened:
            actor = engine.identity(known.id).token if known is not None else ""
            return engine.hand_off(self.node.agent, replace(request, subject_token=token, actor_token=actor))

        return self.presenting(ask)

    def delegate(
        self,
        to: str,
        *,
        task: str | None = None,
        scopes: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        ttl: timedelta | float | None = None,
        key: str | None = None,
        mode: Mode = Mode.ON_BEHALF_OF,
    ) -> "Session":
        """A hand-off (child edge): the intersection of what is asked, held and permitted.

        What fell out is in `.narrowed`; nothing left raises Denied. Omitted scopes are those that the registry
        lists for `to`. `mode=Mode.SELF` is a link: `to` acts on its own behalf inside this tree. Repeating a
        `key` gives the same session. `ttl` in seconds.
        """
        requested = rights_from(self.authority.registry, scopes, resources)
        request = HandOffRequest(
            subject_token="",
            actor_token="",
            to=to,
            mode=mode,
            requested=requested,
            ttl=seconds(ttl),
            task=task,
            key=key or new_id(),
        )
        return self.authority.adopt(self.hand_off(request), request, self)

    def access(
        self,
        resource: str,
        scopes: Sequence[str],
        *,
        tool: str | None = None,
        onward: Sequence[Right] = (),
        ttl: timedelta | float | None = None,
        key: str | None = None,
        mode: Mode = Mode.ON_BEHALF_OF,
        user: str | None = None,
        reason: str | None = None,
    ) -> Access:
        """A token for one resource (alias or URL) and the scopes of one operation. Raises Denied.

        `mode=Mode.IMPERSONATION` needs a stored grant, a policy and a `reason`. `ttl` in seconds. With `onward` it is
        an invitation: the agent whose own resource it is may redeem it for a session over these.
        """
        request = AccessRequest(
            subject_token="",
            resource=resource,
            scopes=frozenset(check_scope(scope) for scope in scopes),
            tool=tool,
            onward=frozenset(onward),
            ttl=seconds(ttl),
            key=key,
            mode=mode,
            user=self.authority.user_id(user) if user is not None else None,
            reason=reason,
        )
        engine, agent = self.authority.engine, self.node.agent
        issued = self.presenting(lambda token: engine.access(agent, replace(request, subject_token=token)))
        key_of = engine.identity(self.node.agent).key
        return Access(issued.grant, issued.token, key_of if issued.grant.jkt else None, self.authority.now)

    def tool_call(
        self,
        tool: str,
        *,
        args: Mapping[str, Any] | None = None,
        call_id: str | None = None,
        scopes: Iterable[str] | None = None,
        resource: str | None = None,
        to: Sequence[str] = (),
    ) -> ToolCall:
        """A `with` block around a tool's body. Scopes come from the registry unless given here.

        `to` makes it a hand-off tool, governed by `delegate` alone: the agents that it may hand on to.
        """
        if to:
            local = self.authority.registry.resource("local")
            entry = ToolEntry(tool=tool, resource=local, scopes=frozenset())
            return ToolCall(self, entry, args=args, call_id=call_id, to=tuple(to))
        entry = self.authority.registry.tool(tool, resource)
        if scopes is not None:
            entry = ToolEntry(
                tool=tool, resource=entry.resource, scopes=frozenset(check_scope(scope) for scope in scopes)
            )
        return ToolCall(self, entry, args=args, call_id=call_id)

    def note(
        self,
        kind: str,
        *,
        tool: str | None = None,
        call_id: str | None = None,
        detail: Mapping[str, Json] | None = None,
    ) -> None:
        """Record something that a framework tells of, e.g. `handoff.announced`."""
        told = Note(kind=kind, outcome="noted", tool=tool, call_id=call_id, detail=detail or {})
        self.authority.engine.note(self.node, told, self.shown)

    def tree(self) -> SessionTree:
        """This session and all below, with their tool calls."""
        return self.authority.engine.tree(self.node, self.shown)

    def _repr_html_(self) -> str | None:
        """For notebooks: the tree as it is now; None, and with it the plain text, where it cannot be read."""
        try:
            return self.tree().to_html()
        except DeputizeError:
            return None

    def activate(self) -> Self:
        """Ambient until `close()`: for notebooks, where a `with` would end with the cell."""
        ambient.hold(self)
        return self

    def revoke(self, reason: str) -> Revocation:
        """Kill this session and all below, at once and finally."""
        return self.authority.engine.revoke_session(self.node, reason, self.shown)

    def close(self) -> None:
        """An orderly end of this session and all below. Nothing happens where it has ended already."""
        ambient.release(self)
        self.authority.engine.close_session(self.node, self.shown)

    async def adelegate(
        self,
        to: str,
        *,
        task: str | None = None,
        scopes: Sequence[str] | None = None,
        resources: Sequence[str] | None = None,
        ttl: timedelta | float | None = None,
        key: str | None = None,
        mode: Mode = Mode.ON_BEHALF_OF,
    ) -> "Session":
        """`delegate`, without blocking the loop."""
        return await self.authority.run(
            lambda: self.delegate(to, task=task, scopes=scopes, resources=resources, ttl=ttl, key=key, mode=mode)
        )

    async def aaccess(
        self,
        resource: str,
        scopes: Sequence[str],
        *,
        tool: str | None = None,
        onward: Sequence[Right] = (),
        ttl: timedelta | float | None = None,
        key: str | None = None,
        mode: Mode = Mode.ON_BEHALF_OF,
        user: str | None = None,
        reason: str | None = None,
    ) -> Access:
        """`access`, without blocking the loop."""
        return await self.authority.run(
            lambda: self.access(
                resource,
                scopes,
                tool=tool,
                onward=onward,
                ttl=ttl,
                key=key,
                mode=mode,
                user=user,
                reason=reason,
            )
        )

    def atool_call(
        self,
        tool: str,
        *,
        args: Mapping[str, Any] | None = None,
        call_id: str | None = None,
        scopes: Iterable[str] | None = None,
        resource: str | None = None,
        to: Sequence[str] = (),
    ) -> ToolCall:
        """`tool_call`, to be entered with `async with`."""
        return self.tool_call(tool, args=args, call_id=call_id, scopes=scopes, resource=resource, to=to)

    async def atree(self) -> SessionTree:
        """`tree`, without blocking the loop."""
        return await self.authority.run(self.tree)

    async def arevoke(self, reason: str) -> Revocation:
        """`revoke`, without blocking the loop."""
        return await self.authority.run(lambda: self.revoke(reason))

    async def aclose(self) -> None:
        """`close`, without blocking the loop."""
        ambient.release(self)
        await self.authority.run(lambda: self.authority.engine.close_session(self.node, self.shown))

    def __enter__(self) -> Self:
        return self.activate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.activate()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"Session({self.id!r}, agent={self.name!r}, subject={self.subject!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Session is not pickled: open it again by its key in the other process")


def _curable(refused: DeputizeError) -> bool:
    """What a new token cures. Whether one is given is decided afresh."""
    if isinstance(refused, AuthorityUnavailable):
        return refused.retry_after == 0
    return refused.code in {"identity_revoked", "invalid_client", "key_revoked", "token_revoked", "unknown_key"}
