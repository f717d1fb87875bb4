"""Opening sessions: roots, children and links. Steps 1-14 of the exchange for a session token."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from deputize.audit.record import rec_claim
from deputize.authority.idempotency import DigestOf, key_digest, keyed_digest, recall, rights_text, used_before
from deputize.authority.journal import append, new_id
from deputize.authority.lifetimes import child_ttl, root_ttl
from deputize.authority.panel import Panel, narrow_child, narrow_link, narrow_root
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS, Case, decided, ended, nothing_left, unknown_agent
from deputize.authority.starting import check_continues, with_subject
from deputize.authority.subject import (
    Cuts,
    Tokens,
    groups_of,
    linked_by,
    require_live,
    require_session,
    subject_of,
)
from deputize.authority.workloads import require_actor
from deputize.model.decision import Narrowing
from deputize.model.event import Event, Json, Record
from deputize.model.failure import IntegrityError, InvalidRequest, InvalidToken
from deputize.model.identity import is_user
from deputize.model.limits import Limits
from deputize.model.registry import AgentEntry
from deputize.model.request import Client, HandOffRequest, RootRequest
from deputize.model.resource import Right
from deputize.model.revocation import Kind
from deputize.model.session import Edge, Evidence, Mode, Node, State
from deputize.model.sign_in import NO_SIGN_IN
from deputize.model.token import SessionClaims, TokenContext
from deputize.store.protocol import WriteTx
from deputize.store.rows import Remembered
from deputize.wire import session_token
from deputize.wire.thumbprint import thumbprint

MAX_TASK = 4096  # characters of a task's text


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session and a token for it, bound to `jkt`. `expires` is of the token, seconds since the epoch."""

    node: Node
    token: str = field(repr=False)
    jkt: str
    expires: int
    narrowed: tuple[tuple[Right, str], ...]
    reissued: bool


def open_root(parts: Parts, client: Client, request: RootRequest) -> Opened:
    """A user, or in SELF mode the agent itself, starts a task. Raises Denied, InvalidRequest."""
    case = Case("session.denied", client, parts.rules)
    case.sub = client.agent if request.mode is Mode.SELF else request.user
    return decided(parts, case, lambda: _root(parts, case, request))


def _root(parts: Parts, case: Case, request: RootRequest) -> Opened:
    client, rules = case.client, case.rules
    if request.mode is Mode.IMPERSONATION:
        raise InvalidRequest("impersonation is asked for at access, of one resource; no session opens in it")
    if request.subject_token is not None:
        request = with_subject(parts, case, request, request.subject_token)
    if (request.mode is Mode.SELF) is (request.user is not None):
        raise InvalidRequest("a user is named exactly where the session is not the agent's own (mode)")
    agent = _registered(case, client.agent)
    now = parts.now()
    requested = requested_rights(case, request.requested, agent)
    ttl = root_ttl(rules.limits, agent, request.ttl)
    sub = case.sub or client.agent
    if request.continues is not None:
        check_continues(parts, request.continues, agent.id, sub)
    panel = Panel(
        engine=rules.policy,
        now=int(now),
        sub=sub,
        mode=request.mode,
        evidence=Evidence.AGENT if request.mode is Mode.SELF else request.evidence,
        attestation=client.attestation,
        depth=0,
        ttl=ttl,
        acr=request.sign_in.acr,
        groups=request.groups,
    )
    case.panel = panel
    narrowing = narrowed(case, narrow_root(panel, agent.id, requested, request.cap), agent.id)
    sid = new_id()
    node = Node(
        sid=sid,
        txn=sid,
        path=(),
        parent=None,
        kind=Edge.ROOT,
        mode=request.mode,
        sub=sub,
        agent=agent.id,
        chain=(agent.id,) if is_user(sub) else (),
        ceiling=narrowing.kept,
        created=int(now),
        exp=int(now) + ttl,
        depth=0,
        evidence=panel.evidence,
        workload=client.workload,
        attestation=client.attestation,
        continues=request.continues,
        sign_in=request.sign_in,
        groups=request.groups,
    )
    key = key_digest("open", client.agent, sub, request.key)
    digest = DigestOf("open", request.mode.value, sub, rights_text(request.requested), request.task)
    plan = Plan(node, narrowing, key, digest, request.task, client.jkt, None)

    def allowed(tx: WriteTx, now: float, signer: str) -> None:
        cuts = Cuts(tx, [_born(node, None, now)], (client.agent, signer))
        parts.keys.check_signer(cuts.has(Kind.KEY, signer))
        cuts.require_agent(client.agent)
        dead = cuts.killed()
        if dead is not None:
            raise ended(dead, State.REVOKED, "opened in the very second in which its user or agent was revoked")

    return commit(parts, case, plan, allowed)


