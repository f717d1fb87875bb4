"""How a workload proves itself. One protocol; in process there is only a label."""

from deputize.attestation.in_process import Attested, Attestor, InProcess

__all__ = ["Attested", "Attestor", "InProcess"]
