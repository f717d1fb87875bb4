"""The smallest line of configuration that would permit what was refused, for the one who may write it."""

from collections.abc import Iterable

from deputize.model.decision import Question
from deputize.model.identity import short_name
from deputize.model.registry import AgentEntry, Registry
from deputize.model.resource import LOCAL_TOOLS, TOOL_SCOPE_PREFIX, Right
from deputize.model.session import Mode

_OVERRULED = "the registry permits it; a policy of your own forbids it or failed: see `by`"


def enough(question: Question, registry: Registry) -> str:
    """What to write, and where: `agents.researcher.use.crm = ["crm:read", "crm:write"]   in deputize.toml:41`.

    Several things that are missing are joined by "and". Advice for people, never a decision.
    """
    if not registry.knows(question.right):
        return _unknown_right(question.right, registry)
    if question.action == "grant":
        return _grant(question)
    agent = registry.agents.get(question.principal)
    if agent is None:
        return f"[agents.{_key(short_name(question.principal))}]{_in(registry)}"
    if question.action == "impersonate":
        return _impersonate(question, agent, registry)
    if question.action == "open" and question.context.get("mode") == Mode.SELF.value and "from" in question.context:
        return (
            f'a policy of your own that permits "open" for {agent.name} where context.mode == "self": '
            "no line of the registry lets an agent act on its own behalf in another's tree"
        )
    missing = list(_missing(question, agent, registry))
    return " and ".join(missing) if missing else _OVERRULED


def _missing(question: Question, agent: AgentEntry, registry: Registry) -> Iterable[str]:
    right = question.right
    if question.action == "use":
        if right not in agent.use:
            yield _table_line(agent, "use", agent.use, right, registry)
    elif question.action == "delegate":
        if right not in agent.delegate:
            yield _table_line(agent, "delegate", agent.delegate, right, registry)
        yield from _target(agent, str(question.context.get("to", "")), registry)
    else:
        if right not in agent.rights:
            yield _table_line(agent, "use", agent.use, right, registry)
        giver = question.context.get("from")
        if giver is None:
            if not agent.opens:
                yield f"agents.{_key(agent.name)}.open = true{_in(registry, agent)}"
        else:
            source = registry.agents.get(str(giver))
            if source is not None:
                yield from _target(source, agent.id, registry)


def _target(agent: AgentEntry, to: str, registry: Registry) -> Iterable[str]:
    if to not in agent.delegate_to:
        names = _list(short_name(name) for name in {*agent.delegate_to, to})
        yield f"agents.{_key(agent.name)}.delegate_to = {names}{_in(registry, agent)}"


def _table_line(agent: AgentEntry, verb: str, held: frozenset[Right], right: Right, registry: Registry) -> str:
    alias = registry.resources[right.resource].alias
    scopes = {item.scope for item in held if item.resource == right.resource} | {right.scope}
    if right.resource == LOCAL_TOOLS:
        scopes = {scope.removeprefix(TOOL_SCOPE_PREFIX) for scope in scopes}
    return f"agents.{_key(agent.name)}.{verb}.{alias} = {_list(scopes)}{_in(registry, agent)}"


def _unknown_right(right: Right, registry: Registry) -> str:
    entry = registry.resources.get(right.resource)
    if entry is None:
        return f"a [resources.<alias>] with this url{_in(registry)}"
    if right.resource == LOCAL_TOOLS:
        tool = right.scope.removeprefix(TOOL_SCOPE_PREFIX)
        return f"agents.<name>.use.local = {_list([tool])}{_in(registry)}"
    return f"resources.{entry.alias}.scopes = {_list({*entry.scopes, right.scope})}{_in(registry)}"


def _grant(question: Question) -> str:
    alias = question.principal.partition("|")[0]
    agent = short_name(str(question.context.get("agent", "")))
    return (
        f'a policy of your own that permits "grant" to this user for {agent}; or [[users]] with alias = "{alias}", '
        'whose users come with a token; or authority.users = "unrestricted"'
    )


def _impersonate(question: Question, agent: AgentEntry, registry: Registry) -> str:
    alias = registry.resources[question.right.resource].alias
    return (
        f'[[impersonation]] with agent = "{agent.name}", the user, resource = "{alias}", '
        f"scopes = {_list([question.right.scope])}, expires and reason{_in(registry)}, "
        'and a policy of your own that permits "impersonate"'
    )


def _in(registry: Registry, agent: AgentEntry | None = None) -> str:
    path = (agent.path if agent is not None else "") or registry.path
    if not path:
        return ""
    line = f":{agent.line}" if agent is not None and agent.line is not None else ""
    return f"   in {path}{line}"


def _list(names: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in sorted(names)) + "]"


def _key(name: str) -> str:
    """A TOML key: bare where it can be."""
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'
