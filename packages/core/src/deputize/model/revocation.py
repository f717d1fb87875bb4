"""What kills what. One row each; nothing un-revokes: causes are united (SEMANTICS, "Revocation")."""

import enum
from dataclasses import dataclass
from typing import Protocol


class Kind(enum.Enum):
    """The five things that can be revoked. `CLOSE` is a session that ended in order."""

    SESSION = "session"
    CLOSE = "close"
    TOKEN = "token"  # noqa: S105  # a label, not a secret
    AGENT = "agent"
    USER = "user"
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationEntry:
    """One row of the list. Times are whole seconds since the epoch.

    `id`: sid, jti, agent id, user id or kid by kind. `before` (users and agents): what was made at or before
    it is dead; None for an agent that is suspended now, where everything is. `until`: when the last thing it
    could kill has expired anyway. `seq`: the record.
    """

    kind: Kind
    id: str
    at: int
    until: int
    before: int | None = None
    seq: int = -1
    reason: str = ""


class RevocationView(Protocol):
    """A state of the list that a verifier may ask. Answers are for its own issuer alone."""

    def refuses(
        self, *, sids: tuple[str, ...], jti: str, agents: tuple[str, ...], sub: str, iat: int, kid: str
    ) -> Kind | None:
        """The first cause that kills such a token, or None.

        `sids`: root, path and self. `agents`: outermost actor and client.
        """
        ...
