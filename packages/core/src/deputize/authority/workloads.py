"""Workloads from outside this process: attested by evidence, named, and given identities for the agents they host.

Every identity is over a key whose proof came in the same request; the caller of these functions checked that proof.
Rules are looked up at each call, so that one that was taken out of the configuration ends what it began.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from deputize.attestation import InProcess
from deputize.attestation.deciding import JOIN
from deputize.authority.evidence import Proved, judge, use
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.authority.issuing import IssuedIdentity, issue_identity
from deputize.authority.joining import evidence_digest
from deputize.authority.parts import Parts
from deputize.authority.refusal import Case, decided, unknown_agent
from deputize.authority.rules import hosted_now
from deputize.model.event import Json
from deputize.model.failure import AttestationFailed, InvalidToken, plain
from deputize.model.request import Client, WorkloadEvidence
from deputize.model.token import IdentityClaims
from deputize.store.protocol import WriteTx
from deputize.wire.jwk import public_jwk, verifying_key
from deputize.wire.refusal import INVALID_PROOF
from deputize.wire.thumbprint import thumbprint

RENEWED_FOR: Final = 86_400  # seconds after its evidence was checked that a workload may renew by its key alone
JOINED_FOR: Final = 30 * 86_400  # the same for a join token, of which there is no second without an operator
EVIDENCE_TOO_OLD: Final = "evidence_too_old"
_MAX_SUBJECT: Final = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadIdentity:
    """An identity of a workload or of an agent that it hosts. `exp` is in seconds since the epoch."""

    token: str = field(repr=False)
    claims: IdentityClaims
    workload: str
    method: str
    exp: int


def attest(
    parts: Parts, keys: EvidenceKeys, evidence: WorkloadEvidence, *, jwk: Mapping[str, object], jkt: str | None = None
) -> WorkloadIdentity:
    """The identity of the workload that `evidence` proves, over the key `jwk` whose proof was checked as `jkt`.

    Raises AttestationFailed (`attestation_failed`: nobody, not recorded; `evidence_replayed`: recorded), InvalidToken
    for the key, AuthorityUnavailable while an issuer's keys cannot be had.
    """
    members, proved_jkt = _key(jwk, jkt)
    proved = judge(parts, keys, evidence)
    rule = proved.rule
    client = Client(agent=rule.workload, jkt=proved_jkt, workload=rule.workload, attestation=rule.method)
    case = Case("workload.denied", client, parts.rules)
    case.detail = _told(proved)

    def used(tx: WriteTx, now: float) -> int:
        use(tx, proved, evidence.token, proved_jkt, now)
        return int(now)

    issued = decided(parts, case, lambda: issue_identity(parts, case, members, event="workload.attested", also=used))
    return _answer(issued)


def renew(parts: Parts, client: Client, *, jwk: Mapping[str, object], jkt: str | None = None) -> WorkloadIdentity:
    """The identity of an authenticated workload anew, over the same key.

    The rule that let it in must still be there. A day after its evidence was checked (30 days for a join token) it
    has to show evidence again. Raises AttestationFailed (`attestation_failed`, `evidence_too_old`), InvalidToken.
    """
    members, proved_jkt = _key(jwk, jkt)
    case = Case("workload.denied", client, parts.rules)

    def steps() -> IssuedIdentity:
        _require_workload(parts, client)
        if not hmac.compare_digest(proved_jkt, client.jkt):
            raise InvalidToken("renewal keeps the key: the proof is by another", code=INVALID_PROOF)
        return issue_identity(parts, case, members, event="workload.renewed", also=_Fresh(client))

    return _answer(decided(parts, case, steps))


def identify(
    parts: Parts, client: Client, agent: str, *, jwk: Mapping[str, object], jkt: str | None = None
) -> WorkloadIdentity:
    """An identity of `agent` (name or id) for the authenticated workload that hosts it, over a key of its own.

    Asked again it renews, over the same key or another. Raises UnknownAgent, AttestationFailed (`attestation_failed`:
    no rule of now lets this workload host it; `evidence_too_old`), InvalidToken.
    """
    members, proved_jkt = _key(jwk, jkt)
    rules = parts.rules
    entry = rules.registry.agent(agent)
    hosted = Client(
        agent=entry.id if entry is not None else client.agent,
        jkt=proved_jkt,
        workload=client.workload,
        attestation=client.attestation,
        attested=client.attested,
    )
    case = Case("identity.denied", hosted, rules)

    def steps() -> IssuedIdentity:
        _require_workload(parts, client)
        if entry is None:
            raise unknown_agent(rules.registry, agent)
        if not hosted_now(parts.rules, hosted):
            raise AttestationFailed("no rule lets this workload host this agent")
        if hmac.compare_digest(proved_jkt, client.jkt):
            raise InvalidToken("an agent has a key of its own, not its workload's", code=INVALID_PROOF)
        return issue_identity(parts, case, members, event="identity.issued", also=_Fresh(client))

    return _answer(decided(parts, case, steps))


def require_actor(parts: Parts, client: Client, actor: IdentityClaims) -> None:
    """That the agent of this identity is hosted, by the rules of now, where the one who hands on to it runs.

    An agent elsewhere is invited, and comes under its own identity. Raises InvalidToken (`wrong_actor`).
    """
    context = actor.context
    if context is None:
        return  # of an earlier version, which knew no other workload than this one
    hosted = Client(agent=actor.sub, jkt="", workload=context.workload, attestation=context.method)
    here = actor.sub in parts.attested.agents if context.method == InProcess.METHOD else hosted_now(parts.rules, hosted)
    if not here or context.workload != client.workload:
        raise InvalidToken("the actor token is of an agent that this workload does not host", code="wrong_actor")


def _require_workload(parts: Parts, client: Client) -> None:
    if client.agent != client.workload:
        raise AttestationFailed("identities are given to workloads; an agent has its own already")
    if not hosted_now(parts.rules, client):
        raise AttestationFailed("the rule that this workload was attested by is there no more")


@dataclass(frozen=True, slots=True)
class _Fresh:
    """How long a key goes without evidence, asked at the transaction's own time."""

    client: Client

    def __call__(self, tx: WriteTx, now: float) -> None:
        del tx
        longest = JOINED_FOR if self.client.attestation == JOIN else RENEWED_FOR
        if now >= self.client.attested + longest:
            raise AttestationFailed("this workload has to show evidence again", code=EVIDENCE_TOO_OLD)


def _key(jwk: Mapping[str, object], jkt: str | None) -> tuple[dict[str, str], str]:
    """The public members with `alg`, and their thumbprint, which is the proof's. Raises InvalidToken."""
    key = verifying_key(jwk)
    members = public_jwk(key.key)
    found = thumbprint(members)
    if jkt is not None and not hmac.compare_digest(found.encode(), jkt.encode()):
        raise InvalidToken("the proof is by another key than the one that was sent", code=INVALID_PROOF)
    return {**members, "alg": key.alg}, found


def _told(proved: Proved) -> dict[str, Json]:
    told: dict[str, Json] = {"issuer": proved.issuer, "subject": plain(proved.subject)[:_MAX_SUBJECT]}
    if proved.id is not None:
        told["evidence"] = evidence_digest(proved.id)
    return told


def _answer(issued: IssuedIdentity) -> WorkloadIdentity:
    claims, context = issued.claims, issued.claims.context
    workload, method = (context.workload, context.method) if context is not None else ("", "")
    return WorkloadIdentity(
        token=issued.token,
        claims=claims,
        workload=workload,
        method=method,
        exp=claims.exp,
    )
