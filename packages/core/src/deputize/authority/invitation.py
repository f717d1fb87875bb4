"""Invitations: a hand-off to an agent in another process (SEMANTICS, "Access grant", "Narrowing": by invitation).

An access token whose audience is an agent's own carries no right to go on. What that agent may open a session over,
`onward`, is stored with the grant, decided by `delegate` when it is issued, and decided again when it is redeemed.
"""

from dataclasses import dataclass, replace

from deputize.authority.idempotency import DigestOf, key_digest, rights_text, used_before
from deputize.authority.journal import new_id
from deputize.authority.lifetimes import child_ttl
from deputize.authority.opening import Opened, Plan, commit, narrowed, next_depth, requested_rights
from deputize.authority.panel import Panel, narrow_child
from deputize.authority.parts import Parts
from deputize.authority.refusal import Case, decided, no_right
from deputize.authority.subject import Cuts, grant_killed, groups_of, linked_by, require_session
from deputize.model.failure import IntegrityError, InvalidRequest, InvalidToken
from deputize.model.identity import short_name
from deputize.model.registry import AgentEntry, ResourceEntry
from deputize.model.request import AccessRequest, Client, RedeemRequest
from deputize.model.revocation import Kind
from deputize.model.session import Edge, Grant, Mode, Node
from deputize.model.token import AccessClaims
from deputize.store.protocol import WriteTx
from deputize.wire import access_token
from deputize.wire.jws import peek

MAX_ONWARD = 256  # rights of one invitation
LAPSED = 30 * 86_400  # seconds that an invitation may be over where it only names what it opened
NO_INVITATION = "no_invitation"


def permit_onward(case: Case, node: Node, request: AccessRequest, entry: ResourceEntry, now: float) -> None:
    """Decide onward ⊆ C(s) by `delegate` to the agent behind the resource; all of it or nothing. Raises Denied."""
    if not request.onward:
        return
    if entry.agent is None:
        raise InvalidRequest("no agent is registered as the audience of this resource", code="invalid_target")
    if request.mode is Mode.IMPERSONATION:
        raise InvalidRequest("an impersonation goes no further: nothing is onward")
    if len(request.onward) > MAX_ONWARD:
        raise InvalidRequest(f"at most {MAX_ONWARD} rights are handed on by one invitation", code="invalid_scope")
    registry = case.rules.registry
    unknown = sorted(right for right in request.onward if not registry.knows(right))
    if unknown:
        raise InvalidRequest(f"no such right is registered: {str(unknown[0])[:128]}", code="invalid_scope")
    to, panel = registry.agents[entry.agent], case.panel
    case.detail["to"] = to.id
    case.detail["onward"] = [[right.resource, right.scope] for right in sorted(request.onward)]
    depth = next_depth(case, node)
    if panel is None:
        raise IntegrityError("nothing to decide by")
    giver = replace(panel, depth=depth, ttl=child_ttl(case.rules.limits, node, to, None, now))
    for right in sorted(request.onward):
        asked = f"{short_name(node.agent)} may not hand {right} on to {to.name}"
        if right not in node.ceiling:
            raise no_right(case, right, None, rule="session-ceiling", asked=asked)
        if not giver.delegate(node.agent, right, to=to.id).allowed:
            raise no_right(case, right, giver.refusal(), rule="default-deny", asked=asked)


def redeem(parts: Parts, client: Client, request: RedeemRequest) -> Opened:
    """A child of the session behind an invitation, for the agent that is its audience. Raises Denied, InvalidToken.

    A repeat gives the same session with a new token, also where the invitation has lapsed by then: it opens nothing.
    """
    case = Case("handoff.denied", client, parts.rules)
    return decided(parts, case, lambda: _redeem(parts, case, request))


@dataclass(frozen=True, slots=True)
class _Invitation:
    """An invitation that was checked: its claims, the key that signed it, its grant, and the session behind it."""

    claims: AccessClaims
    kid: str
    grant: Grant
    node: Node


