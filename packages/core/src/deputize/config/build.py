"""From a checked document to a `Registry`: every name has to exist, be distinct, and look distinct."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from deputize.config.blame import Blame
from deputize.config.document import AgentSection, Document, ResourceSection
from deputize.config.lines import KeyPath
from deputize.model.failure import InvalidRequest
from deputize.model.identity import agent_id, check_agent_name, check_trust_domain, confusable_key
from deputize.model.registry import AgentEntry, Registry, ResourceEntry
from deputize.model.resource import LOCAL_TOOLS, Right, check_resource, check_scope, tool_right

LOCAL: Final = "local"
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_GROUP = re.compile(r"[\x21-\x7e]{1,128}\Z")
_T = TypeVar("_T")


def checked(blame: Blame, key: KeyPath, check: Callable[[], _T]) -> _T:
    """Run a check of the model; its refusal becomes an error at `key`."""
    try:
        return check()
    except InvalidRequest as error:
        raise blame.error(key, str(error)) from None


def build_registry(document: Document, blame: Blame, namespaces: Sequence[str] = ()) -> Registry:
    """Resources first, then the agents that name them. Raises ConfigurationError.

    `namespaces`: those of the included files that were merged into `document`.
    """
    domain = document.authority.trust_domain
    checked(blame, ("authority", "trust_domain"), lambda: check_trust_domain(domain))
    by_alias = _resources(document, blame, namespaces)
    _distinct(blame, "agents", document.agents)
    for name in document.agents:
        if name == "*":
            message = "agents that the file does not name are refused; name each one (a wildcard is not supported)"
            raise blame.error(("agents", name), message)
        checked(blame, ("agents", name), partial(check_agent_name, name))
        checked(blame, ("agents", name), partial(agent_id, domain, name))
    entries = [_agent(name, section, by_alias, document, blame) for name, section in document.agents.items()]
    return Registry(
        trust_domain=domain,
        agents={entry.id: entry for entry in entries},
        resources={entry.url: entry for entry in by_alias.values()},
        path=blame.path,
        namespaces={name: _reach(name, by_alias, document) for name in namespaces},
    )


def _reach(namespace: str, resources: Mapping[str, ResourceEntry], document: Document) -> frozenset[Right]:
    """All that agents of a namespace may ever hold: its own resources, what others share with it, local tools."""
    rights: set[Right] = set(resources[LOCAL].rights)
    for alias, entry in resources.items():
        if alias.startswith(f"{namespace}/"):
            rights |= entry.rights
        elif alias in document.resources:
            shared = document.resources[alias].shared_with.get(namespace, ())
            rights.update(Right(entry.url, scope) for scope in shared)
    return frozenset(rights)


def _resources(document: Document, blame: Blame, namespaces: Sequence[str]) -> dict[str, ResourceEntry]:
    _distinct(blame, "resources", [*document.resources, *({LOCAL} - set(document.resources))])
    entries = {LOCAL: _local(document, blame)}
    urls = {LOCAL_TOOLS: LOCAL}
    for alias, section in document.resources.items():
        if alias == LOCAL:
            continue
        entry = _resource(alias, section, document, blame, namespaces)
        if entry.url in urls:
            raise blame.error(("resources", alias, "url"), f'is the url of "{urls[entry.url]}" already')
        urls[entry.url] = alias
        entries[alias] = entry
    return entries


def _resource(
    alias: str, section: ResourceSection, document: Document, blame: Blame, namespaces: Sequence[str]
) -> ResourceEntry:
    at: KeyPath = ("resources", alias)
    namespace, slash, rest = alias.partition("/")
    if not _ALIAS.match(rest if slash and namespace in namespaces else alias):
        raise blame.error(at, "an alias is 1-64 characters of A-Z a-z 0-9 _ -")
    if section.url is None:
        raise blame.error((*at, "url"), "is missing")
    url = section.url
    checked(blame, (*at, "url"), lambda: check_resource(url))
    if not section.scopes:
        raise blame.error((*at, "scopes"), "must name at least one scope")
    if section.allow_framework_tools:
        raise blame.error((*at, "allow_framework_tools"), "belongs to [resources.local]")
    if section.a2a is not None and section.agent is None:
        raise blame.error((*at, "a2a"), "is said of an agent's own resource: name it in `agent`")
    scopes = frozenset(_each(section.scopes, (*at, "scopes"), blame, check_scope))
    tools = {}
    for tool, needed in section.tools.items():
        key = (*at, "tools", tool)
        checked(blame, key, partial(tool_right, tool))
        if not needed:
            raise blame.error(key, "must name the scopes of one operation")
        tools[tool] = frozenset(_each(needed, key, blame, _member(scopes, f"is no scope of resources.{alias}")))
    return ResourceEntry(
        alias=alias,
        url=url,
        scopes=scopes,
        binding=section.binding,
        chain=section.chain,
        introspection=tuple(_each(section.introspection, (*at, "introspection"), blame, check_agent_name)),
        tools=tools,
        agent=_behind(section.agent, (*at, "agent"), document, blame),
        a2a=section.a2a,
    )


def _behind(name: str | None, at: KeyPath, document: Document, blame: Blame) -> str | None:
    """The id of the agent whose own audience a resource is."""
    if name is None:
        return None
    if name not in document.agents:
        raise blame.error(at, f'"{name[:64].encode("unicode_escape").decode()}" is no registered agent')
    return agent_id(document.authority.trust_domain, name)


def _local(document: Document, blame: Blame) -> ResourceEntry:
    section = document.resources.get(LOCAL, ResourceSection())
    at: KeyPath = ("resources", LOCAL)
    for key in sorted(section.model_fields_set - {"url", "allow_framework_tools"}):
        raise blame.error((*at, key), "local tools have none: their scopes are what agents name for `local`")
    if section.url not in {None, LOCAL_TOOLS}:
        raise blame.error((*at, "url"), f'is always "{LOCAL_TOOLS}"')
    allowed = _each(section.allow_framework_tools, (*at, "allow_framework_tools"), blame, tool_right)
    scopes = set()
    for name, agent in document.agents.items():
        for verb, table in (("use", agent.use), ("delegate", agent.delegate)):
            for tool in _each(table.get(LOCAL, []), ("agents", name, verb, LOCAL), blame, tool_right):
                scopes.add(tool_right(tool).scope)
    return ResourceEntry(alias=LOCAL, url=LOCAL_TOOLS, scopes=frozenset(scopes), framework_tools=frozenset(allowed))


def _agent(
    name: str, section: AgentSection, resources: Mapping[str, ResourceEntry], document: Document, blame: Blame
) -> AgentEntry:
    at: KeyPath = ("agents", name)
    domain, limit = document.authority.trust_domain, document.limits.session_ttl_max
    if section.session_ttl is not None and section.session_ttl > limit:
        raise blame.error((*at, "session_ttl"), "is above limits.session_ttl_max")
    onward = _each(section.delegate_to, (*at, "delegate_to"), blame, _member(document.agents, "is no registered agent"))
    return AgentEntry(
        id=agent_id(domain, name),
        name=name,
        opens=section.open,
        use=_rights(section.use, (*at, "use"), resources, blame),
        delegate=_rights(section.delegate, (*at, "delegate"), resources, blame),
        delegate_to=frozenset(agent_id(domain, other) for other in onward),
        groups=tuple(_each(section.groups, (*at, "groups"), blame, _check_group)),
        session_ttl=section.session_ttl,
        attestation=tuple(section.attestation),
        line=blame.line(at),
        path=blame.file(at),
    )


def _rights(
    table: Mapping[str, Sequence[str]], at: KeyPath, resources: Mapping[str, ResourceEntry], blame: Blame
) -> frozenset[Right]:
    rights: set[Right] = set()
    for alias, names in table.items():
        entry = resources.get(alias)
        if entry is None:
            raise blame.error((*at, alias), "is no resource; known: " + ", ".join(sorted(resources)))
        if alias == LOCAL:
            rights.update(tool_right(tool) for tool in names)
            continue
        known = _member(entry.scopes, f"is no scope of resources.{alias}")
        rights.update(Right(entry.url, scope) for scope in _each(names, (*at, alias), blame, known))
    return frozenset(rights)


def _each(values: Sequence[str], at: KeyPath, blame: Blame, check: Callable[[str], object]) -> list[str]:
    """Every value passes `check`, none is there twice."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        checked(blame, (*at, index), partial(check, value))
        if value in seen:
            raise blame.error((*at, index), "is named twice")
        seen.add(value)
    return list(values)


def _member(known: Iterable[str], message: str) -> Callable[[str], str]:
    names = frozenset(known)

    def check(value: str) -> str:
        if value not in names:
            shown = value[:64].encode("unicode_escape").decode()
            raise InvalidRequest(f'"{shown}" {message}')
        return value

    return check


def _check_group(name: str) -> str:
    if not _GROUP.match(name):
        raise InvalidRequest("a group is 1-128 printable ASCII characters without space")
    return name


def _distinct(blame: Blame, section: str, names: Iterable[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(confusable_key(name), name)
        if other != name:
            raise blame.error((section, name), f'looks like "{other}" to a reader; choose another name')
