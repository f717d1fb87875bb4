"""A configuration compiled: what decides, replaced as one thing or not at all."""

from dataclasses import dataclass

from deputize.attestation import Attested, InProcess
from deputize.attestation.deciding import hosts, known
from deputize.config import Configuration
from deputize.model.decision import PolicyEngine
from deputize.model.failure import AttestationFailed
from deputize.model.identity import workload_id
from deputize.model.limits import Limits
from deputize.model.registry import Registry
from deputize.model.request import Client
from deputize.policy import compile_policy


@dataclass(frozen=True, slots=True)
class Rules:
    """A registry, the policy compiled from it, and what stands beside them. `attested`: agents of this process."""

    registry: Registry
    policy: PolicyEngine
    configuration: Configuration
    attested: Attested

    @property
    def limits(self) -> Limits:
        """The limits of the same set."""
        return self.configuration.limits


def hosted_now(rules: Rules, client: Client) -> bool:
    """Whether these rules let this workload be what `client` says: itself, or the host of that agent."""
    given = rules.configuration.attestation_rules
    if client.agent == client.workload:
        return known(given, workload=client.workload, method=client.attestation)
    return hosts(given, rules.registry, workload=client.workload, method=client.attestation, agent=client.agent)


def rules_of(configuration: Configuration) -> Rules:
    """Compile a configuration. Raises ConfigurationError with file and line."""
    registry = configuration.registry
    policy = compile_policy(
        registry,
        users=configuration.users,
        asserted=configuration.asserted,
        user_rules=configuration.user_rules,
        files=configuration.policy_files,
        impersonation=configuration.impersonation,
        workloads=configuration.workloads,
        beside=configuration.beside,
    )
    return Rules(registry=registry, policy=policy, configuration=configuration, attested=_in_process(configuration))


def _in_process(configuration: Configuration) -> Attested:
    """What this process may vouch for; nothing, where no agent accepts its word."""
    try:
        return InProcess(configuration.trust_domain).attest(configuration.registry.agents.values())
    except AttestationFailed:
        workload = workload_id(configuration.trust_domain, "embedded")
        return Attested(workload=workload, method=InProcess.METHOD, agents=frozenset())