def next_depth(case: Case, parent: Node) -> int:
    """Of what is handed on from `parent`. Raises InvalidRequest (`depth_exceeded`)."""
    depth, most = parent.depth + 1, case.rules.limits.depth_max
    if depth > most:
        raise InvalidRequest(f"a hand-off at depth {depth} was asked for; depth_max is {most}", code="depth_exceeded")
    return depth


def hand_off(parts: Parts, tokens: Tokens, client: Client, request: HandOffRequest) -> Opened:
    """A child of the presented session for another agent, or a link of it. Raises Denied, InvalidRequest."""
    case = Case("handoff.denied", client, parts.rules)
    return decided(parts, case, lambda: _hand_off(parts, tokens, case, request))


def _hand_off(parts: Parts, tokens: Tokens, case: Case, request: HandOffRequest) -> Opened:
    rules, limits = case.rules, case.rules.limits
    if request.mode is Mode.IMPERSONATION:
        raise InvalidRequest("impersonation is asked for at access, of one resource; no session opens in it")
    now = parts.now()
    shown = subject_of(parts, tokens, case, request.subject_token, now)
    parent = shown.node
    case.detail["to"] = request.to[:256]
    to = _registered(case, request.to, under=parent.agent)
    actor, actor_kid = tokens.identity(parts, request.actor_token, now)
    if actor.sub != to.id:
        raise InvalidToken("the actor token is another agent's identity", code="wrong_actor")
    if shown.claims.may_act not in {None, actor.sub}:
        raise InvalidToken("this session token names another agent that it may be handed on to", code="may_act")
    jkt = thumbprint(actor.jwk)
    depth = next_depth(case, parent)
    require_actor(parts, case.client, actor)
    linked = request.mode is Mode.SELF
    requested = requested_rights(case, request.requested, to)
    key = key_digest("hand-off", case.client.agent, parent.sid, request.key)
    repeat = request.ttl is not None and parts.store.read(lambda tx: used_before(tx, key))
    ttl = child_ttl(limits, parent, to, request.ttl, now, repeat=repeat)
    giver = case.client.attestation
    panel = Panel(
        engine=rules.policy,
        now=int(now),
        sub=to.id if linked else parent.sub,
        mode=request.mode,
        evidence=Evidence.AGENT if linked else parent.evidence,
        attestation=giver if actor.context is None else actor.context.method,
        depth=depth,
        ttl=ttl,
        acr=None if linked else parent.sign_in.acr,
        groups=() if linked else groups_of(parts, parent),
        linked_by=None if linked else linked_by(parts, parent),
    )
    case.panel = panel
    if linked:
        narrow = narrow_link(panel, parent, to.id, requested)
    else:
        narrow = narrow_child(panel, parent, to.id, requested, giver=replace(panel, attestation=giver))
    narrowing = narrowed(case, narrow, to.id)
    node = Node(
        sid=new_id(),
        txn=parent.txn,
        path=() if parent.sid == parent.txn else (*parent.path, parent.sid),
        parent=parent.sid,
        kind=Edge.LINK if linked else Edge.CHILD,
        mode=request.mode,
        sub=panel.sub,
        agent=to.id,
        chain=() if linked else (to.id, *parent.chain),
        ceiling=narrowing.kept,
        created=int(now),
        exp=int(now) + ttl,
        depth=depth,
        evidence=panel.evidence,
        workload=case.client.workload,
        attestation=panel.attestation,
        sign_in=NO_SIGN_IN if linked else parent.sign_in,
    )
    digest = DigestOf("hand-off", request.mode.value, to.id, rights_text(request.requested), request.task)
    plan = Plan(node, narrowing, key, digest, request.task, jkt, parent)

    def allowed(tx: WriteTx, at: float, signer: str) -> None:
        agents = (case.client.agent, to.id)
        cuts = require_live(
            tx,
            shown,
            at,
            asked=f"hand-off to {to.name}",
            agents=agents,
            kids=(actor_kid,),
            jtis=(actor.jti,),
            signer=signer,
        )
        cuts.require_identity(actor.sub, actor.iat)
        parts.keys.check_signer(cuts.has(Kind.KEY, signer))

    return commit(parts, case, plan, allowed)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the transaction is to commit, decided before it began."""

    node: Node
    narrowing: Narrowing
    key: str | None
    digest: DigestOf
    task: str | None
    jkt: str
    parent: Node | None


def commit(parts: Parts, case: Case, plan: Plan, allowed: Callable[[WriteTx, float, str], None]) -> Opened:
    """Steps 12-14: liveness, policy digest, counters and the key's row in one transaction with the record."""
    if plan.task is not None and len(plan.task) > MAX_TASK:
        raise InvalidRequest(f"a task's text is at most {MAX_TASK} characters")

    signer = parts.keys.signer(plan.node.created)

    def operation(tx: WriteTx) -> tuple[Node, Record, bool]:
        now = parts.stamp(tx)
        allowed(tx, now, signer.kid)
        parts.check_policy(tx, case.rules)
        row = recall(tx, plan.key, plan.digest)
        if row is not None and row.sid is not None:
            return _again(tx, case, plan, row.sid, now)
        return (*_new(tx, case, plan, now), False)

    node, record, reissued = parts.store.write(operation)
    parts.nodes.put(node.sid, node)
    now = record.time // MILLIS
    claims = SessionClaims(
        iss=parts.issuer,
        sub=node.sub,
        client_id=case.client.agent,
        chain=node.chain,
        jti=record.event.jti if record.event is not None and record.event.jti else new_id(),
        iat=now,
        exp=min(now + case.rules.limits.session_token_ttl, node.exp),
        sid=node.sid,
        txn=node.txn,
        jkt=plan.jkt,
        context=TokenContext(mode=node.mode.value, path=node.path, rec=rec_claim(record)),
        sign_in=node.sign_in,
    )
    token = session_token.encode(claims, signer)
    dropped = plan.narrowing.dropped
    return Opened(node=node, token=token, jkt=plan.jkt, expires=claims.exp, narrowed=dropped, reissued=reissued)


