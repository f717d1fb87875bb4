"""Revocations whose agents and users are known by digest alone, as the feed tells them."""

from collections.abc import Callable

from deputize.model.revocation import Kind, RevocationEntry
from deputize.verifier.sources import RevocationSet, reaches, unite


class HashedRevocationSet(RevocationSet):
    """A `RevocationSet` whose entries for agents and users bear the digests that `digest` makes of their names.

    Only the outermost actor, the client and the subject are hashed and compared, and only while somebody is
    suspended or revoked; inner actors never decide.
    """

    __slots__ = ("_digest", "_hashed_agents", "_hashed_users")

    def __init__(self, digest: Callable[[str], str]) -> None:
        super().__init__()
        self._digest = digest
        self._hashed_agents: dict[str, int | None] = {}
        self._hashed_users: dict[str, int | None] = {}

    def add(self, entry: RevocationEntry) -> None:
        """See RevocationSet."""
        if entry.kind is Kind.AGENT:
            self._hashed_agents[entry.id] = entry.before
        elif entry.kind is Kind.USER:
            unite(self._hashed_users, entry)
        else:
            super().add(entry)

    def refuses(
        self, *, sids: tuple[str, ...], jti: str, agents: tuple[str, ...], sub: str, iat: int, kid: str
    ) -> Kind | None:
        """See RevocationView."""
        found = super().refuses(sids=sids, jti=jti, agents=agents, sub=sub, iat=iat, kid=kid)
        if found is not None:
            return found
        if self._hashed_agents and any(reaches(self._hashed_agents, self._digest(one), iat) for one in {*agents}):
            return Kind.AGENT
        if self._hashed_users and reaches(self._hashed_users, self._digest(sub), iat):
            return Kind.USER
        return None
