"""The authority at a URL, with the meaning of the one in process: what is asked becomes requests; it decides."""

from collections.abc import Sequence
from typing import Final

from deputize.authority.access import Issued
from deputize.authority.calls import Permitted
from deputize.authority.explain import Explanation
from deputize.authority.identities import Identity
from deputize.authority.opening import Opened
from deputize.authority.protocol import Shown
from deputize.authority.revocation import Revocation
from deputize.authority.tree import SessionTree
from deputize.client.http import Connection, Sending, fields, given
from deputize.client.keyring import Keyring
from deputize.client.operator import Operator, revocation_from
from deputize.model.clock import Clock
from deputize.model.failure import InvalidToken
from deputize.model.identity import short_name
from deputize.model.introspection import Introspection
from deputize.model.registry import Registry
from deputize.model.report import Note, Rejections, Report
from deputize.model.request import AccessRequest, CallRequest, HandOffRequest, RedeemRequest, RootRequest
from deputize.model.resource import Right
from deputize.model.revocation import Kind
from deputize.model.session import Mode, Node
from deputize.wire import client_assertion, introspection, subject_assertion, terms
from deputize.wire import token_exchange as tx
from deputize.wire.access_answer import WRONG_BINDING, AccessAnswer, bound_to
from deputize.wire.alg import LocalKey
from deputize.wire.answer import bad_response
from deputize.wire.client_assertion import INVALID_CLIENT, Credentials
from deputize.wire.json_strict import dumps, loads
from deputize.wire.registry_answer import RegistryAnswer
from deputize.wire.session_answer import SessionAnswer
from deputize.wire.terms import Terms
from deputize.wire.token_exchange import TokenExchangeRequest

TOKEN: Final = "/token"  # noqa: S105  # a path
WORKLOAD: Final = ""  # the keyring's name for this process's own workload


