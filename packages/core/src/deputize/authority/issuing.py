"""One way to issue an identity, for agents of this process and for what was attested from outside.

The record is written in the transaction that reads whether its holder may have it; then it is signed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from deputize.audit.record import rec_claim
from deputize.authority.journal import append, new_id
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS, Case
from deputize.authority.subject import Cuts
from deputize.model.revocation import Kind
from deputize.model.token import IdentityClaims, IdentityContext
from deputize.store.protocol import WriteTx
from deputize.wire import identity_token

POLICY: Final = "registry.attestation"  # what a record names as the rule that permitted


@dataclass(frozen=True, slots=True)
class IssuedIdentity:
    """An identity token and what it says."""

    token: str = field(repr=False)
    claims: IdentityClaims


def issue_identity(
    parts: Parts,
    case: Case,
    jwk: Mapping[str, str],
    *,
    event: str,
    also: Callable[[WriteTx, float], int | None] | None = None,
) -> IssuedIdentity:
    """An identity of `case.client` over the public `jwk`, recorded as `event`.

    `also` runs in the transaction, before the record, with the authority's time in seconds; it refuses by raising, and
    may say when evidence was checked.
    Raises InvalidToken (`agent_suspended`), AuthorityUnavailable.
    """
    client = case.client
    signer = parts.keys.signer(parts.store.read(parts.moment))
    jti = new_id()

    def operation(tx: WriteTx) -> tuple[int, int, str]:
        now = parts.stamp(tx)
        cuts = Cuts(tx, (), (client.agent, client.workload, signer.kid))
        cuts.require_agent(client.agent)
        cuts.require_agent(client.workload)
        parts.check_policy(tx, case.rules)
        parts.keys.check_signer(cuts.has(Kind.KEY, signer.kid))
        checked = also(tx, now) if also is not None else None
        entry = case.event(
            event, "permitted", int(now * MILLIS), jti=jti, more={"method": client.attestation, "jkt": client.jkt}
        )
        attested = client.attested if checked is None else checked
        return int(now), attested, rec_claim(append(tx, replace(entry, policies=(POLICY,))))

    now, attested, rec = parts.store.write(operation)
    claims = IdentityClaims(
        iss=parts.issuer,
        sub=client.agent,
        jti=jti,
        iat=now,
        exp=now + case.rules.limits.identity_ttl,
        jwk=jwk,
        context=IdentityContext(workload=client.workload, method=client.attestation, attested=attested, rec=rec),
    )
    return IssuedIdentity(identity_token.encode(claims, signer), claims)
