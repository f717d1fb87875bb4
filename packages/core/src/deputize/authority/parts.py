"""What the use cases are composed of."""

from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from deputize.attestation import Attested
from deputize.authority.key_book import KeyBook
from deputize.authority.rules import Rules
from deputize.issuers.users import Users
from deputize.model.clock import Clock
from deputize.model.failure import AuthorityUnavailable
from deputize.model.limits import Limits
from deputize.model.session import Node
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.verifier.process import ProcessLock

ACTIVE_POLICY: Final = "policy.active"  # meta row: the digest that the store decides by

V = TypeVar("V")


class PolicyMoved(AuthorityUnavailable):
    """Decided by a set that is no longer the store's. A replica that follows decides again; others refuse."""


class Follower(Protocol):
    """Keeps `Parts.rules` at the set that the store names."""

    def follow(self, parts: "Parts") -> None:
        """Load the active set where another is loaded. Raises AuthorityUnavailable where that cannot be done."""
        ...


class Bounded(Generic[V]):
    """A map that forgets its oldest entry. Holds only what may be computed again."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: dict[str | bytes, V] = {}
        self._lock = ProcessLock()

    def get(self, key: str | bytes) -> V | None:
        """The value, or None."""
        return self._items.get(key)

    def put(self, key: str | bytes, value: V) -> None:
        """Keep `value`; the oldest goes where there are too many."""
        with self._lock:
            self._items[key] = value
            while len(self._items) > self._size:
                del self._items[next(iter(self._items))]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._items.clear()


@dataclass(slots=True)
class Parts:
    """One authority: one issuer, one trust domain, one store."""

    issuer: str
    trust_domain: str
    rules: Rules
    store: Store
    clock: Clock
    keys: KeyBook
    latest: float = 0.0  # of what this process has recorded, seconds
    nodes: Bounded[Node] = field(default_factory=lambda: Bounded(8192))  # what never changes of a session
    follower: Follower | None = None  # of a server: loads the set that the store decides by
    _users: tuple[Rules, Users] | None = None

    def users(self, rules: Rules) -> Users:
        """Whose tokens prove a user by these rules, with the keys of their issuers."""
        held = self._users
        if held is None or held[0] is not rules:
            held = self._users = (rules, Users.of(rules.configuration, self.clock))
        return held[1]

    @property
    def limits(self) -> Limits:
        """Of the set that is loaded now. Whoever decides takes those of the rules that it decides by."""
        return self.rules.limits

    @property
    def attested(self) -> Attested:
        """The agents of this process, by the set that is loaded now."""
        return self.rules.attested

    def node(self, sid: str) -> Node | None:
        """A session as it was made, read once; None where there is none."""
        node = self.nodes.get(sid)
        if node is None:
            node = self.store.read(lambda tx: tx.session(sid))
            if node is not None:
                self.nodes.put(sid, node)
        return node

    def now(self) -> float:
        """The authority's time, seconds, as far as this process has seen it. A transaction asks `moment`."""
        return max(self.clock.now(), self.latest)

    def caught_up(self) -> float:
        """The authority's time once what other replicas recorded is counted: their clocks may be ahead of this one."""
        self.latest = max(self.latest, self.store.read(lambda tx: tx.newest_time()) / 1000)
        return self.now()

    def moment(self, tx: ReadTx) -> float:
        """max(own clock, newest committed record), seconds: it never goes back."""
        return max(self.clock.now(), self.latest, tx.newest_time() / 1000)

    def stamp(self, tx: WriteTx) -> float:
        """`moment`, of what this transaction records: nothing that this process does later lies before it."""
        self.latest = self.moment(tx)
        return self.latest

    def check_policy(self, tx: ReadTx, rules: Rules) -> None:
        """Step 12: what decided is what the store names. Raises AuthorityUnavailable."""
        if tx.meta(ACTIVE_POLICY) != rules.policy.digest:
            raise PolicyMoved("the store decides by another policy set than this process has loaded")
