"""A replica that decides by the set that the store names, whatever file it was started with.

The transaction of every decision compares (`Parts.check_policy`); on a mismatch the set is loaded once, whoever
waits for it, and the whole exchange is decided again from its first step.
"""

from hashlib import sha256
from typing import Final

from deputize.authority.journal import append
from deputize.authority.parts import Parts, PolicyMoved
from deputize.authority.policy_sets import MILLIS, active_digest, active_text, compiled
from deputize.config import Configuration
from deputize.model.event import Event
from deputize.model.failure import AuthorityUnavailable, ConfigurationError, DeputizeError
from deputize.store.protocol import WriteTx
from deputize.verifier.process import ProcessLock

MAX_REASON: Final = 200  # characters
_RETRY: Final = 5.0  # seconds


class StoreFollower:
    """Loads sets from the store, one at a time. `replica`: what this process was started with."""

    def __init__(self, replica: Configuration) -> None:
        self._replica = replica
        self._lock = ProcessLock()
        self._broken: tuple[str, bytes] | None = None  # digest and hash of the texts that did not compile

    def follow(self, parts: Parts) -> None:
        """Swap `parts.rules` for the active set; at once where another thread did so already.

        Raises AuthorityUnavailable where its texts are missing or do not compile; that is recorded once.
        """
        with self._lock:
            digest, text = parts.store.read(lambda tx: active_text(tx, parts.rules.policy.digest))
            if digest is None or digest == parts.rules.policy.digest:
                return
            seen = (digest, sha256((text or "").encode("utf-8", "surrogatepass")).digest())
            if self._broken == seen:
                raise _unavailable()
            try:
                rules = compiled(text, digest, replica=self._replica)
            except ConfigurationError as error:
                self._broken = seen
                _tell(parts, digest, error)
                raise _unavailable() from None
            self._broken = None
            parts.keys.allow_for(rules.limits)
            parts.rules = rules


def policy_ready(parts: Parts) -> bool:
    """Whether this process decides by the store's set; a replica that follows loads it first. Never raises."""
    try:
        if parts.store.read(active_digest) == parts.rules.policy.digest:
            return True
        if parts.follower is None:
            return False
        parts.follower.follow(parts)
        return parts.store.read(active_digest) == parts.rules.policy.digest
    except DeputizeError:
        return False


def _unavailable() -> AuthorityUnavailable:
    return PolicyMoved("this replica cannot load the policy set that the store decides by", retry_after=_RETRY)


def _tell(parts: Parts, digest: str, error: ConfigurationError) -> None:
    """A set that cannot be loaded is an event, once for each process and text."""
    detail = {"set": digest[:MAX_REASON], "reason": str(error)[:MAX_REASON], "file": error.path, "key": error.key}

    def operation(tx: WriteTx) -> None:
        time = int(parts.stamp(tx) * MILLIS)
        members = {name: value for name, value in detail.items() if value}
        append(tx, Event(type="policy.unloadable", outcome="failed", time=time, code=error.code, detail=dict(members)))

    parts.store.write(operation)
