"""The keys of this process and the identities over them. Made in memory, never written, gone with the process."""

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, RLock, Thread
from typing import Final

from deputize.authority.identities import Identity
from deputize.model.clock import Clock
from deputize.model.failure import DeputizeError
from deputize.model.request import Client
from deputize.wire.alg import LocalKey, generate

SHORTEST: Final = 5.0  # seconds between looks
LONGEST: Final = 60.0  # and how late a stepped clock is noticed
RENEW_AT: Final = 2  # renewed when an identity's life is at one half


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """An identity as the authority gave it. `expires_in` in seconds."""

    token: str = field(repr=False)
    subject: str
    workload: str
    method: str
    expires_in: int


Ask = Callable[[str, LocalKey], Issued]


class Keyring:
    """One key and identity for each name. A forked child makes its own: no private key moves between processes."""

    def __init__(self, *, algorithm: str, clock: Clock, ask: Ask) -> None:
        self._algorithm = algorithm
        self._clock = clock
        self._ask = ask
        self._held: dict[str, tuple[Identity, float]] = {}
        self._lock = RLock()
        self._owner = os.getpid()
        self._stopping = Event()

    def get(self, name: str) -> Identity:
        """The identity of `name`, asked for at first use and renewed at half of its life, over the same key."""
        self._look_for_fork()
        held = self._held.get(name)
        if held is not None and self._clock.now() < held[1]:
            return held[0]
        with self._lock:
            held = self._held.get(name)
            if held is None or self._clock.now() >= held[1]:
                held = self._renewed(name, held[0].key if held is not None else generate(self._algorithm))
                self._held[name] = held
            return held[0]

    def key(self, name: str) -> LocalKey:
        """The key of `name`, whatever became of its identity: for what permits nothing."""
        self._look_for_fork()
        held = self._held.get(name)
        return held[0].key if held is not None else self.get(name).key

    def keep(self, name: str) -> None:
        """Renew the identity of `name` in time from now on, also while nobody asks for it."""
        self.get(name)
        self._stopping = Event()
        told = (weakref.ref(self), name, self._stopping)
        keeper = Thread(target=_keep, args=told, name="deputize-keyring", daemon=True)
        keeper.start()

    def left(self, name: str) -> float:
        """Seconds until the identity of `name` is to be renewed."""
        held = self._held.get(name)
        return 0.0 if held is None else held[1] - self._clock.now()

    def expire(self) -> None:
        """Ask for each anew at its next use, over the same key."""
        with self._lock:
            self._held = {name: (identity, float("-inf")) for name, (identity, _) in self._held.items()}

    def forget(self) -> None:
        """At the end."""
        self._stopping.set()
        with self._lock:
            self._held.clear()

    def _renewed(self, name: str, key: LocalKey) -> tuple[Identity, float]:
        told = self._ask(name, key)
        now = self._clock.now()
        client = Client(agent=told.subject, jkt=key.kid, workload=told.workload, attestation=told.method)
        identity = Identity(client, key, told.token, int(now) + told.expires_in)
        return identity, now + told.expires_in / RENEW_AT

    def _look_for_fork(self) -> None:
        if self._owner != os.getpid():
            self._lock, self._held, self._owner = RLock(), {}, os.getpid()


def _keep(held: "weakref.ref[Keyring]", name: str, stopping: Event) -> None:
    """An identity that ran out while its process was idle could not be renewed by its key any more."""
    while True:
        keyring = held()
        if keyring is None or stopping.wait(min(max(keyring.left(name), SHORTEST), LONGEST)):
            return
        with suppress(DeputizeError):  # told to whoever asks next; tried again until then
            keyring.get(name)
        del keyring
