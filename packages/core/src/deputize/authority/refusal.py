"""Refusals: what is told, to whom, and the record that each one leaves (I16)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TypeVar

from deputize.attestation import InProcess
from deputize.authority.journal import append, new_reference
from deputize.authority.panel import Panel, ruling_detail
from deputize.authority.parts import Parts, PolicyMoved
from deputize.authority.rules import Rules, hosted_now
from deputize.model.decision import Ruling
from deputize.model.event import Event, Json
from deputize.model.failure import (
    AttestationFailed,
    AuthorityUnavailable,
    Denial,
    Denied,
    DeputizeError,
    SessionEnded,
    StoreError,
    UnknownAgent,
    plain,
)
from deputize.model.identity import short_name
from deputize.model.registry import Registry
from deputize.model.request import Client
from deputize.model.resource import Right
from deputize.model.session import Node, State
from deputize.policy import enough
from deputize.store.protocol import WriteTx

T = TypeVar("T")
MILLIS = 1000
MAX_MOVES = 16  # of the policy set, during one request


@dataclass(slots=True)
class Case:
    """What is being decided: filled in as the steps learn of it, written down whatever the outcome."""

    kind: str  # the event's type on refusal, e.g. "exchange.denied"
    client: Client
    rules: Rules
    node: Node | None = None
    panel: Panel | None = None
    sub: str | None = None
    txn: str | None = None
    tool: str | None = None
    call_id: str | None = None
    resource: str | None = None
    scopes: tuple[str, ...] = ()
    detail: dict[str, Json] = field(default_factory=dict)

    def copy(self) -> "Case":
        """As it stands, to begin again from."""
        return replace(self, detail=dict(self.detail))

    def take(self, blank: "Case", rules: Rules | None) -> None:
        """Begin again as `blank`, by other rules where there are some."""
        for item in fields(self):
            setattr(self, item.name, getattr(blank, item.name))
        self.detail = dict(blank.detail)
        self.rules = rules or blank.rules

    def event(
        self,
        kind: str,
        outcome: str,
        millis: int,
        *,
        jti: str | None = None,
        more: Mapping[str, Json] | None = None,
    ) -> Event:
        """The event with everything known so far; `jti` of what it issues and `more` detail."""
        node, panel = self.node, self.panel
        detail = {**self.detail, **(more or {})}
        if panel is not None and panel.rulings:
            detail["decisions"] = panel.detail()
        return Event(
            type=kind,
            outcome=outcome,
            time=millis,
            txn=node.txn if node else self.txn,
            sid=node.sid if node else None,
            jti=jti,
            sub=node.sub if node else self.sub,
            agent=self.client.agent,
            chain=node.chain if node else (),
            workload=self.client.workload,
            tool=self.tool,
            call_id=self.call_id,
            resource=self.resource,
            scopes=self.scopes,
            policies=panel.policies() if panel is not None else (),
            policy_set=self.rules.policy.digest,
            detail=detail,
        )


def decided(parts: Parts, case: Case, steps: Callable[[], T]) -> T:
    """Run `steps`; a refusal of this authenticated caller is recorded before it reaches the caller.

    Where the store's policy set moved meanwhile, a replica that follows it loads it and runs all steps again:
    no permit and no refusal is by a set that was not active when it was recorded.
    """
    if parts.follower is None:
        return _once(parts, case, steps, settled=True)
    blank = case.copy()
    for _ in range(MAX_MOVES):
        try:
            return _once(parts, case, steps, settled=False)
        except PolicyMoved:
            try:
                parts.follower.follow(parts)
            except AuthorityUnavailable as error:
                case.take(blank, None)
                _refuse(parts, case, error)
                raise
        case.take(blank, parts.rules)
        # The set that was loaded since has to let the client be who it authenticated as, by the one before.
        if case.client.attestation != InProcess.METHOD and not hosted_now(case.rules, case.client):
            lost = AttestationFailed("no rule of now lets this workload be what it says")
            _refuse(parts, case, lost)
            raise lost
    return _once(parts, case, steps, settled=True)


def _once(parts: Parts, case: Case, steps: Callable[[], T], *, settled: bool) -> T:
    """`settled`: record a refusal whatever the store decides by now."""
    try:
        done = steps()
    except StoreError:
        raise  # nothing can be written; nothing was issued
    except DeputizeError as error:
        if isinstance(error, PolicyMoved) and not settled:
            raise
        _refuse(parts, case, error, checked=not settled)
        _record_errors(parts, case, error.reference)
        raise
    _record_errors(parts, case, None)
    return done


def _refuse(parts: Parts, case: Case, error: DeputizeError, *, checked: bool = False) -> None:
    if error.reference is None:
        error.reference = new_reference()
    _record(parts, case, error, checked=checked)


def _record_errors(parts: Parts, case: Case, reference: str | None) -> None:
    """A policy whose condition errs denies; that it erred is an event of its own, for whoever wrote it."""
    erring = [ruling for ruling in case.panel.rulings if ruling.verdict.errors] if case.panel is not None else []
    if not erring:
        return
    policies = tuple(dict.fromkeys(name for ruling in erring for name in ruling.verdict.policies))
    detail: dict[str, Json] = {"decisions": [ruling_detail(ruling) for ruling in erring]}

    def operation(tx: WriteTx) -> None:
        event = case.event("policy.failed", "failed", int(parts.stamp(tx) * MILLIS))
        append(tx, replace(event, policies=policies, reference=reference, detail=detail))

    parts.store.write(operation)


def _record(parts: Parts, case: Case, error: DeputizeError, *, checked: bool) -> None:
    denial = error.denial if isinstance(error, Denied) else None
    policies = (denial.policy,) if denial is not None and denial.policy else ()

    def operation(tx: WriteTx) -> None:
        if checked:
            parts.check_policy(tx, case.rules)
        millis = int(parts.stamp(tx) * MILLIS)
        event = case.event(case.kind, "denied", millis)
        if isinstance(error, PolicyMoved):
            event = replace(event, policy_set=None)  # decided by none
        detail = dict(event.detail)
        if policies:
            detail["refused_by"] = list(policies)
        decided_by = policies or ("default-deny",)  # what permitted before it is told in the decisions
        append(
            tx,
            replace(event, code=error.code, reference=error.reference, policies=decided_by, detail=detail),
        )

    parts.store.write(operation)


def no_right(case: Case, right: Right, ruling: Ruling | None, *, rule: str, asked: str, hint: str = "") -> Denied:
    """A refusal by policy (`ruling`) or by a rule of delegation (`rule`, e.g. `session-ceiling`)."""
    registry = case.rules.registry
    policy = ruling.verdict.policies[0] if ruling is not None else rule
    need = enough(ruling.question, registry) if ruling is not None else ""
    return Denied(
        Denial(
            code="access_denied",
            policy=policy,
            asked=asked,
            enough=need or f"its session must hold {right}",
            hint=hint or None,
            reference=new_reference(),
            subject=case.node.sub if case.node else case.sub or "",
            chain=tuple(short_name(actor) for actor in case.node.actors) if case.node else (),
            policy_set=case.rules.policy.digest,
        )
    )


def nothing_left(case: Case, dropped: tuple[tuple[Right, str], ...], agent: str) -> Denied:
    """∅ after intersection: no empty session is opened. Names the first dropped right and what dropped it."""
    first = dropped[0] if dropped else None
    why = ", ".join(f"{right} ({policy})" for right, policy in dropped[:4]) or "nothing was asked for"
    refusal = case.panel.refusal() if case.panel is not None else None
    return Denied(
        Denial(
            code="invalid_scope",
            policy=first[1] if first else "empty-request",
            asked=f"{short_name(agent)} would hold nothing of what was asked for: {why}",
            enough=enough(refusal.question, case.rules.registry) if refusal is not None else "",
            reference=new_reference(),
            subject=case.node.sub if case.node else case.sub or "",
            chain=tuple(short_name(actor) for actor in case.node.actors) if case.node else (),
            policy_set=case.rules.policy.digest,
        )
    )


def ended(node: Node, state: State, asked: str) -> SessionEnded:
    """The session, or the one above it that ended."""
    code = {State.CLOSED: "session_closed", State.REVOKED: "session_revoked"}.get(state, "session_expired")
    return SessionEnded(
        Denial(
            code=code,
            policy=f"session-{state.value}",
            asked=f"{asked}: session {node.sid} of {short_name(node.agent)} is {state.value}",
            enough="a new session: authority.session(...)",
            reference=new_reference(),
            subject=node.sub,
            session=node.sid,
        )
    )


def unknown_agent(registry: Registry, name: str, under: str | None = None) -> UnknownAgent:
    """The refusal, with the lines that would register the agent and the name it may be a slip of."""
    shown = plain(name)[:64]
    near = registry.closest(name)
    where = f" ({near.path or registry.path}:{near.line})" if near is not None and near.line is not None else ""
    closest = f' Closest: "{near.name}"{where}' if near is not None else ""
    below = f" runs under {short_name(under)} but" if under else ""
    parent = f'and "{shown}" to agents.{short_name(under)}.delegate_to' if under else ""
    return UnknownAgent(
        Denial(
            code="unknown_agent",
            policy="registry",
            asked=f'"{shown}"{below} is not registered.{closest}',
            enough=f'[agents.{shown}]  use = {{ local = ["..."] }}  {parent}'.rstrip(),
            hint="everything missing in this run: authority.suggest()",
            reference=new_reference(),
        )
    )