class RemoteEngine:
    """Thread-safe. Keys and identities live in this process's memory; tokens are held by the sessions alone."""

    def __init__(self, connection: Connection, keyring: Keyring, *, clock: Clock, operator: Operator) -> None:
        self.issuer = connection.base
        self.operator = operator
        self._connection = connection
        self._keyring = keyring
        self.clock = clock
        told = RegistryAnswer.from_json(self._authenticated("/registry", asked="the registry"))
        self._registry = told.registry
        self.hosted = told.hosted
        self._token_life = told.token_life

    @property
    def registry(self) -> Registry:
        """What this workload may know of the registry, as it was told at the start."""
        return self._registry

    @property
    def token_life(self) -> int:
        """Seconds that a session token lives at most."""
        return self._token_life

    def identity(self, agent: str) -> Identity:
        """The key and identity of an agent of this process, by id."""
        return self._keyring.get(agent)

    def renew_identities(self) -> None:
        """Have the identities of this process issued anew, over the same keys."""
        self._keyring.expire()

    def open_root(self, agent: str, request: RootRequest) -> Opened:
        """A root session of `agent`; with a new identity where the one that is held has died meanwhile."""
        try:
            return self._open_root(agent, request)
        except InvalidToken as error:
            if error.code != INVALID_CLIENT:
                raise
        self.renew_identities()
        return self._open_root(agent, request)

    def _open_root(self, agent: str, request: RootRequest) -> Opened:
        identity = self.identity(agent)
        said = Terms(
            rights=self._filled(agent, request.requested),
            ttl=request.ttl,
            task=request.task,
            key=request.key,
            continues=request.continues,
        )
        grant = [("grant_type", "client_credentials")]
        if request.mode is not Mode.SELF:
            grant = tx.build_form(self._subject(identity, request))
        asked = f"a session of {short_name(agent)}"
        items = fields(grant, terms.build(said), self._credentials(identity))
        return self._opened(identity.key, items, asked, again=request.key is not None)

    def hand_off(self, agent: str, request: HandOffRequest) -> Opened:
        """A child or link, presented by `agent`; the actor is another agent of this process."""
        identity = self.identity(agent)
        known = self._registry.agent(request.to)
        actor = self.identity(known.id) if known is not None else identity  # the authority refuses a name it lacks
        said = Terms(
            rights=self._filled(request.to, request.requested),
            ttl=request.ttl,
            task=request.task,
            key=request.key,
        )
        form = TokenExchangeRequest(
            subject_token=request.subject_token,
            subject_token_type=tx.SESSION,
            actor_token=actor.token,
            actor_token_type=tx.JWT,
            audience=known.id if known is not None else request.to,
            requested_token_type=tx.SESSION,
            mode=request.mode,
        )
        asked = f"a hand-off from {short_name(agent)} to {short_name(request.to)}"
        items = fields(tx.build_form(form), terms.build(said), self._credentials(identity))
        return self._opened(actor.key, items, asked, again=request.key is not None)

    def redeem(self, agent: str, request: RedeemRequest) -> Opened:
        """A child of the session behind an invitation, redeemed by `agent`."""
        identity = self.identity(agent)
        said = Terms(rights=self._filled(agent, request.requested), ttl=request.ttl, task=request.task, key=request.key)
        form = TokenExchangeRequest(
            subject_token=request.invitation,
            subject_token_type=tx.ACCESS_TOKEN,
            requested_token_type=tx.SESSION,
        )
        items = fields(tx.build_form(form), terms.build(said), self._credentials(identity))
        return self._opened(identity.key, items, f"an invitation redeemed by {short_name(agent)}", again=True)

    def access(self, agent: str, request: AccessRequest) -> Issued:
        """Access from a session of `agent`."""
        identity = self.identity(agent)
        entry = self._registry.resource(request.resource)
        bound = entry.binding != "bearer"
        form = TokenExchangeRequest(
            subject_token=request.subject_token,
            subject_token_type=tx.SESSION,
            resource=entry.url,
            scope=tuple(sorted(request.scopes)),
            mode=request.mode,
        )
        said = Terms(
            ttl=request.ttl,
            key=request.key,
            tool=request.tool,
            user=request.user,
            reason=request.reason,
            onward=request.onward,
        )
        asked = f"{short_name(agent)} may not use {request.tool or ' '.join(sorted(request.scopes))} at {entry.alias}"
        raw = self._connection.send(
            Sending(
                method="POST",
                path=TOKEN,
                asked=asked,
                items=fields(tx.build_form(form), terms.build(said), self._credentials(identity)),
                key=identity.key if bound else None,
                again=request.key is not None,
            )
        )
        told = AccessAnswer.from_json(raw, jkt=identity.key.kid if bound else None)
        if told.grant.resource != entry.url or not told.grant.scope <= request.scopes:
            raise bad_response("the answer is for another resource or scope; it was thrown away")
        binding = "DPoP" if told.grant.jkt else "Bearer"
        return Issued(grant=told.grant, token=told.token, binding=binding, reissued=told.reissued)

    def permit_call(self, agent: str, request: CallRequest) -> Permitted:
        """Permission for one tool call in a session of `agent`."""
        body: dict[str, object] = {
            "tool": request.tool,
            "resource": request.resource,
            "scopes": sorted(request.scopes),
            "call_id": request.call_id,
            "arguments": request.arguments.decode() if request.arguments is not None else None,
            "to": list(request.to),
        }
        raw = self._held(
            "POST",
            "/calls",
            request.subject_token,
            agent,
            asked=f"{short_name(agent)} may not call {request.tool}",
            body=given(body),
        )
        told = _members(raw)
        seq, policies = told.get("seq"), told.get("policies")
        if type(seq) is not int or not isinstance(policies, list):
            raise bad_response("the answer permits no call")
        return Permitted(seq=seq, policies=tuple(str(policy) for policy in policies))

    def note(self, node: Node, note: Note, shown: Shown) -> int:
        """Record what came of something in a session."""
        members = {name: getattr(note, name) for name in ("kind", "outcome", "tool", "call_id", "resource", "code")}
        body = given(members)
        if note.detail:
            body["detail"] = dict(note.detail)
        raw = self._held("POST", "/notes", shown(), node.agent, asked=f"to tell of {note.kind}", body=body)
        seq = _members(raw).get("seq")
        return seq if isinstance(seq, int) else -1

    def revoke_session(self, node: Node, reason: str, shown: Shown) -> Revocation:
        """Its holder revokes a session."""
        raw = self._held(
            "POST", "/session/revoke", shown(), node.agent, asked=f"to revoke {node.sid}", body={"reason": reason}
        )
        return revocation_from(_members(raw))

    def close_session(self, node: Node, shown: Shown) -> None:
        """An orderly end of a session and all below."""
        asked = f"to close {node.sid}"
        _members(self._held("POST", "/session/close", shown(), node.agent, asked=asked, body={}, again=True))

    def state(self, node: Node, shown: Shown) -> str:
        """open, closed, expired or revoked, ended ancestors included."""
        asked = f"the state of {node.sid}"
        raw = self._held("GET", "/session", shown(), node.agent, asked=asked, again=True)
        return str(_members(raw).get("state"))

    def tree(self, node: Node, shown: Shown) -> SessionTree:
        """The session and all below it, with their tool calls."""
        raw = self._held("GET", "/session/tree", shown(), node.agent, asked=f"the tree of {node.sid}", again=True)
        return SessionTree.from_json(raw)

    def introspect(self, token: str) -> Introspection:
        """The state of a token that this workload holds, or that is for a resource of its own."""
        raw = self._authenticated("/introspect", [("token", token)], asked="to introspect a token")
        return introspection.decode(raw)

    def jwks(self) -> list[dict[str, object]]:
        """The public keys that tokens are verified with."""
        raw = self._connection.send(Sending(method="GET", path="/jwks", asked="the key set", again=True))
        keys = _members(raw).get("keys")
        if not isinstance(keys, list):
            raise bad_response("the answer is no key set")
        return keys

    def revoke(self, kind: Kind, target: str, *, reason: str, by: str = "operator") -> Revocation:
        """Revoke one target, as the operator whose token this process was given."""
        del by  # who revokes is who the token says
        return self.operator.revoke(kind, target, reason=reason)

    def explain(
        self, *, chain: Sequence[str], tool: str | None, scopes: Sequence[str], resource: str | None, user: str | None
    ) -> Explanation:
        """Dry run, hop by hop, as an operator."""
        return self.operator.explain(chain=chain, tool=tool, scopes=scopes, resource=resource, user=user)

    def suggest(self, session: str | None) -> str:
        """TOML that would have allowed what was refused, as an operator."""
        return self.operator.suggest(session)

    def record_call(self, report: Report) -> None:
        """What a resource server tells of a call with a token for it."""
        members = {name: getattr(report, name) for name in ("jti", "tool", "outcome", "call_id", "code")}
        told = dumps({**given(members), "scopes": list(report.scopes)}).decode()
        self._authenticated("/reports", [("report", told)], asked="to report a call")

    def record_rejections(self, told: Rejections) -> None:
        """What this resource server tells of requests that it could name no caller for."""
        body = {"resource": told.resource, "code": told.code, "client": told.client, "count": told.count}
        items = [("rejections", dumps(body).decode())]
        self._authenticated("/rejections", items, asked="to tell of rejections")

    def credentials(self) -> dict[str, str]:
        """Form fields that authenticate this process's workload once, e.g. to the feed of revocations."""
        return dict(self._credentials(self.identity(WORKLOAD)))

    def close(self) -> None:
        """Forget the keys and close the connection. Sessions live on at the server."""
        self._keyring.forget()
        self._connection.close()

    def _subject(self, identity: Identity, request: RootRequest) -> TokenExchangeRequest:
        """The user's own token; or the user's name, signed by the agent that says it."""
        token, kind = request.subject_token, request.subject_token_type
        if token is None:
            kind = subject_assertion.TOKEN_TYPE
            token = subject_assertion.encode(
                identity.key,
                agent=identity.client.agent,
                user=request.user or "",
                issuer=self.issuer,
                now=self.clock.now(),
            )
        return TokenExchangeRequest(
            subject_token=token, subject_token_type=kind, requested_token_type=tx.SESSION, mode=request.mode
        )

    def _filled(self, agent: str, requested: frozenset[Right] | None) -> frozenset[Right]:
        """On the wire nothing left out means all: what was left out is what the registry lists for the agent."""
        if requested is not None:
            return requested
        entry = self._registry.agent(agent)
        return entry.rights if entry is not None else frozenset()

    def _credentials(self, identity: Identity) -> list[tuple[str, str]]:
        assertion = client_assertion.encode(
            identity.key, client_id=identity.client.agent, issuer=self.issuer, now=self.clock.now()
        )
        return client_assertion.build_fields(Credentials(assertion=assertion, identity=identity.token))

    def _opened(self, key: LocalKey, items: tuple[tuple[str, str], ...], asked: str, *, again: bool) -> Opened:
        raw = self._connection.send(Sending(method="POST", path=TOKEN, asked=asked, items=items, key=key, again=again))
        told = SessionAnswer.from_json(raw)
        if bound_to(told.token) != key.kid:
            raise InvalidToken(
                "the session is not bound to the key that was proved; it was thrown away", code=WRONG_BINDING
            )
        expires = int(self.clock.now()) + told.expires_in
        return Opened(
            node=told.node,
            token=told.token,
            jkt=key.kid,
            expires=expires,
            narrowed=told.narrowed,
            reissued=told.reissued,
        )

    def _held(
        self,
        method: str,
        path: str,
        token: str,
        agent: str,
        *,
        asked: str,
        body: dict[str, object] | None = None,
        again: bool = False,
    ) -> bytes:
        """Speak for a session: its token, and a proof of the key that it is bound to."""
        key = self._keyring.key(agent)
        return self._connection.send(
            Sending(method=method, path=path, asked=asked, body=body, key=key, token=token, again=again)
        )

    def _authenticated(self, path: str, items: Sequence[tuple[str, str]] = (), *, asked: str) -> bytes:
        """Ask as this process's workload."""
        credentials = self._credentials(self.identity(WORKLOAD))
        return self._connection.send(
            Sending(method="POST", path=path, asked=asked, items=fields(items, credentials), again=True)
        )


def _members(raw: bytes) -> dict[str, object]:
    return loads(raw, refuse=bad_response)
