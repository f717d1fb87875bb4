"""Dry runs and suggestions: what would be decided, hop by hop, and what would have to be registered."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from deputize.audit.record import open_body
from deputize.authority.panel import Panel
from deputize.authority.parts import Parts
from deputize.model.event import Json, Record
from deputize.model.failure import InvalidRequest
from deputize.model.identity import check_agent_name, short_name
from deputize.model.registry import Registry
from deputize.model.resource import LOCAL_TOOLS, TOOL_SCOPE_PREFIX, Right, check_scope, rights_of
from deputize.model.session import Evidence, Mode
from deputize.policy import enough
from deputize.store.protocol import ReadTx

_REFUSALS = ("tool.denied", "exchange.denied", "handoff.denied", "session.denied")
HEADER = "# What would have allowed every refusal so far. Review it, and cut what should stay refused."
_LIMIT = 10_000  # refusals that are looked at
# Tools that LangChain's and deepagents' own middleware gives to agents: plans, and files in a graph's state. Theirs
# that runs programs is not among them: who may do that is said for each agent.
FRAMEWORK_TOOLS = frozenset({"write_todos", "ls", "read_file", "write_file", "edit_file", "glob", "grep"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One question of the dry run. `enough`: what would permit it, where it is refused."""

    step: str
    right: Right
    allowed: bool
    policies: tuple[str, ...]
    enough: str

    def to_dict(self) -> dict[str, object]:
        """As data, on the wire and in a terminal."""
        return {
            "step": self.step,
            "resource": self.right.resource,
            "scope": self.right.scope,
            "allowed": self.allowed,
            "policies": list(self.policies),
            "enough": self.enough,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A dry run. Nothing was issued."""

    allowed: bool
    hops: tuple[Hop, ...]

    def __str__(self) -> str:
        if not self.hops:
            return "permit  a framework's own tool: it needs no right  (registry.framework-tools)"
        return "\n".join(
            f"{'permit' if hop.allowed else 'refuse'}  {hop.step}: {hop.right}  ({', '.join(hop.policies)})"
            + (f"\n        enough  {hop.enough}" if hop.enough else "")
            for hop in self.hops
        )


def explain(
    parts: Parts,
    *,
    chain: Sequence[str],
    tool: str | None,
    scopes: Sequence[str],
    resource: str | None,
    user: str | None,
) -> Explanation:
    """Ask what each hop of `chain` (agent ids, first to last) would be asked for these rights."""
    if not chain:
        raise InvalidRequest("a chain names one agent at least")
    registry = parts.rules.registry
    unknown = [agent for agent in chain if registry.agent(agent) is None]
    if unknown:
        raise InvalidRequest(f"not registered: {short_name(unknown[0])[:64]}", code="unknown_agent")
    rights = sorted(_rights(registry, tool, scopes, resource))
    hops = [hop for right in rights for hop in _hops(parts, chain, right, tool, user)]
    return Explanation(allowed=all(hop.allowed for hop in hops), hops=tuple(hops))


def _rights(registry: Registry, tool: str | None, scopes: Sequence[str], resource: str | None) -> frozenset[Right]:
    if tool is not None and not scopes:
        return registry.tool(tool, resource).rights
    if resource is None or not scopes:
        raise InvalidRequest("name a tool, or a resource and scopes")
    return rights_of(registry.resource(resource).url, scopes)


def _hops(parts: Parts, chain: Sequence[str], right: Right, tool: str | None, user: str | None) -> list[Hop]:
    sub = user or chain[0]
    panel = Panel(
        engine=parts.rules.policy,
        now=int(parts.now()),
        sub=sub,
        mode=Mode.ON_BEHALF_OF if user else Mode.SELF,
        evidence=Evidence.ASSERTED if user else Evidence.AGENT,
        attestation=parts.attested.method,
        depth=len(chain) - 1,
        ttl=parts.limits.session_ttl,
    )
    steps: list[str] = []
    if user is not None:
        panel.subject(right, chain[0])
        steps.append(f"{user} lets {short_name(chain[0])} act")
    panel.open(chain[0], right)
    steps.append(f"{short_name(chain[0])} opens a session")
    panel.mode = Mode.ON_BEHALF_OF
    for source, to in itertools.pairwise(chain):
        panel.delegate(source, right, to=to)
        panel.open(to, right, source=source)
        panel.subject(right, to)
        names = f"{short_name(source)} > {short_name(to)}"
        steps += [f"{names} hands on", f"{names} receives", f"{sub} lets {short_name(to)} act"]
    binding = parts.rules.registry.resource(right.resource).binding
    panel.use(chain[-1], right, tool=tool, bound=binding != "bearer")
    steps.append(f"{short_name(chain[-1])} uses")
    registry = parts.rules.registry
    return [
        Hop(
            step=step,
            right=right,
            allowed=ruling.verdict.allowed,
            policies=ruling.verdict.policies,
            enough="" if ruling.verdict.allowed else enough(ruling.question, registry),
        )
        for step, ruling in zip(steps, panel.rulings, strict=True)
    ]


def suggest(parts: Parts, session: str | None) -> str:
    """TOML for what was refused: per agent the scopes that it tried to use, or to hand on and to whom."""
    needs: dict[tuple[str, str], dict[str, set[str]]] = {}
    hand_offs: dict[str, set[str]] = {}
    unknown: set[str] = set()
    registry = parts.rules.registry
    framework: set[str] = set()
    for record in parts.store.read(_refusals):
        body = open_body(record)
        if session is not None and session not in {body.get("sid"), body.get("txn")}:
            continue
        _collect(registry, body, needs, hand_offs, unknown)
    local = registry.resources[LOCAL_TOOLS].alias
    for wanted in needs.values():
        framework |= wanted.get(local, set()) & FRAMEWORK_TOOLS
        wanted[local] = wanted.get(local, set()) - FRAMEWORK_TOOLS
    return (
        _toml(registry, needs, hand_offs, unknown) + _framework_toml(registry, framework) or "# nothing was refused\n"
    )


def _refusals(tx: ReadTx) -> list[Record]:
    return [record for kind in _REFUSALS for record in tx.find(type=kind, limit=_LIMIT)]


def _collect(
    registry: Registry,
    body: dict[str, Json],
    needs: dict[tuple[str, str], dict[str, set[str]]],
    hand_offs: dict[str, set[str]],
    unknown: set[str],
) -> None:
    agent = short_name(str(body.get("agent", "")))
    detail = body.get("detail")
    named = detail.get("to") if isinstance(detail, dict) else None
    to = _fit(named, check_agent_name)
    if body.get("code") == "unknown_agent":
        unknown.update(_fit(agent, check_agent_name) if named is None else to)
        if to:
            hand_offs.setdefault(agent, set()).update(to)
        return
    entry = registry.resources.get(str(body.get("resource")))
    names = _fit(body.get("scopes"), check_scope)
    if body.get("code") == "access_denied" and entry is not None and names:
        if entry.url == LOCAL_TOOLS:
            names = {name.removeprefix(TOOL_SCOPE_PREFIX) for name in names}
        needs.setdefault((agent, "use"), {}).setdefault(entry.alias, set()).update(names)
    if body.get("code") == "invalid_scope" and to:
        hand_offs.setdefault(agent, set()).update(to)


def _fit(told: Json, check: Callable[[str], str]) -> set[str]:
    """The names in a record that may stand in a configuration: others were made up, and are no text for a file."""
    found: set[str] = set()
    for item in told if isinstance(told, list) else [told]:
        if isinstance(item, str):
            with suppress(InvalidRequest):
                found.add(check(short_name(item)))
    return found


def _toml(
    registry: Registry,
    needs: dict[tuple[str, str], dict[str, set[str]]],
    hand_offs: dict[str, set[str]],
    unknown: set[str],
) -> str:
    needs = {key: {alias: names for alias, names in wanted.items() if names} for key, wanted in needs.items()}
    names = sorted({agent for (agent, _), wanted in needs.items() if wanted} | set(hand_offs) | unknown)
    lines = [HEADER] if names else []
    for name in names:
        lines.append(f"[agents.{name}]" if name.replace("-", "").replace("_", "").isalnum() else f'[agents."{name}"]')
        wanted = needs.get((name, "use"), {})
        entry = registry.agent(name)
        held: dict[str, set[str]] = {}
        for right in entry.use if entry is not None else ():
            alias = registry.resource(right.resource).alias
            held.setdefault(alias, set()).add(right.scope.removeprefix(TOOL_SCOPE_PREFIX))
        if wanted:
            both = {alias: held.get(alias, set()) | wanted.get(alias, set()) for alias in {*held, *wanted}}
            inside = ", ".join(f"{alias} = {_list(scopes)}" for alias, scopes in sorted(both.items()))
            lines.append(f"use = {{ {inside} }}")
        if name in hand_offs:
            before = {short_name(to) for to in entry.delegate_to} if entry is not None else set()
            lines.append(f"delegate_to = {_list(before | hand_offs[name])}")
        lines.append("")
    return "\n".join(lines)


def _framework_toml(registry: Registry, names: set[str]) -> str:
    if not names:
        return ""
    both = names | registry.resources[LOCAL_TOOLS].framework_tools
    return f"# A framework's own tools, for every agent.\n[resources.local]\nallow_framework_tools = {_list(both)}\n"


def _list(items: set[str]) -> str:
    return "[" + ", ".join(f'"{item}"' for item in sorted(items)) + "]"
