"""How a workload asks for its identity: an assertion of its platform, a join token, its connection (RFC 7523 §2.1).

The last two are extension grants under names of ours (RFC 6749 §4.5). Each comes with a proof of a fresh key.
"""

from collections.abc import Sequence
from typing import Final

from deputize.model.failure import InvalidRequest
from deputize.model.request import PeerCredentials, WorkloadEvidence

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JOIN: Final = "urn:deputize:params:oauth:grant-type:join"
PEER: Final = "urn:deputize:params:oauth:grant-type:peer"
GRANTS: Final = frozenset({JWT_BEARER, JOIN, PEER})
_FIELDS: Final = {JWT_BEARER: "assertion", JOIN: "join_token"}


def build(evidence: WorkloadEvidence) -> list[tuple[str, str]]:
    """The form that shows `evidence`; of a connection there is nothing to show."""
    grant = {"jwt": JWT_BEARER, "join": JOIN, "unix": PEER}[evidence.kind]
    name = _FIELDS.get(grant)
    return [("grant_type", grant), *([(name, evidence.token)] if name is not None else [])]


def read(items: Sequence[tuple[str, str]], grant: str, peer: PeerCredentials | None) -> WorkloadEvidence:
    """The evidence that a form shows. `peer` is what the kernel says of the connection. Raises InvalidRequest."""
    if grant == PEER:
        return WorkloadEvidence(kind="unix", peer=peer)
    found = [value for name, value in items if name == _FIELDS[grant]]
    if len(found) != 1 or not found[0]:
        raise InvalidRequest(f"{_FIELDS[grant]} stands once")
    return WorkloadEvidence(kind="jwt" if grant == JWT_BEARER else "join", token=found[0])
