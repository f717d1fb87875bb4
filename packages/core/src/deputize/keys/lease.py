"""The signing key of a process: made at the first signature, under a lease, gone with the process."""

from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import Final, Generic, Protocol, TypeVar

LEASE: Final = 600  # seconds that a key may sign for from its last renewal
LIVE_KEYS_MAX: Final = 64  # per issuer


class Key(Protocol):
    """What a lease needs to know of a key."""

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint."""
        ...


K = TypeVar("K", bound=Key)


@dataclass(frozen=True, slots=True)
class Lease(Generic[K]):
    """A key and the seconds between which it may sign."""

    key: K
    sign_from: int
    sign_until: int

    def due(self, now: float) -> bool:
        """Half of the lease is over."""
        return now >= self.sign_until - LEASE // 2


class LeasedKey(Generic[K]):
    """Holds one process's key. `publish` must commit the public half before the key is used."""

    def __init__(self, make: Callable[[], K], publish: Callable[[Lease[K]], None]) -> None:
        self._make = make
        self._publish = publish
        self._lease: Lease[K] | None = None
        self._lock = RLock()

    @property
    def lease(self) -> Lease[K] | None:
        """The lease as it stands; None before the first signature."""
        return self._lease

    def get(self, now: float) -> K:
        """The key, made or its lease renewed and published first where needed. `now` in seconds."""
        lease = self._lease
        if lease is not None and not lease.due(now):
            return lease.key
        with self._lock:
            lease = self._lease
            if lease is None or lease.due(now):
                start = int(now) if lease is None or now >= lease.sign_until else lease.sign_from
                # A lease that ran out is not revived: its key may have been counted as dead.
                key = self._make() if lease is None or now >= lease.sign_until else lease.key
                lease = Lease(key, start, int(now) + LEASE)
                self._publish(lease)
                self._lease = lease
            return lease.key

    def forget(self) -> None:
        """Drop the key: at an orderly end, or because it was revoked."""
        with self._lock:
            self._lease = None

    def forked(self) -> None:
        """In a child process: the key is the parent's, and so may be the thread that holds the lock."""
        self._lock = RLock()
        self._lease = None
