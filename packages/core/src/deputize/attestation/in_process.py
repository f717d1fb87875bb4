"""Attestation inside the authority's own process: a label that policy can refuse, not a proof.

Agents of one process are not isolated from each other: attribution is to (workload, agent).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from deputize.model.failure import AttestationFailed
from deputize.model.identity import workload_id
from deputize.model.registry import AgentEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What evidence proved: a workload, and the agents that it hosts."""

    workload: str
    method: str
    agents: frozenset[str]


class Attestor(Protocol):
    """Turns evidence into a workload and the agents it may host."""

    def attest(self, agents: Iterable[AgentEntry]) -> Attested:
        """Raises AttestationFailed."""
        ...


class InProcess:
    """The host process vouches for the agents that it runs."""

    METHOD = "in_process"

    def __init__(self, trust_domain: str, name: str = "embedded") -> None:
        self._workload = workload_id(trust_domain, name)

    def attest(self, agents: Iterable[AgentEntry]) -> Attested:
        """Every agent whose registration accepts this method; leaving `attestation` out accepts it."""
        hosted = frozenset(a.id for a in agents if not a.attestation or self.METHOD in a.attestation)
        if not hosted:
            raise AttestationFailed("no registered agent may be attested in process")
        return Attested(workload=self._workload, method=self.METHOD, agents=hosted)
