"""One-time join tokens: what an operator hands to a workload that has no platform to vouch for it.

256 random bits, shown once. The store holds their SHA-256 alone, under which the row is looked up, so neither the file
nor the time of a look-up tells a token.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from deputize.attestation.deciding import decide_join
from deputize.authority.journal import append, told_by
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS
from deputize.model.event import Event
from deputize.model.failure import AttestationFailed, InvalidRequest
from deputize.model.identity import workload_id
from deputize.store.protocol import ReadTx, WriteTx
from deputize.store.rows import Remembered

TTL: Final = 600  # seconds
TTL_MAX: Final = 86_400
_PREFIX: Final = "deputize-join-"
_BYTES: Final = 32
_FORM: Final = re.compile(_PREFIX + r"[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token, once. `expires` is in seconds since the epoch."""

    token: str = field(repr=False)
    workload: str
    expires: int


def enroll(parts: Parts, workload: str, *, by: str, role: str = "", ttl: int = TTL) -> JoinToken:
    """A token with which `workload` (name or id) may join once within `ttl` seconds; recorded.

    `by` names the operator, who acts as `role`.

    Raises InvalidRequest for a lifetime above a day, AttestationFailed where no `join` rule
    names the workload.
    """
    if not 1 <= ttl <= TTL_MAX:
        raise InvalidRequest(f"a join token lives 1 to {TTL_MAX} s", code="invalid_ttl")
    name = workload if workload.startswith("spiffe://") else workload_id(parts.trust_domain, workload)
    rules = parts.rules
    decide_join(rules.configuration.attestation_rules, name)
    token = _PREFIX + secrets.token_urlsafe(_BYTES)

    def operation(tx: WriteTx) -> int:
        now = parts.stamp(tx)
        until = int(now) + ttl
        tx.remember(Remembered(key=_key(token), digest=name, until=until))
        append(
            tx,
            Event(
                type="workload.enrolled",
                outcome="done",
                time=int(now * MILLIS),
                workload=name,
                policy_set=rules.policy.digest,
                detail={**told_by(by, role), "until": until, "evidence": evidence_digest(token)},
            ),
        )
        return until

    return JoinToken(token, name, parts.store.write(operation, sync=True))


def joining(tx: ReadTx, token: str, now: float) -> tuple[str, int]:
    """(workload, seconds until which the token is good). Raises AttestationFailed: unknown and expired look alike."""
    row = tx.remembered(_key(token)) if _FORM.match(token) else None
    if row is None or now >= row.until:
        raise AttestationFailed("the join token is unknown or has expired")
    return row.digest, row.until


def evidence_digest(evidence: str) -> str:
    """What a record names evidence by: enough to find it again, of no use to show it."""
    return hashlib.sha256(evidence.encode("utf-8", "surrogatepass")).hexdigest()


def _key(token: str) -> str:
    return "join:" + evidence_digest(token)
