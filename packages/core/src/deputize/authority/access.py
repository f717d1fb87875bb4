"""Access: a token for one resource and the scopes of one operation. Steps 1-14 of the exchange."""

from dataclasses import dataclass, field

from deputize.audit.record import rec_claim
from deputize.authority.idempotency import DigestOf, key_digest, recall, rights_text, used_before
from deputize.authority.impersonation import check_impersonation, stored_grant
from deputize.authority.invitation import permit_onward
from deputize.authority.journal import append, new_id
from deputize.authority.lifetimes import access_ttl
from deputize.authority.panel import Panel
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS, Case, decided, no_right
from deputize.authority.subject import Tokens, grant_killed, groups_of, linked_by, require_live, subject_of
from deputize.model.event import Json, Record
from deputize.model.failure import IntegrityError, InvalidRequest
from deputize.model.identity import short_name
from deputize.model.registry import ResourceEntry
from deputize.model.request import AccessRequest, Client
from deputize.model.resource import LOCAL_TOOLS, Right, rights_of
from deputize.model.revocation import Kind
from deputize.model.session import Grant, Mode, Node
from deputize.model.token import AccessClaims, TokenContext
from deputize.store.protocol import WriteTx
from deputize.store.rows import Remembered
from deputize.wire import access_token, json_strict

MAX_SCOPES = 32  # of one operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """An access token and what it is good for. `reissued`: an earlier grant answered a repeat."""

    grant: Grant
    token: str = field(repr=False)
    binding: str
    reissued: bool


def issue_access(parts: Parts, tokens: Tokens, client: Client, request: AccessRequest) -> Issued:
    """Mint access from a session. Raises Denied, InvalidRequest."""
    case = Case("exchange.denied", client, parts.rules)
    case.tool, case.resource = request.tool, request.resource[:512]
    case.scopes = tuple(sorted(request.scopes))[:MAX_SCOPES]
    return decided(parts, case, lambda: _access(parts, tokens, case, request))


def _access(parts: Parts, tokens: Tokens, case: Case, request: AccessRequest) -> Issued:
    entry, rights = _form(case, request)
    now = parts.now()
    shown = subject_of(parts, tokens, case, request.subject_token, now)
    node = shown.node
    if request.mode is Mode.SELF and node.mode is not Mode.SELF:
        raise InvalidRequest("this session is on somebody's behalf: none of its tokens is the agent's own (mode)")
    impersonating = request.mode is Mode.IMPERSONATION
    key = key_digest("access", case.client.agent, node.sid, request.key)
    repeat = request.ttl is not None and parts.store.read(lambda tx: used_before(tx, key))
    ttl = access_ttl(case.rules.limits, entry.binding, request.mode, node, request.ttl, now, repeat=repeat)
    jkt = case.client.jkt if entry.binding != "bearer" else None
    panel = Panel.of(
        case.rules.policy, node, now=int(now), ttl=ttl, linked_by=linked_by(parts, node), groups=groups_of(parts, node)
    )
    case.panel = panel
    if impersonating:
        sub = check_impersonation(case, node, request, rights)
    else:
        sub = node.sub
        for right in sorted(rights):
            permit_use(case, node, right, tool=request.tool, bound=jkt is not None)
    permit_onward(case, node, request, entry, now)
    mode = Mode.IMPERSONATION if impersonating else node.mode
    digest = DigestOf(
        "access", mode.value, sub, entry.url, " ".join(sorted(request.scopes)), rights_text(request.onward)
    )

    signer = parts.keys.signer(now)

    def operation(tx: WriteTx) -> tuple[Grant, Record | None]:
        at = parts.moment(tx)
        agents = (case.client.agent,)
        cuts = require_live(tx, shown, at, asked=f"access to {entry.alias}", agents=agents, signer=signer.kid)
        parts.keys.check_signer(cuts.has(Kind.KEY, signer.kid))
        parts.check_policy(tx, case.rules)
        row = recall(tx, key, digest)
        earlier = tx.grant(row.jti) if row is not None and row.jti is not None else None
        if earlier is not None and at < earlier.exp and earlier.jkt == jkt:
            if grant_killed(tx, earlier):
                raise InvalidRequest(
                    "the token of this key was revoked; what is new takes a new key", code="token_revoked"
                )
            said = (earlier.sid, earlier.agent, earlier.sub, earlier.resource, earlier.scope, earlier.mode)
            if (*said, earlier.onward) != (node.sid, node.agent, sub, entry.url, request.scopes, mode, request.onward):
                raise IntegrityError("the grant that is stored under this key is not the one that was asked for")
            if not tx.has_record(earlier.leaf, jti=earlier.jti):
                raise IntegrityError("the record that made this grant is missing from the log")
            return earlier, None
        grant, record = _grant(
            tx, case, cuts.line[-1], entry, request, at, (sub, mode, ttl, jkt), again=row is not None
        )
        parts.stamp(tx)
        if key is not None:
            secret = tx.tree_secret(node.txn) or b""
            tx.remember(Remembered(key=key, digest=digest.under(secret), sid=node.sid, jti=grant.jti, until=node.exp))
        return grant, record

    grant, record = parts.store.write(operation)
    token = access_token.encode(_claims(parts, entry, grant, node, record), signer)
    return Issued(grant=grant, token=token, binding="DPoP" if grant.jkt else "Bearer", reissued=record is None)


