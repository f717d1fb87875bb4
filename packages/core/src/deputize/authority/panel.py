"""The questions of one request, asked with one context and kept with their answers.

A user's rights and an agent's rights must both permit; where the subject is an agent, its own right to
open stands for the user's (SEMANTICS, "Narrowing").
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from deputize.model.decision import Action, ContextValue, Narrowing, PolicyEngine, Question, Ruling, Verdict
from deputize.model.event import Json
from deputize.model.identity import is_user
from deputize.model.resource import Right
from deputize.model.session import Evidence, Mode, Node


@dataclass(slots=True, kw_only=True)
class Panel:
    """Asks the engine and remembers. `ttl` and `depth` are those of what would come to be; `now` in seconds."""

    engine: PolicyEngine
    now: int
    sub: str
    mode: Mode
    evidence: Evidence
    attestation: str
    depth: int
    ttl: int
    acr: str | None = None  # of the user, where their issuer said
    groups: tuple[str, ...] = ()
    linked_by: str | None = None  # whose session the subject, an agent, linked itself into
    rulings: list[Ruling] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        engine: PolicyEngine,
        node: Node,
        *,
        now: int,
        ttl: int,
        linked_by: str | None,
        groups: tuple[str, ...],
    ) -> "Panel":
        """For a request out of an existing session; `groups` are those of its subject."""
        return cls(
            engine=engine,
            now=now,
            sub=node.sub,
            mode=node.mode,
            evidence=node.evidence,
            attestation=node.attestation,
            depth=node.depth,
            ttl=ttl,
            acr=node.sign_in.acr,
            groups=groups,
            linked_by=linked_by,
        )

    def _ask(self, action: Action, principal: str, right: Right, context: dict[str, ContextValue]) -> Verdict:
        question = Question(
            action=action,
            principal=principal,
            right=right,
            context=context,
            groups=self.groups if action == "grant" else (),
        )
        verdict = self.engine.decide(question)
        self.rulings.append(Ruling(question=question, verdict=verdict))
        return verdict

    def _common(self) -> dict[str, ContextValue]:
        context: dict[str, ContextValue] = {
            "mode": self.mode.value,
            "evidence": self.evidence.value,
            "attestation": self.attestation,
            "depth": self.depth,
            "ttl": self.ttl,
            "time": self.now,
        }
        if is_user(self.sub):
            context["user"] = self.sub
        return self._with_acr(context)

    def _with_acr(self, context: dict[str, ContextValue]) -> dict[str, ContextValue]:
        if self.acr is not None:
            context["acr"] = self.acr
        return context

    def subject(self, right: Right, agent: str) -> Verdict:
        """May this subject's authority be in a session of this agent."""
        if is_user(self.sub):
            return self.grant(self.sub, agent, right)
        context: dict[str, ContextValue] = {**self._common(), "mode": Mode.SELF.value}
        if self.linked_by is not None:
            context["from"] = self.linked_by
        return self._ask("open", self.sub, right, context)

    def grant(self, user: str, agent: str, right: Right) -> Verdict:
        """May this user's authority be in a session of this agent."""
        context: dict[str, ContextValue] = {
            "agent": agent,
            "evidence": self.evidence.value,
            "time": self.now,
        }
        return self._ask("grant", user, right, self._with_acr(context))

    def open(self, agent: str, right: Right, *, source: str | None = None) -> Verdict:
        """May this agent hold the right, started by a user or itself, or handed on by `source`."""
        context = self._common()
        if source is not None:
            context["from"] = source
        return self._ask("open", agent, right, context)

    def delegate(self, agent: str, right: Right, *, to: str) -> Verdict:
        """May this agent pass the right on to `to`."""
        return self._ask("delegate", agent, right, {**self._common(), "to": to})

    def use(self, agent: str, right: Right, *, tool: str | None, bound: bool) -> Verdict:
        """May this agent use the right itself, now."""
        context = {**self._common(), "bound": bound}
        if tool is not None:
            context["tool"] = tool
        return self._ask("use", agent, right, context)

    def impersonate(self, agent: str, right: Right, *, user: str, reason: str, grant: str) -> Verdict:
        """May this agent appear as `user` for this right."""
        context: dict[str, ContextValue] = {
            "user": user,
            "reason": reason,
            "grant": grant,
            "attestation": self.attestation,
            "ttl": self.ttl,
            "time": self.now,
        }
        return self._ask("impersonate", agent, right, context)

    def refusal(self) -> Ruling | None:
        """The last answer, where it was no."""
        last = self.rulings[-1] if self.rulings else None
        return last if last is not None and not last.verdict.allowed else None

    def policies(self) -> tuple[str, ...]:
        """The ids that decided, in the order asked, each once."""
        return tuple(dict.fromkeys(p for ruling in self.rulings for p in ruling.verdict.policies))

    def detail(self) -> list[Json]:
        """The rulings as the record keeps them: enough to explain them later and to try other policies."""
        return [ruling_detail(ruling) for ruling in self.rulings]


