"""Tool calls: permission before the body, the outcome after it, both recorded and attributed."""

from dataclasses import dataclass, replace

from deputize.authority.access import permit_use
from deputize.authority.idempotency import keyed_digest
from deputize.authority.journal import append
from deputize.authority.panel import Panel, narrow_child
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS, Case, decided, no_right, nothing_left, unknown_agent
from deputize.authority.subject import Tokens, groups_of, linked_by, require_live, subject_of
from deputize.model.event import Event
from deputize.model.failure import Denied, InvalidRequest
from deputize.model.identity import short_name
from deputize.model.report import Note
from deputize.model.request import CallRequest, Client
from deputize.model.resource import LOCAL_TOOLS, rights_of
from deputize.model.session import Node
from deputize.store.protocol import WriteTx

MAX_TOOL = 128  # characters of a tool's name
FRAMEWORK_TOOLS = "registry.framework-tools"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """A tool call that may run. `policies` are the ids that decided."""

    seq: int
    policies: tuple[str, ...]


def permit_call(parts: Parts, tokens: Tokens, client: Client, request: CallRequest) -> Permitted:
    """Every scope of the operation, or nothing. Raises Denied."""
    case = Case("tool.denied", client, parts.rules)
    case.tool, case.call_id = request.tool[:MAX_TOOL], request.call_id
    case.resource, case.scopes = request.resource, tuple(sorted(request.scopes))
    return decided(parts, case, lambda: _permit(parts, tokens, case, request))


def _permit(parts: Parts, tokens: Tokens, case: Case, request: CallRequest) -> Permitted:
    if not 0 < len(request.tool) <= MAX_TOOL:
        raise InvalidRequest(f"a tool's name is 1-{MAX_TOOL} characters")
    now = parts.now()
    shown = subject_of(parts, tokens, case, request.subject_token, now)
    node = shown.node
    entry = case.rules.registry.resource(request.resource)
    left = max(node.exp - int(now), 0)
    panel = Panel.of(
        case.rules.policy, node, now=int(now), ttl=left, linked_by=linked_by(parts, node), groups=groups_of(parts, node)
    )
    case.panel = panel
    for right in sorted(rights_of(entry.url, request.scopes)):
        if not case.rules.registry.knows(right):
            asked = (
                f"{short_name(node.agent)} may not use {request.tool[:64]}: "
                f"no such right is registered: {right.scope[:64]} at {entry.alias}"
            )
            raise no_right(case, right, None, rule="unknown-right", asked=asked)
        permit_use(case, node, right, tool=request.tool, bound=entry.binding != "bearer")
    framework = case.rules.registry.resources[LOCAL_TOOLS].framework_tools
    if request.to:
        _permit_hand_off(case, panel, node, request)
    elif not request.scopes and request.tool not in framework:
        raise InvalidRequest("a call names the scopes that it needs; none never means all", code="invalid_scope")

    def operation(tx: WriteTx) -> int:
        at = parts.stamp(tx)
        require_live(tx, shown, at, asked=f"call of {request.tool}", agents=(case.client.agent,))
        parts.check_policy(tx, case.rules)
        digest = keyed_digest(tx.tree_secret(node.txn), "arguments", request.arguments)
        more = {"arguments_digest": digest} if digest is not None else None
        event = case.event("tool.started", "permitted", int(at * MILLIS), more=more)
        return append(tx, event if event.policies else replace(event, policies=(FRAMEWORK_TOOLS,))).seq

    seq = parts.store.write(operation)
    return Permitted(seq=seq, policies=panel.policies() or (FRAMEWORK_TOOLS,))


def _permit_hand_off(case: Case, panel: Panel, node: Node, request: CallRequest) -> None:
    """A hand-off tool is governed by `delegate` alone: something must be left for one of those it names.

    Nothing is opened: that is decided again when the other agent runs.
    """
    if request.scopes:
        raise InvalidRequest("a hand-off tool needs no scope", code="invalid_scope")
    refusal: Denied | None = None
    case.detail["to"] = [name[:256] for name in request.to]
    for name in request.to:
        entry = case.rules.registry.agent(name)
        if entry is None:
            refusal = refusal or unknown_agent(case.rules.registry, name, node.agent)
            continue
        narrowing = narrow_child(panel, node, entry.id, entry.rights)
        if narrowing.kept:
            return
        refusal = refusal or nothing_left(case, narrowing.dropped, entry.id)
    if refusal is not None:
        raise refusal


def note(parts: Parts, client: Client, node: Node, told: Note) -> int:
    """Record an outcome that a framework tells of. Needs no live session: what happened is written down."""

    def operation(tx: WriteTx) -> int:
        event = Event(
            type=told.kind,
            outcome=told.outcome,
            time=int(parts.stamp(tx) * MILLIS),
            txn=node.txn,
            sid=node.sid,
            sub=node.sub,
            agent=client.agent,
            chain=node.chain,
            workload=client.workload,
            tool=told.tool,
            call_id=told.call_id,
            resource=told.resource,
            code=told.code,
            policy_set=parts.rules.policy.digest,
            detail=dict(told.detail),
        )
        return append(tx, event).seq

    return parts.store.write(operation)
