"""How a workload proves itself. One protocol; in process there is only a label."""

from deputize.attestation.in_process import Attested, Attestor, InProcess
from deputize.attestation.peer import peer_of

__all__ = ["Attested", "Attestor", "InProcess", "peer_of"]