def _born(node: Node, parent: Node | None, now: float) -> Node:
    """By the transaction's time: another replica's clock may be ahead. All of its life is left, to its parent's end."""
    later = int(now) - node.created
    if later <= 0:
        return node
    exp = node.exp + later if parent is None else min(node.exp + later, parent.exp)
    return replace(node, created=node.created + later, exp=exp)


def _new(tx: WriteTx, case: Case, plan: Plan, now: float) -> tuple[Node, Record]:
    node, parent = plan.node, plan.parent
    if parent is None:
        secret = secrets.token_bytes(32)
        tx.add_tree(node.txn, secret)
    else:
        secret = tx.tree_secret(node.txn) or b""
        _within(case.rules.limits, *tx.count_child(node.txn, parent.sid))
    keep_text = case.rules.configuration.task_text == "clear"
    task = plan.task.encode("utf-8", "surrogatepass") if plan.task is not None else None
    node = replace(
        _born(node, parent, now),
        task=plan.task if keep_text else None,
        task_digest=keyed_digest(secret, "task", task),
        key=plan.key,
    )
    record = append(tx, _event(case, plan, node, "session.opened", int(now * MILLIS)))
    node = replace(node, leaf=record.seq)
    tx.add_session(node)
    if plan.key is not None:
        # A root that ended is told of as long as its record is kept, or its key would open another in silence.
        until = node.exp if parent is not None else max(node.exp, node.created + case.rules.configuration.retention)
        tx.remember(Remembered(key=plan.key, digest=plan.digest.under(secret), sid=node.sid, jti=None, until=until))
    return node, record