def _form(case: Case, request: AccessRequest) -> tuple[ResourceEntry, frozenset[Right]]:
    """Step 2: one known resource, known scopes, none of them implied."""
    entry = case.rules.registry.resource(request.resource)
    case.resource = entry.url
    if entry.url == LOCAL_TOOLS:
        raise InvalidRequest("tools of the agent's own process take no token", code="invalid_target")
    if not 0 < len(request.scopes) <= MAX_SCOPES:
        raise InvalidRequest(f"1-{MAX_SCOPES} scopes are asked for; none never means all", code="invalid_scope")
    rights = rights_of(entry.url, request.scopes)
    unknown = sorted(right for right in rights if not case.rules.registry.knows(right))
    if unknown:
        raise InvalidRequest(
            f"no such right is registered: {unknown[0].scope[:64]} at {entry.alias}", code="invalid_scope"
        )
    return entry, rights


def permit_use(case: Case, node: Node, right: Right, *, tool: str | None, bound: bool) -> None:
    """Ask r ∈ C(s) ∧ P(agent, use, r) ∧ P(u, grant, r). Raises Denied."""
    panel = case.panel
    what = f"{short_name(node.agent)} may not use {(tool or right.scope)[:64]} for {node.sub}; needs {right}"
    if right not in node.ceiling:
        raise no_right(case, right, None, rule="session-ceiling", asked=what)
    if panel is None or not panel.use(node.agent, right, tool=tool, bound=bound).allowed:
        raise no_right(case, right, panel.refusal() if panel else None, rule="default-deny", asked=what)
    if not panel.subject(right, node.agent).allowed:
        raise no_right(case, right, panel.refusal(), rule="default-deny", asked=what)


def _grant(
    tx: WriteTx,
    case: Case,
    node: Node,
    entry: ResourceEntry,
    request: AccessRequest,
    at: float,
    terms: tuple[str, Mode, int, str | None],
    *,
    again: bool,
) -> tuple[Grant, Record]:
    """Step 13: the grant and its record, in the transaction that found the session live."""
    sub, mode, ttl, jkt = terms
    now, jti = int(at), new_id()
    exp = min(now + ttl, node.exp)
    more: dict[str, Json] = {"mode": mode.value, "exp": exp, "binding": entry.binding}
    if jkt is not None:
        more["jkt"] = jkt
    if mode is Mode.IMPERSONATION:
        more["impersonated"] = sub
        more["reason"] = request.reason or ""
        more["grant"] = stored_grant(case, node, request, entry).id
    kind = "exchange.reissued" if again else "exchange.permitted"
    record = append(tx, case.event(kind, "permitted", int(at * MILLIS), jti=jti, more=more))
    grant = Grant(
        jti=jti,
        sid=node.sid,
        txn=node.txn,
        agent=node.agent,
        sub=sub,
        resource=entry.url,
        scope=request.scopes,
        mode=mode,
        iat=now,
        exp=exp,
        jkt=jkt,
        onward=request.onward,
        terminal=mode is Mode.IMPERSONATION,
        claims=json_strict.dumps({"rec": rec_claim(record)}),
        leaf=record.seq,
    )
    tx.add_grant(grant)
    return grant, record


def _claims(parts: Parts, entry: ResourceEntry, grant: Grant, node: Node, record: Record | None) -> AccessClaims:
    """The same grant always gives the same claims: a repeat is the same token, signed again."""
    rec = rec_claim(record) if record is not None else str(json_strict.loads(grant.claims)["rec"])
    chain = () if grant.mode is Mode.IMPERSONATION else node.chain
    return AccessClaims(
        iss=parts.issuer,
        aud=grant.resource,
        sub=grant.sub,
        client_id=grant.agent,
        chain=chain if entry.chain == "full" else chain[:1],
        scope=tuple(sorted(grant.scope)),
        jti=grant.jti,
        iat=grant.iat,
        exp=grant.exp,
        sid=grant.sid,
        txn=grant.txn,
        jkt=grant.jkt,
        context=TokenContext(mode=grant.mode.value, path=node.path, rec=rec),
        sign_in=node.sign_in,
    )
