"""From what evidence says to the one workload that it proves. Pure: signatures were verified before this is asked.

Deny by default: no rule, or rules of two workloads, is nobody.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from deputize.attestation.in_process import InProcess
from deputize.model.claims_match import holds
from deputize.model.failure import AttestationFailed
from deputize.model.registry import Registry
from deputize.model.request import PeerCredentials
from deputize.model.rules import AttestationRule

CLIENT_METADATA: Final = "client_metadata"
JWT_METHODS: Final = frozenset({"kubernetes", "oidc", CLIENT_METADATA})
SPIFFE: Final = "spiffe"
UNIX: Final = "unix"
JOIN: Final = "join"
TRUST_DOMAIN: Final = "spiffe://"
OVERFLOW_ID: Final = 65534  # what the kernel calls whoever has no number in the authority's user namespace

Rules = Sequence[AttestationRule]


def rules_of_issuer(rules: Rules, issuer: str) -> Rules:
    """The rules that accept tokens of exactly this issuer; none where nobody allowed it, so that nothing is fetched."""
    return [rule for rule in rules if rule.method in JWT_METHODS and rule.issuer == issuer]


def rules_of_trust_domain(rules: Rules, trust_domain: str) -> Rules:
    """The rules that accept SVIDs of exactly this trust domain."""
    return [rule for rule in rules if rule.method == SPIFFE and rule.issuer == TRUST_DOMAIN + trust_domain]


def decide_claims(rules: Rules, audience: Iterable[str], claims: Mapping[str, object]) -> AttestationRule:
    """The rule whose audience is the token's only one and whose claims hold. Raises AttestationFailed."""
    stated = tuple(audience)
    return _only(rule for rule in rules if stated == (rule.audience,) and holds(rule.match, claims))


def decide_peer(rules: Rules, peer: PeerCredentials) -> AttestationRule:
    """The rule for the user at the other end of a socket. Raises AttestationFailed."""
    if OVERFLOW_ID in {peer.uid, peer.gid} or peer.uid < 0 or peer.gid < 0:
        raise AttestationFailed("the peer is of another user namespace, where its numbers mean nothing here")
    claims = {"uid": str(peer.uid), "gid": str(peer.gid)}
    return _only(rule for rule in rules if rule.method == UNIX and holds(rule.match, claims))


def decide_join(rules: Rules, workload: str) -> AttestationRule:
    """The rule that lets this workload join by a token. Raises AttestationFailed."""
    return _only(rule for rule in rules if rule.method == JOIN and rule.workload == workload)


def hosts(rules: Rules, registry: Registry, *, workload: str, method: str, agent: str) -> bool:
    """Whether a workload that was proved by `method` may host `agent`, by the rules and the registry of now.

    An agent's own `attestation` restricts the methods. In process there is no rule to look up and nothing that could
    be shown from outside: never.
    """
    entry = registry.agents.get(agent)
    if entry is None or method == InProcess.METHOD or (entry.attestation and method not in entry.attestation):
        return False
    return any(agent in rule.agents for rule in rules if (rule.workload, rule.method) == (workload, method))


def known(rules: Rules, *, workload: str, method: str) -> bool:
    """Whether any rule of now lets a workload of this name be proved by `method`."""
    return method != InProcess.METHOD and any((rule.workload, rule.method) == (workload, method) for rule in rules)


def _only(found: Iterable[AttestationRule]) -> AttestationRule:
    rules = list(found)
    if not rules:
        raise AttestationFailed("no rule of this authority accepts what was shown")
    if len({(rule.workload, rule.method) for rule in rules}) > 1:
        raise AttestationFailed("what was shown would prove two workloads, so it proves none")
    # Rules that agree on the workload may differ in strictness: then the strictest holds.
    return min(rules, key=lambda rule: not rule.single_use)
