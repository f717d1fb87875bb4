"""A configuration, read and checked: immutable values, nothing left to parse."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from deputize.config.bundle import Bundle
from deputize.model.limits import Limits
from deputize.model.registry import Registry
from deputize.model.rules import AttestationRule, ImpersonationGrant, OperatorRule, PolicyFile, UserRule

Users = Literal["listed", "unrestricted"]
Algorithm = Literal["ES256", "EdDSA", "RS256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`[server]`. `max_body` and `max_headers` are in bytes, `rate` in requests per second and client.

    `shutdown_grace` is in seconds. `unix_socket`: a path that is listened on beside host and port; empty: none.
    `trusted_proxies` and `metrics_from` (who may read `/metrics`, beside the loopback) are addresses or networks.
    """

    host: str = "127.0.0.1"
    port: int = 8400
    workers: int = 1
    trusted_proxies: tuple[str, ...] = ()
    max_body: int = 64 * 1024
    max_headers: int = 32 * 1024
    rate: float = 10.0
    shutdown_grace: int = 30
    unix_socket: str = ""
    metrics_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything that an authority starts from. Durations are seconds.

    `users` is resolved: what was not written is "listed" where `[[users]]` names issuers, else "unrestricted".
    `users_written` tells which it was, since `serve` wants it in words. `path` is empty for mappings.
    `asserted`: a host's word for its user is enough, where users are unrestricted; not so on a server.
    """

    registry: Registry
    issuer: str = "http://127.0.0.1:8400"
    trust_domain: str = "local"
    algorithm: Algorithm = "ES256"
    users: Users = "unrestricted"
    users_written: bool = False
    asserted: bool = True
    store_url: str = "sqlite::memory:"
    durability: Literal["full", "normal"] = "full"
    limits: Limits = field(default_factory=Limits)
    policy_files: tuple[PolicyFile, ...] = ()
    user_rules: tuple[UserRule, ...] = ()
    attestation_rules: tuple[AttestationRule, ...] = ()
    impersonation: tuple[ImpersonationGrant, ...] = ()
    task_text: Literal["hash", "clear"] = "hash"
    retention: int = 400 * 86_400
    checkpoint_every: int = 60
    checkpoint_to: tuple[str, ...] = ()
    server: ServerSettings = field(default_factory=ServerSettings)
    operators: tuple[OperatorRule, ...] = ()
    path: str = ""
    bundle: Bundle | None = None

    @property
    def beside(self) -> Mapping[str, object]:
        """What decides and is not asked of policies, as plain data: digested with them, and followed by replicas."""
        return {
            "attestation": [_plain(rule) for rule in self.attestation_rules],
            "audit": {"task_text": self.task_text, "retention": self.retention},
            "limits": asdict(self.limits),
            "operators": [_plain(rule) for rule in self.operators],
            "users": [_plain(rule) for rule in self.user_rules],
        }

    @property
    def workloads(self) -> Mapping[str, frozenset[str]]:
        """Agent id -> SPIFFE IDs of the workloads that may host it, as policies see them."""
        hosts: dict[str, set[str]] = {}
        for rule in self.attestation_rules:
            for agent in rule.agents:
                hosts.setdefault(agent, set()).add(rule.workload)
        return {agent: frozenset(names) for agent, names in hosts.items()}


def _plain(rule: UserRule | AttestationRule | OperatorRule) -> dict[str, object]:
    """With `match` as a list: its keys are the steps of a path."""
    members = asdict(rule)
    del members["line"]
    if isinstance(rule, AttestationRule):
        members["match"] = [[list(path), value] for path, value in sorted(rule.match.items())]
    return members
