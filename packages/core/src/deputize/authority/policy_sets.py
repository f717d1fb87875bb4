"""Policy sets in the store: their texts, which of them decides, and the record of every move.

A set lies in the row `policy.set.<digest>`, as the bundle of its texts. The pointer `policy.active` moves in
the transaction that keeps the texts and appends the record, so that a set that decides can always be read.
"""

from pathlib import PurePath
from typing import Final

from deputize.authority.journal import append
from deputize.authority.parts import ACTIVE_POLICY
from deputize.authority.rules import Rules, rules_of
from deputize.config import Bundle, Configuration, from_bundle, parse_bundle
from deputize.model.clock import Clock
from deputize.model.event import Event, Json
from deputize.model.failure import ConfigurationError, InvalidRequest
from deputize.store.protocol import ReadTx, Store, WriteTx

APPLIED: Final = "policy.applied"  # type of the record
CONFLICT: Final = "policy_conflict"
MILLIS: Final = 1000
NO_SET: Final = ""  # expected: this store decides by no set yet
_ROW: Final = "policy.set."
_PLAIN: Final = "0123456789abcdef"
_DIGEST: Final = 64  # characters


def active_digest(tx: ReadTx) -> str | None:
    """The set that the store decides by; None in a new store."""
    return tx.meta(ACTIVE_POLICY)


def kept_text(tx: ReadTx, digest: str) -> str | None:
    """The bundle of a set as it is stored. None: unknown, or of a release that kept none."""
    plain = len(digest) == _DIGEST and all(sign in _PLAIN for sign in digest)
    return tx.meta(_ROW + digest) if plain else None


def active_text(tx: ReadTx, loaded: str | None = None) -> tuple[str | None, str | None]:
    """The set that the store decides by and its texts; no texts where it is `loaded` already."""
    digest = active_digest(tx)
    return digest, kept_text(tx, digest) if digest is not None and digest != loaded else None


def compiled(text: str | None, digest: str, *, replica: Configuration | None = None) -> Rules:
    """The rules of a stored bundle. What compiles to another digest is not the set: ConfigurationError."""
    if text is None:
        raise ConfigurationError("the store has no texts of this policy set")
    rules = rules_of(from_bundle(parse_bundle(text), replica=replica))
    if rules.policy.digest != digest:
        raise ConfigurationError("the texts of this policy set are not those of its digest, or of another release")
    said = rules.configuration
    if replica is not None and said.users == "unrestricted" and said.asserted and not replica.asserted:
        raise ConfigurationError(
            "this policy set lets a process name its users, as one in process may; for a server: "
            "deputize policy apply --no-asserted"
        )
    if replica is not None and replica.trust_domain != rules.registry.trust_domain:
        raise ConfigurationError("this policy set is of another trust domain")
    return rules


def reproducible(rules: Rules) -> Bundle:
    """The bundle of a configuration, once it is shown to give the same set again. Raises ConfigurationError."""
    bundle = rules.configuration.bundle
    if bundle is None:
        raise ConfigurationError("this configuration has no texts: it was changed after it was read")
    compiled(bundle.text(), rules.policy.digest)
    return bundle


def move(
    store: Store,
    clock: Clock,
    rules: Rules,
    *,
    by: str,
    role: str = "",
    reason: str = "",
    expected: str | None = None,
) -> tuple[str | None, int]:
    """Keep a set, point the store at it and record that, all or nothing. Returns the one before, and the record.

    `expected`: the set that is to be replaced. Raises InvalidRequest (`policy_conflict`) where another is active.
    """
    digest, bundle = rules.policy.digest, rules.configuration.bundle

    def operation(tx: WriteTx) -> tuple[str | None, int]:
        previous = active_digest(tx)
        require_active(previous, expected)
        if bundle is not None:
            tx.set_meta(_ROW + digest, bundle.text())
        file = PurePath(rules.configuration.path).name
        detail = {"previous": previous, "file": file, "by": by, "role": role, "reason": reason}
        return previous, point(tx, clock, digest, detail)

    return store.write(operation, sync=True)


def keep(store: Store, rules: Rules) -> None:
    """Write the texts of a set that is active already."""
    bundle = rules.configuration.bundle
    if bundle is not None:
        text = bundle.text()
        store.write(lambda tx: tx.set_meta(_ROW + rules.policy.digest, text))


def require_active(found: str | None, expected: str | None) -> None:
    """Compare and swap: raise InvalidRequest where another set is active than `expected` (None: any; NO_SET: none)."""
    if expected is not None and (found or NO_SET) != expected:
        message = "another policy set is active than the one that was to be replaced; look at it first"
        raise InvalidRequest(message, code=CONFLICT)


def point(tx: WriteTx, clock: Clock, digest: str, detail: dict[str, str | None]) -> int:
    """Move the pointer and append the record; its number."""
    members: dict[str, Json] = {name: value for name, value in detail.items() if value}
    time = max(int(clock.now() * MILLIS), tx.newest_time())
    record = append(tx, Event(type=APPLIED, outcome="noted", time=time, policy_set=digest, detail=members))
    tx.set_meta(ACTIVE_POLICY, digest)
    return record.seq
