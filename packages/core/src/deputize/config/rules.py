"""Users, impersonation and operators of a document, as values of the model."""

import datetime as dt
from functools import partial

from deputize.config.blame import Blame
from deputize.config.build import checked
from deputize.config.document import Document, ImpersonationSection, UsersSection
from deputize.config.lines import KeyPath
from deputize.model.failure import InvalidRequest
from deputize.model.identity import LOCAL_ALIAS, user_id
from deputize.model.registry import AgentEntry, Registry
from deputize.model.resource import Right, check_resource
from deputize.model.rules import ImpersonationGrant, OperatorRule, UserRule


def user_rules(document: Document, blame: Blame) -> tuple[UserRule, ...]:
    """`[[users]]`, aliases and issuers distinct. Raises ConfigurationError."""
    rules: list[UserRule] = []
    for index, section in enumerate(document.users):
        at: KeyPath = ("users", index)
        _check_user_section(section, at, blame)
        for other in rules:
            if section.alias == other.alias:
                raise blame.error((*at, "alias"), "is the alias of another issuer")
            if section.issuer == other.issuer:
                raise blame.error((*at, "issuer"), f'is listed already, as "{other.alias}"')
        values = section.model_dump() | {"audience": tuple(section.audience), "tokens": tuple(section.tokens)}
        rules.append(UserRule(**values, line=blame.line(at)))
    return tuple(rules)


def _check_user_section(section: UsersSection, at: KeyPath, blame: Blame) -> None:
    checked(blame, (*at, "issuer"), lambda: check_issuer(section.issuer))
    checked(blame, (*at, "alias"), lambda: user_id(section.alias, "x"))
    if section.alias == LOCAL_ALIAS:
        raise blame.error((*at, "alias"), '"local" is for users that the host asserts')
    if "" in section.audience:
        raise blame.error((*at, "audience"), "must not be empty")


def impersonation_grants(document: Document, registry: Registry, blame: Blame) -> tuple[ImpersonationGrant, ...]:
    """`[[impersonation]]`. Raises ConfigurationError."""
    return tuple(_grant(index, section, registry, blame) for index, section in enumerate(document.impersonation))


def _grant(index: int, section: ImpersonationSection, registry: Registry, blame: Blame) -> ImpersonationGrant:
    at: KeyPath = ("impersonation", index)
    agent = registered(registry, section.agent, (*at, "agent"), blame)
    alias, _, sub = section.user.partition("|")
    user = checked(blame, (*at, "user"), lambda: user_id(alias, sub))
    resource = checked(blame, (*at, "resource"), lambda: registry.resource(section.resource))
    rights = frozenset(Right(resource.url, scope) for scope in section.scopes)
    for right in rights:
        if not registry.knows(right):
            raise blame.error((*at, "scopes"), f"names a scope that resources.{resource.alias} has not")
    if section.expires.tzinfo is None:
        raise blame.error((*at, "expires"), "needs an offset, such as 2026-12-31T00:00:00Z")
    return ImpersonationGrant(
        id=f"{agent.name}.{index + 1}",
        agent=agent.id,
        user=user,
        rights=rights,
        expires=int(section.expires.astimezone(dt.UTC).timestamp()),
        reason=section.reason,
        line=blame.line(at),
    )


def operator_rules(document: Document, blame: Blame) -> tuple[OperatorRule, ...]:
    """`[[operators]]`, issuers distinct. Raises ConfigurationError."""
    rules: list[OperatorRule] = []
    for index, section in enumerate(document.operators):
        at: KeyPath = ("operators", index)
        checked(blame, (*at, "issuer"), partial(check_issuer, section.issuer))
        if any(section.issuer == other.issuer for other in rules):
            raise blame.error((*at, "issuer"), "is listed already; one entry names all roles of an issuer")
        for role, names in section.groups.items():
            if "" in names:
                raise blame.error((*at, "groups", role), "an empty name would stand for no group in particular")
        if "" in section.audience:
            raise blame.error((*at, "audience"), "must not be empty")
        groups = {role: tuple(names) for role, names in section.groups.items()}
        values = section.model_dump() | {"audience": tuple(section.audience), "groups": groups}
        rules.append(OperatorRule(**values, line=blame.line(at)))
    return tuple(rules)


def check_issuer(issuer: str) -> str:
    """An issuer is an https URL (http on loopback), compared byte for byte. Raises InvalidRequest."""
    if not issuer.startswith(("https://", "http://")):
        raise InvalidRequest("an issuer is an https URL; http is for loopback only")
    try:
        return check_resource(issuer)
    except InvalidRequest as error:
        raise InvalidRequest(str(error).replace("resource refused", "issuer refused")) from None


def registered(registry: Registry, name: str, at: KeyPath, blame: Blame) -> AgentEntry:
    """The agent of that name. Raises ConfigurationError at `at`."""
    entry = registry.agent(name)
    if entry is None:
        near = registry.closest(name)
        hint = f'; closest: "{near.name}"' if near else ""
        raise blame.error(at, f"is no registered agent{hint}")
    return entry