def ruling_detail(ruling: Ruling) -> Json:
    """One ruling as plain data."""
    question, verdict = ruling.question, ruling.verdict
    row: dict[str, Json] = {
        "action": question.action,
        "principal": question.principal,
        "resource": question.right.resource,
        "scope": question.right.scope,
        "context": dict(question.context),
        "allowed": verdict.allowed,
        "policies": list(verdict.policies),
    }
    if question.groups:
        row["groups"] = list(question.groups)
    if verdict.errors:
        row["errors"] = list(verdict.errors)
    if verdict.nearest:
        row["nearest"] = list(verdict.nearest)
    return row


def narrow_root(panel: Panel, agent: str, requested: Iterable[Right], cap: frozenset[Right] | None) -> Narrowing:
    """C = requested ∩ {P(u, grant) ∧ P(a, open)} ∩ what the user's own token permits."""
    kept: set[Right] = set()
    dropped: list[tuple[Right, str]] = []
    for right in sorted(requested):
        if cap is not None and right not in cap:
            dropped.append((right, "subject-token"))
            continue
        verdict = panel.subject(right, agent) if is_user(panel.sub) else None
        if verdict is None or verdict.allowed:
            verdict = panel.open(agent, right)
        _sort(right, verdict, kept, dropped)
    return Narrowing(frozenset(kept), tuple(dropped))


def narrow_child(
    panel: Panel,
    parent: Node,
    to: str,
    requested: Iterable[Right],
    *,
    giver: Panel | None = None,
    onward: frozenset[Right] | None = None,
) -> Narrowing:
    """C(b) = C(s) ∩ requested ∩ {P(agent(s), delegate, to=b) ∧ P(b, open, from=agent(s)) ∧ P(u, grant)}.

    `giver` is asked whether it may hand on, where its context is another; by an invitation C(s) is cut to `onward`.
    """
    ceiling, rule = (parent.ceiling, "parent-ceiling") if onward is None else (onward & parent.ceiling, "invitation")
    kept: set[Right] = set()
    dropped: list[tuple[Right, str]] = []
    for right in sorted(requested):
        if right not in ceiling:
            dropped.append((right, rule))
            continue
        verdict = (giver or panel).delegate(parent.agent, right, to=to)
        if verdict.allowed:
            verdict = panel.open(to, right, source=parent.agent)
        if verdict.allowed:
            verdict = panel.subject(right, to)
        _sort(right, verdict, kept, dropped)
    return Narrowing(frozenset(kept), tuple(dropped))


def narrow_link(panel: Panel, cause: Node, agent: str, requested: Iterable[Right]) -> Narrowing:
    """C = requested ∩ {P(b, open, mode=self, from=agent(s))}: the agent's own rights, no subset of C(s)."""
    kept: set[Right] = set()
    dropped: list[tuple[Right, str]] = []
    for right in sorted(requested):
        _sort(right, panel.open(agent, right, source=cause.agent), kept, dropped)
    return Narrowing(frozenset(kept), tuple(dropped))


def _sort(right: Right, verdict: Verdict, kept: set[Right], dropped: list[tuple[Right, str]]) -> None:
    if verdict.allowed:
        kept.add(right)
    else:
        dropped.append((right, verdict.policies[0]))
