"""Steps 4-7 of the exchange: whose session this is, who presents it, and whether the store says the same."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from deputize.authority.parts import Bounded, Parts
from deputize.authority.refusal import Case, ended
from deputize.model.failure import IntegrityError, InvalidToken
from deputize.model.identity import is_user
from deputize.model.request import Client
from deputize.model.revocation import Kind
from deputize.model.session import Edge, Grant, Node, State, first_dead, state_in_line
from deputize.model.token import IdentityClaims, SessionClaims
from deputize.store.protocol import ReadTx
from deputize.wire import identity_token, session_token
from deputize.wire.alg import VerifyingKey
from deputize.wire.jwk import verifying_key
from deputize.wire.jws import peek
from deputize.wire.refusal import NOT_YET_VALID
from deputize.wire.thumbprint import thumbprint

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Presented:
    """A verified session token, the key that signed it, and the stored session that it tells of."""

    claims: SessionClaims
    kid: str
    node: Node


class Tokens:
    """Verifies our own tokens; remembers what it verified by a digest of the bytes (a variant is only a miss).

    What is remembered still has to expire, and whether its signing key was revoked is asked of the store.
    """

    def __init__(self, size: int = 4096) -> None:
        self._sessions: Bounded[tuple[SessionClaims, str]] = Bounded(size)
        self._identities: Bounded[tuple[IdentityClaims, str]] = Bounded(size)
        self._holders: Bounded[tuple[VerifyingKey, str]] = Bounded(size)

    def session(self, parts: Parts, token: str, now: float) -> tuple[SessionClaims, str]:
        """A session token of ours with the id of its key, leeway 0. Raises InvalidToken."""
        digest = _digest(token)
        known = self._sessions.get(digest)
        if known is None:
            claims = _decoded(parts, session_token.decode, token, now)
            known = (claims, peek(token).kid or "")
            self._sessions.put(digest, known)
        elif now >= known[0].exp:
            raise InvalidToken("the session token has expired", code="token_expired")
        return known

    def identity(self, parts: Parts, token: str, now: float) -> tuple[IdentityClaims, str]:
        """An identity of ours with the id of its key, leeway 0; nothing else passes as actor token."""
        digest = _digest(token)
        known = self._identities.get(digest)
        if known is None:
            claims = _decoded(parts, identity_token.decode, token, now)
            known = (claims, peek(token).kid or "")
            self._identities.put(digest, known)
        elif now >= known[0].exp:
            raise InvalidToken("the identity has expired", code="token_expired")
        return known

    def holder(self, identity: str, claims: IdentityClaims) -> tuple[VerifyingKey, str]:
        """The key that a verified identity confirms, and its thumbprint. `claims` are its own. Raises InvalidToken."""
        digest = _digest(identity)
        known = self._holders.get(digest)
        if known is None:
            known = (verifying_key(claims.jwk), thumbprint(claims.jwk))
            self._holders.put(digest, known)
        return known

    def clear(self) -> None:
        """Forget what was verified."""
        self._sessions.clear()
        self._identities.clear()
        self._holders.clear()


def _decoded(parts: Parts, decode: Callable[..., C], token: str, now: float) -> C:
    """A token of ours, leeway 0. One from the future may be of a replica whose clock is ahead: its record tells."""
    try:
        return decode(token, issuer=parts.issuer, key_for=parts.keys.verifying, now=now, leeway=0)
    except InvalidToken as error:
        if error.code != NOT_YET_VALID:
            raise
    return decode(token, issuer=parts.issuer, key_for=parts.keys.verifying, now=parts.caught_up(), leeway=0)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def subject_of(parts: Parts, tokens: Tokens, case: Case, token: str, now: float) -> Presented:
    """Steps 4, 5 and 7. Raises InvalidToken."""
    claims, kid = tokens.session(parts, token, now)
    node = parts.node(claims.sid)
    if node is None:
        raise InvalidToken("the session token names no session of this authority", code="unknown_session")
    present(case.client, claims, node)
    case.node = node
    if (claims.txn, claims.context.path, claims.chain, claims.sub, claims.sign_in) != (
        node.txn,
        node.path,
        node.chain,
        node.sub,
        node.sign_in,
    ):
        raise InvalidToken("the session token does not tell of the stored session", code="wrong_session")
    return Presented(claims, kid, node)


def linked_by(parts: Parts, node: Node) -> str | None:
    """The agent in whose session the subject of `node` opened its own; None for users and where it is the root's.

    An agent as subject opened by that right, so that the same is asked again at every hand-off and use.
    """
    if is_user(node.sub) or node.parent is None:
        return None
    above = parts.node(node.parent)
    if above is None:
        raise IntegrityError("a session's parent is missing from the store")
    return above.agent if node.kind is Edge.LINK else linked_by(parts, above)


def groups_of(parts: Parts, node: Node) -> tuple[str, ...]:
    """The groups of the user of `node`, as they were when its tree began; an agent has none here.

    P(u, grant) is asked at every hand-off and use, and a user let in by a group is in it there too.
    """
    if not is_user(node.sub):
        return ()
    root = node if node.sid == node.txn else parts.node(node.txn)
    if root is None:
        raise IntegrityError("a session's root is missing from the store")
    return root.groups if root.sub == node.sub else ()


def present(client: Client, claims: SessionClaims, node: Node) -> None:
    """Step 5, the presenter rule: only the holder of its `cnf`, and only the session's own agent (A-01)."""
    if claims.jkt != client.jkt:
        raise InvalidToken("a session token is accepted from the holder of its key alone", code="wrong_presenter")
    if node.agent != client.agent:
        raise InvalidToken("a session token is accepted from the session's own agent alone", code="wrong_presenter")


