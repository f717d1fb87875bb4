"""Evidence, read and judged: which workload it proves, and how its single use is counted."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from deputize.attestation.deciding import (
    decide_claims,
    decide_join,
    decide_peer,
    rules_of_issuer,
    rules_of_trust_domain,
)
from deputize.authority.evidence_keys import EvidenceKeys
from deputize.authority.joining import evidence_digest, joining
from deputize.authority.parts import Parts
from deputize.model.failure import AttestationFailed, InvalidRequest, InvalidToken
from deputize.model.request import WorkloadEvidence
from deputize.model.rules import AttestationRule
from deputize.store.protocol import WriteTx
from deputize.store.rows import Remembered
from deputize.wire import foreign_token, jwt_svid
from deputize.wire.jws import unverified_claims

LEEWAY: Final = 5  # seconds that a platform's clock may be off
MAX_LIFE: Final = 86_400  # seconds; evidence that is good or old for longer is no proof of now
REPLAYED: Final = "evidence_replayed"
_JOIN: Final = "join"
_ISSUER: Final = "evidence"  # what spent evidence is counted under
_TYPES: Final[Sequence[str | None]] = (None, "jwt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """What evidence proved. `issuer` and `id` name it for single use, None where every use is a new one.

    `subject` is its own name for the workload, for the record; `until` (seconds since the epoch) when it is over.
    """

    rule: AttestationRule
    issuer: str
    subject: str
    id: str | None = field(default=None, repr=False)
    until: int = 0


def judge(parts: Parts, keys: EvidenceKeys, evidence: WorkloadEvidence) -> Proved:
    """The workload that `evidence` proves now. Raises AttestationFailed, whose cause has the reason's own code.

    Raises AuthorityUnavailable while the keys of an issuer cannot be had.
    """
    try:
        if evidence.kind == "jwt":
            return _token(parts, keys, evidence.token)
        if evidence.kind == "join":
            return _join(parts, evidence.token)
        if evidence.peer is None:
            raise AttestationFailed("there is no Unix-domain connection to look at")
        rule = decide_peer(parts.rules.configuration.attestation_rules, evidence.peer)
        return Proved(rule=rule, issuer="unix", subject=f"uid {evidence.peer.uid}")
    except (InvalidToken, InvalidRequest) as error:
        raise AttestationFailed("the evidence does not hold") from error


def use(tx: WriteTx, proved: Proved, token: str, jkt: str, now: float) -> None:
    """Count a use in its transaction: evidence belongs to the first key that came with it.

    The same key may show it again while it holds, as a caller does whose answer was lost. Raises AttestationFailed.
    """
    if proved.rule.method == _JOIN:
        joining(tx, token, now)
    if proved.id is None or not proved.rule.single_use:
        return
    key = _ISSUER + ":" + hashlib.sha256(f"{proved.issuer}\n{proved.id}".encode()).hexdigest()
    if tx.spend(_ISSUER, key, proved.until + 1):
        tx.remember(Remembered(key=key, digest=jkt, until=proved.until + 1))
        return
    first = tx.remembered(key)
    if first is None or first.digest != jkt:
        raise AttestationFailed("this evidence was used before, with another key", code=REPLAYED)


def _join(parts: Parts, token: str) -> Proved:
    workload, until = parts.store.read(lambda tx: joining(tx, token, parts.moment(tx)))
    rule = decide_join(parts.rules.configuration.attestation_rules, workload)
    return Proved(rule=rule, issuer=_JOIN, subject=workload, id=evidence_digest(token), until=until)


def _token(parts: Parts, keys: EvidenceKeys, token: str) -> Proved:
    """A platform's token. Whose it says it is only picks among the rules; without one, nothing is fetched (WL-06)."""
    rules, now = parts.rules.configuration.attestation_rules, parts.now()
    said = unverified_claims(token)
    sub, iss = said.get("sub"), said.get("iss")
    if isinstance(sub, str) and sub.startswith("spiffe://"):
        domain = jwt_svid.trust_domain_of(sub)
        of_domain = rules_of_trust_domain(rules, domain)
        if of_domain:
            return _svid(keys, of_domain, token, domain, now)
    of_issuer = rules_of_issuer(rules, iss) if isinstance(iss, str) else ()
    if not of_issuer:
        raise AttestationFailed("no rule names the issuer of this token")
    return _oidc(keys, of_issuer, token, now)


def _oidc(keys: EvidenceKeys, rules: Sequence[AttestationRule], token: str, now: float) -> Proved:
    held = foreign_token.decode(
        token,
        issuer=rules[0].issuer,
        audience={rule.audience for rule in rules},
        key_for=keys.of(rules[0]).key_for,
        now=now,
        leeway=LEEWAY,
        types=_TYPES,
    )
    rule = decide_claims(rules, held.aud, held.claims)
    return _proved(rule, token, held, now)


def _svid(keys: EvidenceKeys, rules: Sequence[AttestationRule], token: str, domain: str, now: float) -> Proved:
    held = jwt_svid.decode(
        token,
        trust_domain=domain,
        audience={rule.audience for rule in rules},
        key_for=keys.of(rules[0]).key_for,
        now=now,
        leeway=LEEWAY,
    )
    rule = decide_claims(rules, held.aud, held.claims)
    return _proved(rule, token, held, now)


def _proved(
    rule: AttestationRule, token: str, held: foreign_token.ForeignClaims | jwt_svid.SvidClaims, now: float
) -> Proved:
    if held.exp > now + MAX_LIFE or (held.iat is not None and held.iat < now - MAX_LIFE):
        raise AttestationFailed("evidence is good for a day at most")
    # Not the token's bytes: an ES256 signature has a second form that holds as well.
    name = "jti " + held.jti if held.jti is not None else "hash " + evidence_digest(token.rpartition(".")[0])
    return Proved(rule=rule, issuer=rule.issuer, subject=held.sub, id=name, until=held.exp + LEEWAY)
