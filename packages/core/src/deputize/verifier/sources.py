"""Where a verifier gets keys and revocations from: the two protocols, and both in memory."""

from collections.abc import Iterable
from typing import Final, Protocol

from deputize.model.revocation import Kind, RevocationEntry, RevocationView
from deputize.wire.alg import VerifyingKey
from deputize.wire.jwk import parse_jwks

DEFAULT_BOUND: Final = 10.0  # seconds; DESIGN promises verifiers no more


class KeySource(Protocol):
    """The public keys of one issuer."""

    def key(self, kid: str) -> VerifyingKey | None:
        """The key of that name while its tokens may live, with its `sign_until`. Raises DeputizeError."""
        ...


class RevocationSource(Protocol):
    """The revocations of one issuer, and how fresh they are."""

    @property
    def bound(self) -> float:
        """Seconds; what is older is not believed and everything is refused."""
        ...

    def view(self) -> RevocationView:
        """The newest state that is known. Never raises."""
        ...

    def age(self) -> float:
        """Seconds since the source was last known to be complete, by a clock that never goes back."""
        ...


class MemoryKeys:
    """Keys that the program itself holds."""

    def __init__(self, keys: Iterable[VerifyingKey] = ()) -> None:
        self._keys = {key.kid: key for key in keys}

    @classmethod
    def from_jwks(cls, raw: bytes) -> "MemoryKeys":
        """From the text of a JWK set. Raises InvalidToken."""
        return cls(parse_jwks(raw).values())

    def add(self, key: VerifyingKey) -> None:
        """Publish or replace a key."""
        self._keys[key.kid] = key

    def key(self, kid: str) -> VerifyingKey | None:
        """See KeySource."""
        return self._keys.get(kid)


class RevocationSet:
    """A `RevocationView` in sets: what it costs to ask does not grow with the list."""

    __slots__ = ("_agents", "_keys", "_sids", "_tokens", "_users")

    def __init__(self) -> None:
        self._sids: dict[str, Kind] = {}
        self._tokens: set[str] = set()
        self._agents: dict[str, int | None] = {}
        self._users: dict[str, int | None] = {}
        self._keys: set[str] = set()

    def add(self, entry: RevocationEntry) -> None:
        """Take over a row. As in the store, an agent's later one replaces the earlier; a user's are united."""
        match entry.kind:
            case Kind.SESSION | Kind.CLOSE:
                self._sids[entry.id] = entry.kind
            case Kind.TOKEN:
                self._tokens.add(entry.id)
            case Kind.AGENT:
                self._agents[entry.id] = entry.before
            case Kind.USER:
                unite(self._users, entry)
            case Kind.KEY:
                self._keys.add(entry.id)

    def end(self, sids: Iterable[str], kind: Kind) -> None:
        """Kill sessions, and with them all below, for another cause than a row of their own."""
        for sid in sids:
            self._sids.setdefault(sid, kind)

    def refuses(
        self, *, sids: tuple[str, ...], jti: str, agents: tuple[str, ...], sub: str, iat: int, kid: str
    ) -> Kind | None:
        """See RevocationView."""
        if not self._sids.keys().isdisjoint(sids):
            return next(kind for sid in sids if (kind := self._sids.get(sid)) is not None)
        if jti in self._tokens:
            return Kind.TOKEN
        if not self._agents.keys().isdisjoint(agents) and any(reaches(self._agents, one, iat) for one in agents):
            return Kind.AGENT
        if sub in self._users and reaches(self._users, sub, iat):
            return Kind.USER
        return Kind.KEY if kid in self._keys else None


class MemoryRevocations:
    """Revocations that the program itself keeps: always fresh."""

    def __init__(self, entries: Iterable[RevocationEntry] = (), *, bound: float = DEFAULT_BOUND) -> None:
        self.bound = bound
        self._set = RevocationSet()
        for entry in entries:
            self._set.add(entry)

    def add(self, entry: RevocationEntry) -> None:
        """Revoke from now on."""
        self._set.add(entry)

    def view(self) -> RevocationView:
        """See RevocationSource."""
        return self._set

    def age(self) -> float:
        """See RevocationSource."""
        return 0.0


def unite(revoked: dict[str, int | None], entry: RevocationEntry) -> None:
    """No row of a user takes back what another killed: of two moments the later holds."""
    known = revoked.get(entry.id, entry.before)
    revoked[entry.id] = None if known is None or entry.before is None else max(known, entry.before)


def reaches(revoked: dict[str, int | None], name: str, iat: int) -> bool:
    """Whether a token issued at `iat` is dead: always where no `before` was given."""
    if name not in revoked:
        return False
    before = revoked[name]
    return before is None or iat <= before