def _redeem(parts: Parts, case: Case, request: RedeemRequest) -> Opened:
    client, limits = case.client, case.rules.limits
    now = parts.now()
    shown, to = _shown(parts, case, request.invitation, now)
    parent, grant = shown.node, shown.grant
    case.node = parent
    depth = next_depth(case, parent)
    requested = requested_rights(case, request.requested, to)
    key = key_digest("redeem", client.agent, parent.sid, _key(grant.jti, request.key))
    repeat = request.ttl is not None and parts.store.read(lambda tx: used_before(tx, key))
    ttl = child_ttl(limits, parent, to, request.ttl, now, repeat=repeat)
    taker = Panel(
        engine=case.rules.policy,
        now=int(now),
        sub=parent.sub,
        mode=Mode.ON_BEHALF_OF,
        evidence=parent.evidence,
        attestation=client.attestation,
        depth=depth,
        ttl=ttl,
        acr=parent.sign_in.acr,
        groups=groups_of(parts, parent),
        linked_by=linked_by(parts, parent),
    )
    case.panel = taker
    giver = replace(taker, attestation=parent.attestation)  # who hands on is the one whose session it is
    narrowing = narrowed(case, narrow_child(taker, parent, to.id, requested, giver=giver, onward=grant.onward), to.id)
    node = Node(
        sid=new_id(),
        txn=parent.txn,
        path=() if parent.sid == parent.txn else (*parent.path, parent.sid),
        parent=parent.sid,
        kind=Edge.CHILD,
        mode=Mode.ON_BEHALF_OF,
        sub=parent.sub,
        agent=to.id,
        chain=(to.id, *parent.chain),
        ceiling=narrowing.kept,
        created=int(now),
        exp=int(now) + ttl,
        depth=depth,
        evidence=parent.evidence,
        workload=client.workload,
        attestation=client.attestation,
        sign_in=parent.sign_in,
    )
    digest = DigestOf("redeem", grant.jti, to.id, rights_text(request.requested), request.task)
    plan = Plan(node, narrowing, key, digest, request.task, client.jkt, parent)

    def allowed(tx: WriteTx, at: float, signer: str) -> None:
        claims = shown.claims
        cuts = Cuts(tx, tx.line(parent), (client.agent, claims.jti, shown.kid, signer))
        cuts.require_agent(client.agent)
        cuts.require_key(shown.kid)
        parts.keys.check_signer(cuts.has(Kind.KEY, signer))
        if grant_killed(tx, grant):
            raise InvalidToken("this invitation was revoked", code="token_revoked")
        require_session(tx, cuts, at, jti=claims.jti, asked=f"redeemed by {to.name}")
        if at >= claims.exp and not used_before(tx, key):
            raise InvalidToken("the invitation has expired", code="token_expired")
        if not tx.has_record(grant.leaf, jti=grant.jti):
            raise IntegrityError("the record that made this invitation is missing from the log")

    return commit(parts, case, plan, allowed)


def _shown(parts: Parts, case: Case, token: str, now: float) -> tuple[_Invitation, AgentEntry]:
    """Steps 4, 5 and 7: a token of ours, shown by the agent that is its audience, as its grant and session say."""
    claims = access_token.decode(
        token, issuer=parts.issuer, audience=None, key_for=parts.keys.verifying, now=now, leeway=LAPSED
    )
    entry = case.rules.registry.resources.get(claims.aud)
    to = case.rules.registry.agents.get(entry.agent) if entry is not None and entry.agent is not None else None
    if to is None:
        raise InvalidToken("no agent is the audience of this token: it is no invitation", code=NO_INVITATION)
    if case.client.agent != to.id:
        raise InvalidToken("an invitation is redeemed by the agent that it is for, alone", code="wrong_presenter")
    grant, node = parts.store.read(lambda tx: (tx.grant(claims.jti), tx.session(claims.sid)))
    if grant is None or node is None:
        raise InvalidToken("the token names no grant of this authority", code="unknown_session")
    if grant.terminal or not grant.onward or claims.context.mode == Mode.IMPERSONATION.value:
        raise InvalidToken("nothing is onward by this token: it is no invitation", code=NO_INVITATION)
    case.detail["invitation"] = grant.jti
    _same(claims, grant, node)
    return _Invitation(claims, peek(token).kid or "", grant, node), to


def _same(claims: AccessClaims, grant: Grant, node: Node) -> None:
    """Step 7: what the token says is what is stored (`chain`: all of it, or the outermost where that is told)."""
    told = (claims.aud, claims.sid, claims.txn, claims.client_id, claims.sub, claims.exp, claims.jkt)
    kept = (grant.resource, node.sid, node.txn, node.agent, node.sub, grant.exp, grant.jkt)
    owner = (grant.sid, grant.txn, grant.agent, grant.sub)
    whole = claims.chain in {node.chain, node.chain[:1]}
    if told != kept or owner != (node.sid, node.txn, node.agent, node.sub) or not whole:
        raise InvalidToken("the invitation does not tell of the stored session", code="wrong_session")
    if claims.context.path != node.path:
        raise InvalidToken("the invitation does not tell of the stored session", code="wrong_session")


def _key(jti: str, key: str | None) -> str:
    """One session for an invitation, and one more for each key of the caller's; all count as children."""
    return jti if key is None else f"{jti} {key}"