def _again(tx: WriteTx, case: Case, plan: Plan, sid: str, now: float) -> tuple[Node, Record, bool]:
    """The same session, a new token. A final one gives its error, never a new session."""
    node = tx.session(sid)
    if node is None:
        raise InvalidRequest("this key's session is gone", code="idempotency_mismatch")
    asked = plan.node
    if (node.agent, node.sub, node.parent, node.mode) != (asked.agent, asked.sub, asked.parent, asked.mode):
        raise IntegrityError("the session that is stored under this key is not the one that was asked for")
    line = tx.line(node)
    require_session(tx, Cuts(tx, line, ()), now, jti=None, asked="opened again by its key")
    record = append(tx, _event(case, plan, node, "session.reissued", int(now * MILLIS)))
    return node, record, True


def _event(case: Case, plan: Plan, node: Node, kind: str, millis: int) -> Event:
    """The record of an opening: the whole ceiling, what was dropped and why, and the token's id."""
    event = case.event(kind, "permitted", millis)
    detail: dict[str, Json] = {
        **event.detail,
        "kind": node.kind.value,
        "mode": node.mode.value,
        "ceiling": [[right.resource, right.scope] for right in sorted(node.ceiling)],
        "exp": node.exp,
        "depth": node.depth,
        "evidence": node.evidence.value,
        "attestation": node.attestation,
        "jkt": plan.jkt,
        "parent": node.parent,
        "continues": node.continues,
        "task_digest": node.task_digest,
        "task": node.task,
    }
    return replace(
        event,
        txn=node.txn,
        sid=node.sid,
        jti=new_id(),
        sub=node.sub,
        agent=node.agent,
        chain=node.chain,
        detail={name: value for name, value in detail.items() if value is not None},
    )


def _within(limits: Limits, tree: int, children: int) -> None:
    if tree > limits.tree_max:
        raise InvalidRequest(f"a tree holds at most {limits.tree_max} sessions (tree_max)", code="tree_full")
    if children > limits.children_max:
        raise InvalidRequest(
            f"a session hands off at most {limits.children_max} times (children_max)",
            code="too_many_children",
        )


def _registered(case: Case, name: str, under: str | None = None) -> AgentEntry:
    entry = case.rules.registry.agent(name)
    if entry is None:
        raise unknown_agent(case.rules.registry, name, under)
    return entry


def requested_rights(case: Case, requested: frozenset[Right] | None, agent: AgentEntry) -> frozenset[Right]:
    """An omitted set is what the registry lists for the agent; an empty one never means all."""
    if requested is None:
        return agent.rights
    unknown = sorted(right for right in requested if not case.rules.registry.knows(right))
    if unknown:
        raise InvalidRequest(f"no such right is registered: {str(unknown[0])[:128]}", code="invalid_scope")
    return requested


def narrowed(case: Case, narrowing: Narrowing, agent: str) -> Narrowing:
    """What was kept, the rest written down. Raises Denied where nothing was."""
    if narrowing.dropped:
        case.detail["dropped"] = [[right.resource, right.scope, why] for right, why in narrowing.dropped]
    if not narrowing.kept:
        raise nothing_left(case, narrowing.dropped, agent)
    return narrowing
