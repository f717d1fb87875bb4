"""`include`: files of teams, each bound to its own namespace, merged into the main file under full names.

An included file writes its own names short. Here they become `<namespace>/<name>`, and what it says of others
is held to what those let it: a resource by `shared_with`, an agent by `accept_from`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from deputize.config.blame import Blame, MergedBlame
from deputize.config.build import LOCAL, checked
from deputize.config.document import AgentSection, Document, ResourceSection, TeamDocument
from deputize.config.files import Files, folder_of
from deputize.config.lines import KeyPath, key_lines
from deputize.config.toml import parse_toml
from deputize.config.validate import checked_shape
from deputize.model.failure import InvalidRequest
from deputize.model.identity import check_agent_name, confusable_key, everyone


@dataclass(frozen=True, slots=True)
class Team:
    """One included file. `name` is that of the file."""

    namespace: str
    document: TeamDocument
    blame: Blame
    name: str


@dataclass(frozen=True, slots=True)
class Merged:
    """The main file with what the included files say, under full names."""

    document: Document
    blame: Blame
    teams: tuple[Team, ...]

    @property
    def namespaces(self) -> tuple[str, ...]:
        """In the order of the files."""
        return tuple(team.namespace for team in self.teams)


def merge(document: Document, blame: Blame, files: Files) -> Merged:
    """Read and merge what `include` names. Raises ConfigurationError with the file, line and key of the culprit."""
    if not document.include:
        _check_gifts(document, blame, ())
        return Merged(document, blame, ())
    teams = _read(document, blame, files)
    for name in document.agents:
        if any(name.startswith(f"{team.namespace}/") for team in teams):
            raise blame.error(("agents", name), "is of a namespace that has a file of its own; write it there")
    homes: dict[KeyPath, tuple[Blame, str]] = {}
    agents, resources = dict(document.agents), dict(document.resources)
    for team in teams:
        for alias, resource in team.document.resources.items():
            homes["resources", f"{team.namespace}/{alias}"] = (team.blame, alias)
            resources[f"{team.namespace}/{alias}"] = _owned(team, resource)
        for name, agent in team.document.agents.items():
            homes["agents", f"{team.namespace}/{name}"] = (team.blame, name)
            agents[f"{team.namespace}/{name}"] = _full(team, agent, document)
    merged = document.model_copy(update={"agents": agents, "resources": resources})
    whole = MergedBlame(blame, homes)
    _check_gifts(merged, whole, tuple(team.namespace for team in teams))
    for team in teams:
        for name in team.document.agents:
            _check_borders(team.namespace, f"{team.namespace}/{name}", merged, whole)
    return Merged(merged, whole, tuple(teams))


def _read(document: Document, blame: Blame, files: Files) -> list[Team]:
    teams: list[Team] = []
    seen: dict[str, str] = {}
    for index, pattern in enumerate(document.include):
        key: KeyPath = ("include", index)
        plain = PurePosixPath(pattern)
        if plain.is_absolute() or ".." in plain.parts:
            raise blame.error(key, "is a path below the folder of this file")
        names = files.matching(pattern, "")
        if not names:
            raise blame.error(key, "no such file")
        for name in names:
            if not files.inside(name, ""):
                raise blame.error(key, "leads out of the folder of this file")
            if seen.setdefault(files.same(name), pattern) is pattern:
                teams.append(_team(name, files, teams))
    return teams


def _team(name: str, files: Files, others: list[Team]) -> Team:
    text = files.read(name)
    data = parse_toml(text, files.shown(name))
    blame = Blame(files.shown(name), key_lines(text))
    for key in data:
        if key in Document.model_fields and key not in TeamDocument.model_fields:
            raise blame.error((key,), "belongs to the main file; an included one speaks of its own namespace")
    document = checked_shape(TeamDocument, data, blame)
    namespace = document.namespace
    checked(blame, ("namespace",), partial(_check_namespace, namespace))
    for other in others:
        if confusable_key(other.namespace) == confusable_key(namespace):
            same = "is" if other.namespace == namespace else "looks like"
            raise blame.error(("namespace",), f"{same} the namespace of {other.blame.path}")
    for section, keys in (("agents", document.agents), ("resources", document.resources)):
        for key in keys:
            if "/" in key or key == LOCAL:
                raise blame.error((section, key), "is no name of its own: without namespace, and not `local`")
    return Team(namespace, document, blame, name)


def _check_namespace(namespace: str) -> str:
    if "/" in namespace:
        raise InvalidRequest("a namespace is one part, without /")
    return check_agent_name(namespace)


def _full(team: Team, agent: AgentSection, main: Document) -> AgentSection:
    """What the team wrote short, in full."""

    def alias(name: str) -> str:
        return name if name == LOCAL else _named(team.namespace, name, team.document.resources, main.resources)

    def other(name: str) -> str:
        return _named(team.namespace, name, team.document.agents, main.agents)

    return agent.model_copy(
        update={
            "use": {alias(name): scopes for name, scopes in agent.use.items()},
            "delegate": {alias(name): scopes for name, scopes in agent.delegate.items()},
            "delegate_to": [other(name) for name in agent.delegate_to],
            "groups": [*(f"{team.namespace}/{group}" for group in agent.groups), everyone(team.namespace)],
        }
    )


def _owned(team: Team, resource: ResourceSection) -> ResourceSection:
    """A team's resource may be the audience of its own agents alone."""
    if resource.agent is None:
        return resource
    return resource.model_copy(update={"agent": f"{team.namespace}/{resource.agent}"})


