"""`[[attestation]]` of a document, as values of the model: no two rules may take one evidence for two workloads."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from deputize.config.blame import Blame
from deputize.config.build import checked
from deputize.config.document import AttestationSection, Document
from deputize.config.lines import KeyPath
from deputize.config.rules import check_issuer, registered
from deputize.model.claims_match import check_value, overlap
from deputize.model.failure import InvalidRequest
from deputize.model.identity import check_trust_domain, workload_id
from deputize.model.registry import Registry
from deputize.model.rules import AttestationRule

_SCHEME: Final = "spiffe://"
_WORKLOAD_API: Final = "unix:"
_URLS: Final = ("https://", "http://")
_NUMBER: Final = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_OVERFLOW: Final = "65534"  # what the kernel calls every user that this namespace has no number for
_TOKENS: Final = frozenset({"issuer", "audience", "jwks", "ca_file", "private_network", "single_use"})
_ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "kubernetes": _TOKENS | {"match"},
    "oidc": _TOKENS | {"match"},
    "spiffe": _TOKENS | {"match"},
    "client_metadata": frozenset({"issuer", "audience", "single_use"}),
    "unix": frozenset({"match"}),
    "join": frozenset(),
    "in_process": frozenset(),
}
_OWN_KEYS: Final = frozenset({"spiffe", "client_metadata"})  # not had as an OpenID issuer's are
_ALWAYS: Final = frozenset({"method", "workload", "agents"})


def attestation_rules(document: Document, registry: Registry, blame: Blame) -> tuple[AttestationRule, ...]:
    """Agents and workloads as ids; no evidence proves two workloads (WL-07). Raises ConfigurationError."""
    rules: list[AttestationRule] = []
    for index, section in enumerate(document.attestation):
        rule = _rule(index, section, registry, blame)
        for other in rules:
            _check_pair(other, rule, ("attestation", index), blame)
        rules.append(rule)
    return tuple(rules)


def _rule(index: int, section: AttestationSection, registry: Registry, blame: Blame) -> AttestationRule:
    at: KeyPath = ("attestation", index)
    agents = [registered(registry, name, (*at, "agents", place), blame).id for place, name in enumerate(section.agents)]
    if len(set(agents)) < len(agents):
        raise blame.error((*at, "agents"), "names an agent twice")
    for key in sorted(section.model_fields_set - _ALWAYS - _ALLOWED[section.method]):
        raise blame.error((*at, key), f"{section.method} has none")
    _CHECKS[section.method](section, at, blame)
    for path, value in section.match.items():
        checked(blame, (*at, "match", *path), partial(check_value, value))
    workload = checked(blame, (*at, "workload"), lambda: workload_id(registry.trust_domain, section.workload))
    values = section.model_dump() | {
        "agents": tuple(agents),
        "workload": workload,
        "jwks": _place(section.jwks, blame),
        "ca_file": _place(section.ca_file, blame),
    }
    if section.method == "client_metadata":
        values["match"] = {("sub",): section.issuer}  # a client asserts itself (RFC 7523 §3)
    return AttestationRule(**values, line=blame.line(at))


def _check_oidc(section: AttestationSection, at: KeyPath, blame: Blame) -> None:
    _check_token(section, at, blame)
    checked(blame, (*at, "issuer"), lambda: check_issuer(section.issuer))
    if section.jwks.startswith(_WORKLOAD_API):
        raise blame.error((*at, "jwks"), "a Workload API has the keys of spiffe alone")


def _check_spiffe(section: AttestationSection, at: KeyPath, blame: Blame) -> None:
    _check_token(section, at, blame)
    checked(blame, (*at, "issuer"), lambda: _check_domain(section.issuer))
    if section.jwks == "discover":
        message = "spiffe needs the bundle's place: a file, an https URL or unix:<socket of the Workload API>"
        raise blame.error((*at, "jwks"), message)
    if not section.match.get(("sub",), "").startswith(section.issuer + "/"):
        raise blame.error((*at, "match"), f"must name sub, an id of {section.issuer}")


def _check_client(section: AttestationSection, at: KeyPath, blame: Blame) -> None:
    if not section.issuer or not section.audience:
        raise blame.error((*at, "method"), "client_metadata needs issuer, the client's URL, and audience")
    checked(blame, (*at, "issuer"), lambda: check_issuer(section.issuer))
    if not section.issuer.partition("://")[2].partition("/")[2]:
        raise blame.error((*at, "issuer"), "is the URL of the client's metadata document, with a path")


def _check_token(section: AttestationSection, at: KeyPath, blame: Blame) -> None:
    if not section.issuer or not section.audience:
        raise blame.error((*at, "method"), f"{section.method} needs issuer and audience")
    if section.audience == section.issuer:
        raise blame.error((*at, "audience"), "is the issuer's own: tokens that workloads show it would be evidence")
    if section.jwks.startswith(_URLS):
        checked(blame, (*at, "jwks"), lambda: check_issuer(section.jwks))
    if not section.match:
        raise blame.error((*at, "match"), "must name at least one claim, or any workload of the issuer would match")


def _check_unix(section: AttestationSection, at: KeyPath, blame: Blame) -> None:
    names = section.match.keys()
    if ("uid",) not in names or names - {("uid",), ("gid",)}:
        raise blame.error((*at, "match"), "names uid, and gid if that matters: the kernel vouches for nothing else")
    for path, value in section.match.items():
        if not _NUMBER.match(value) or value == _OVERFLOW:
            raise blame.error((*at, "match", *path), 'is a number as text, such as "1000", and not that of nobody')


def _check_nothing(section: AttestationSection, at: KeyPath, blame: Blame) -> None:
    del section, at, blame  # what such a rule may not have is refused before


def _check_domain(issuer: str) -> None:
    if not issuer.startswith(_SCHEME):
        raise InvalidRequest("is the trust domain: spiffe://<trust domain>")
    check_trust_domain(issuer.removeprefix(_SCHEME))


_CHECKS: Final[Mapping[str, Callable[[AttestationSection, KeyPath, Blame], None]]] = {
    "kubernetes": _check_oidc,
    "oidc": _check_oidc,
    "spiffe": _check_spiffe,
    "client_metadata": _check_client,
    "unix": _check_unix,
    "join": _check_nothing,
    "in_process": _check_nothing,
}


def _place(source: str, blame: Blame) -> str:
    """A relative path starts at the folder of the file that says it."""
    if source in {"", "discover"} or source.startswith((*_URLS, _WORKLOAD_API)) or not blame.path:
        return source
    return str(Path(blame.path).parent / source)


def _check_pair(one: AttestationRule, other: AttestationRule, at: KeyPath, blame: Blame) -> None:
    """`other` is the later one, at `at`."""
    where = f"attestation on line {one.line}" if one.line is not None else "an earlier attestation"
    same = (one.workload, one.method) == (other.workload, other.method)
    if same and set(one.agents) != set(other.agents):
        raise blame.error((*at, "agents"), f"differs from {where}, which proves the same workload in the same way")
    if one.issuer and one.issuer == other.issuer and _source(one) != _source(other):
        raise blame.error((*at, "issuer"), f"has its keys from elsewhere than in {where}")
    evidence = _evidence(one)
    if evidence and evidence == _evidence(other) and not same and overlap(one.match, other.match):
        raise blame.error((*at, "match"), f"could match what {where} matches; evidence proves one workload, in one way")


def _source(rule: AttestationRule) -> Sequence[object]:
    return (rule.jwks, rule.ca_file, rule.private_network, rule.method if rule.method in _OWN_KEYS else "")


def _evidence(rule: AttestationRule) -> Sequence[str]:
    """Rules with the same answer read the same evidence; a join token names its workload itself."""
    if rule.method == "unix":
        return ("unix",)
    return (rule.issuer, rule.audience) if rule.issuer else ()