class Cuts:
    """The revocations that bear on one decision, read in one query of its transaction."""

    def __init__(self, tx: ReadTx, line: Iterable[Node], ids: Iterable[str | None]) -> None:
        self.line = list(line)
        named = {*ids, *(node.agent for node in self.line), *(node.sub for node in self.line[:1])}
        found = tx.revoked_among([name for name in named if name is not None])
        self._rows = {(entry.kind, entry.id): entry for entry in found}

    def has(self, kind: Kind, name: str) -> bool:
        """Whether this token or key was revoked."""
        return (kind, name) in self._rows

    def suspended(self, agent: str) -> bool:
        """Whether the agent is suspended now."""
        entry = self._rows.get((Kind.AGENT, agent))
        return entry is not None and entry.before is None

    def killed(self, jti: str | None = None) -> Node | None:
        """The session that a revoked token, user or suspended agent kills in this line, if any."""
        if not self._rows:
            return None
        if jti is not None and self.has(Kind.TOKEN, jti):
            return self.line[-1]
        user = self._rows.get((Kind.USER, self.line[0].sub))
        if user is not None and user.before is not None and self.line[0].created <= user.before:
            return self.line[0]
        for node in self.line:
            entry = self._rows.get((Kind.AGENT, node.agent))
            if entry is not None and (entry.before is None or node.created <= entry.before):
                return node
        return None

    def require_agent(self, agent: str) -> None:
        """Step 1, again in the transaction: a suspended agent authenticates for nothing."""
        if self.suspended(agent):
            raise InvalidToken("this agent is suspended", code="agent_suspended")

    def require_identity(self, agent: str, iat: int) -> None:
        """An identity that was issued until its agent was suspended stays dead when that agent is resumed."""
        self.require_agent(agent)
        entry = self._rows.get((Kind.AGENT, agent))
        if entry is not None and entry.before is not None and iat <= entry.before:
            raise InvalidToken("this identity is from before its agent was suspended", code="identity_revoked")

    def require_key(self, kid: str) -> None:
        """A token dies with the key that signed it, also where it was verified before."""
        if self.has(Kind.KEY, kid):
            raise InvalidToken("the key that signed this token was revoked", code="key_revoked")


def require_live(
    tx: ReadTx,
    shown: Presented,
    now: float,
    *,
    asked: str,
    agents: Iterable[str],
    kids: Iterable[str] = (),
    jtis: Iterable[str] = (),
    signer: str | None = None,
) -> Cuts:
    """Step 12: live(s) by the transaction's own read, and that nothing that was shown is revoked.

    `agents` take part, `kids` signed what was shown, `jtis` name it besides the session token; `signer` is looked up
    for the caller. Raises SessionEnded, InvalidToken, IntegrityError.
    """
    claims = shown.claims
    agents, kids, jtis = tuple(agents), (shown.kid, *kids), (claims.jti, *jtis)
    cuts = Cuts(tx, tx.line(shown.node), (*jtis, *agents, *kids, signer))
    for agent in agents:
        cuts.require_agent(agent)
    for kid in kids:
        cuts.require_key(kid)
    if any(cuts.has(Kind.TOKEN, jti) for jti in jtis):
        raise InvalidToken("this token was revoked; the session itself was not", code="token_revoked")
    require_session(tx, cuts, now, jti=claims.jti, asked=asked)
    if now >= claims.exp:
        raise InvalidToken("the session token has expired", code="token_expired")
    return cuts


def require_session(tx: ReadTx, cuts: Cuts, now: float, *, jti: str | None, asked: str) -> None:
    """Ask live(s) of the last session of a line. Raises SessionEnded, IntegrityError."""
    dead = first_dead(cuts.line, now)
    if dead is not None:
        raise ended(dead[0], dead[1], asked)
    if not tx.has_record(cuts.line[-1].leaf, sid=cuts.line[-1].sid):
        raise IntegrityError("the record that made this session is missing from the log")
    killed = cuts.killed(jti)
    if killed is not None:
        raise ended(killed, State.REVOKED, asked)


def state_of(tx: ReadTx, line: list[Node], now: float) -> State:
    """The state of the last session of a line, as anybody sees it: revoked users and suspended agents included."""
    state = state_in_line(line, now)
    if state is State.OPEN and Cuts(tx, line, ()).killed() is not None:
        return State.REVOKED
    return state


def grant_killed(tx: ReadTx, grant: Grant) -> bool:
    """Whether a token was revoked itself, or with the user whom it names: an impersonated one has no root of theirs."""
    user = tx.revoked(Kind.USER, grant.sub)
    of_user = user is not None and user.before is not None and grant.iat <= user.before
    return of_user or tx.revoked(Kind.TOKEN, grant.jti) is not None
