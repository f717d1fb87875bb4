"""Agents of this process: a key each, made in memory at first use, and a short-lived identity over it."""

from dataclasses import dataclass, replace
from threading import RLock

from deputize.authority.issuing import issue_identity
from deputize.authority.parts import Parts
from deputize.authority.refusal import Case, decided, unknown_agent
from deputize.model.failure import AttestationFailed
from deputize.model.request import Client
from deputize.wire.alg import LocalKey, generate


@dataclass(frozen=True, slots=True)
class Identity:
    """An agent's key and its identity token. Renewal keeps the key; a key lives as long as its process."""

    client: Client
    key: LocalKey
    token: str
    exp: int

    def __repr__(self) -> str:
        return f"Identity({self.client.agent})"


class Identities:
    """Attests the agents that this process hosts, when they first run."""

    def __init__(self, parts: Parts, algorithm: str) -> None:
        self._parts = parts
        self._algorithm = algorithm
        self._held: dict[str, Identity] = {}
        self._lock = RLock()

    def get(self, agent: str) -> Identity:
        """The identity of a registered agent, renewed at half of its life. Raises UnknownAgent, AttestationFailed."""
        now = self._parts.clock.now()
        held = self._held.get(agent)
        if held is not None and now < held.exp - self._parts.limits.identity_ttl // 2:
            return held
        with self._lock:
            held = self._held.get(agent)
            if held is None or now >= held.exp - self._parts.limits.identity_ttl // 2:
                held = self._issue(agent, held)
                self._held[agent] = held
            return held

    def expire(self) -> None:
        """Issue each anew at its next use, over the same key: what signed them was revoked."""
        with self._lock:
            self._held = {agent: replace(held, exp=0) for agent, held in self._held.items()}

    def forget(self) -> None:
        """At the end."""
        with self._lock:
            self._held.clear()

    def forked(self) -> None:
        """In a child process: keys do not move, and whoever held the lock is not here."""
        self._lock = RLock()
        self._held = {}

    def _issue(self, agent: str, held: Identity | None) -> Identity:
        parts = self._parts
        key = held.key if held is not None else generate(self._algorithm)
        client = Client(agent=agent, jkt=key.kid, workload=parts.attested.workload, attestation=parts.attested.method)
        case = Case("identity.denied", client, parts.rules)
        return decided(parts, case, lambda: self._attested(case, key, renewed=held is not None))

    def _attested(self, case: Case, key: LocalKey, *, renewed: bool) -> Identity:
        parts, client = self._parts, case.client
        if case.rules.registry.agent(client.agent) is None:
            raise unknown_agent(case.rules.registry, client.agent)
        if client.agent not in case.rules.attested.agents:
            raise AttestationFailed("this agent's registration does not accept attestation in process")
        jwk = {name: str(value) for name, value in key.public_jwk().items()}
        issued = issue_identity(parts, case, jwk, event="identity.renewed" if renewed else "identity.issued")
        return Identity(client, key, issued.token, issued.claims.exp)