def _named(namespace: str, name: str, own: Mapping[str, object], main: Mapping[str, object]) -> str:
    """Its own before the main file's; another namespace's by its full name alone."""
    return name if "/" in name or (name not in own and name in main) else f"{namespace}/{name}"


def _check_borders(namespace: str, name: str, merged: Document, blame: Blame) -> None:
    """What an agent of a team is given beyond its namespace, its owner must have given."""
    agent = merged.agents[name]
    for verb, table in (("use", agent.use), ("delegate", agent.delegate)):
        for alias, scopes in table.items():
            section = merged.resources.get(alias)
            if section is None or alias.startswith(f"{namespace}/"):  # unknown ones are named by config.build
                continue
            for index, scope in enumerate(scopes):
                if alias != LOCAL and not _shared(section, namespace, scope):
                    wanted = f'resources.{alias}.shared_with.{namespace} = ["{scope[:64]}"]'
                    raise blame.error(("agents", name, verb, alias, index), f"is not shared with it; enough: {wanted}")
    for index, other in enumerate(agent.delegate_to):
        target = merged.agents.get(other)
        if target is None or other.startswith(f"{namespace}/") or name in target.accept_from:
            continue
        wanted = f'agents."{other[:128]}".accept_from = ["{name}"]'
        raise blame.error(("agents", name, "delegate_to", index), f"does not take hand-offs from it; enough: {wanted}")


def _shared(section: ResourceSection, namespace: str, scope: str) -> bool:
    return scope in section.shared_with.get(namespace, ())


def _check_gifts(document: Document, blame: Blame, namespaces: tuple[str, ...]) -> None:
    """What is shared and accepted names somebody who is there: a slip would give nothing, silently."""
    for alias, section in document.resources.items():
        for namespace, scopes in section.shared_with.items():
            at: KeyPath = ("resources", alias, "shared_with", namespace)
            if namespace not in namespaces:
                raise blame.error(at, "no included file has this namespace")
            for index, scope in enumerate(scopes):
                if scope not in (section.scopes or ()):
                    raise blame.error((*at, index), "is no scope of this resource")
    for name, agent in document.agents.items():
        for index, other in enumerate(agent.accept_from):
            if other not in document.agents or other.partition("/")[0] not in namespaces:
                key: KeyPath = ("agents", name, "accept_from", index)
                raise blame.error(key, "is no agent of an included file, by its full name")


def policy_folder(team: Team) -> str:
    """Where a team's own policy files lie: beside its file or below."""
    return folder_of(team.name)
