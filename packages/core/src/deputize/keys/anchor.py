"""The anchor: what makes a signing key one of ours (SEMANTICS, "Keys, identities, trust root")."""

from typing import Protocol


class Anchor(Protocol):
    """Endorses the public keys of processes, so that write access to the store does not forge one."""

    @property
    def name(self) -> str:
        """`none`, `seed`, ... as records and `doctor` show it."""
        ...

    def endorse(self, statement: bytes) -> bytes | None:
        """Sign {thumbprint, alg, sign_from, sign_until, instance}; None where the anchor cannot."""
        ...

    def accepts(self, statement: bytes, endorsement: bytes | None) -> bool:
        """Whether a key row with this endorsement may be served."""
        ...


class NoAnchor:
    """Only for a store whose file permissions are the trust boundary: who can write it is the authority."""

    name = "none"

    def endorse(self, statement: bytes) -> bytes | None:  # noqa: ARG002  # the protocol's signature
        """No endorsement."""
        return None

    def accepts(self, statement: bytes, endorsement: bytes | None) -> bool:  # noqa: ARG002  # the protocol's signature
        """Rows without an endorsement; one that carries some came from elsewhere."""
        return endorsement is None
