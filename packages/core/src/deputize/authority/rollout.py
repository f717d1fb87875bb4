"""Rolling out policy: apply a set, look back, roll back. Every move is a record and replicas follow it.

For a server's operators and the command line alike; who may call this is theirs to decide.
"""

from dataclasses import dataclass
from typing import Final

from deputize.audit.record import open_body
from deputize.authority.policy_sets import (
    APPLIED,
    active_digest,
    compiled,
    kept_text,
    move,
    point,
    reproducible,
    require_active,
)
from deputize.authority.rules import rules_of
from deputize.config import Bundle, Configuration, parse_bundle
from deputize.model.clock import Clock
from deputize.model.event import Record
from deputize.model.failure import ConfigurationError, InvalidRequest, NotFound
from deputize.store.protocol import ReadTx, Store, WriteTx

MAX_REASON: Final = 512  # characters
MIN_DIGEST: Final = 6  # characters of a digest that may stand for it
TRUST_DOMAIN: Final = "authority.trust_domain"  # meta row of the store's owner
_ALL: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One move of the pointer. `at` is seconds since the epoch, `seq` the number of its record."""

    digest: str
    at: float
    by: str
    reason: str
    seq: int
    previous: str | None
    active: bool  # the one that decides now

    def to_dict(self) -> dict[str, object]:
        """As data, on the wire and in a terminal."""
        return {
            "policy_set": self.digest,
            "at": self.at,
            "by": self.by,
            "reason": self.reason,
            "record": self.seq,
            "previous": self.previous,
            "active": self.active,
        }


def apply(
    store: Store,
    clock: Clock,
    configuration: Configuration,
    *,
    by: str,
    role: str = "",
    reason: str = "",
    expected: str | None = None,
) -> str:
    """Make the store decide by `configuration`; returns its digest. From then on nothing is decided by another.

    `expected`: the digest (or its beginning) that must be active, or nothing moves (InvalidRequest,
    `policy_conflict`). Without it the last of two wins, and both are recorded. Raises ConfigurationError.
    """
    _check_reason(reason)
    rules = rules_of(configuration)
    reproducible(rules)
    _check_domain(store, configuration)
    wanted = store.read(lambda tx: _known(tx, expected)) if expected is not None else None
    move(store, clock, rules, by=by, role=role, reason=reason, expected=wanted)
    return rules.policy.digest


def rollback(store: Store, clock: Clock, to: str | None = None, *, by: str, role: str = "", reason: str = "") -> str:
    """Make the store decide by a set that it decided by before; None: the one before the active one.

    Only a set that was applied once, by the log. Raises NotFound; ConfigurationError where this release cannot
    load it; InvalidRequest (`policy_conflict`) where the active set moved meanwhile.
    """
    _check_reason(reason)

    def look(tx: ReadTx) -> tuple[str, str | None, str | None]:
        active = active_digest(tx)
        digest = _known(tx, to) if to is not None else _previous(tx, active)
        return digest, kept_text(tx, digest), active

    digest, text, active = store.read(look)
    compiled(text, digest)

    def operation(tx: WriteTx) -> None:
        require_active(active_digest(tx), active)
        point(tx, clock, digest, {"previous": active, "by": by, "role": role, "reason": reason, "way": "rollback"})

    store.write(operation, sync=True)
    return digest


def history(store: Store) -> list[Applied]:
    """Every move, oldest first, from the log."""
    return store.read(_history)


def show(store: Store, digest: str | None = None) -> Bundle:
    """The texts of a set that was applied once; None: of the active one. Raises NotFound."""

    def look(tx: ReadTx) -> str | None:
        return kept_text(tx, _known(tx, digest) if digest is not None else active_digest(tx) or "")

    text = store.read(look)
    if text is None:
        raise NotFound("the store has no texts of this policy set")
    return parse_bundle(text)


def resolve(store: Store, digest: str | None = None) -> str:
    """The whole digest that a beginning of at least 6 characters stands for; None: of the active set.

    Raises NotFound where no set that was ever applied is called so, or several are.
    """

    def look(tx: ReadTx) -> str:
        found = active_digest(tx) if digest is None else _known(tx, digest)
        if found is None:
            raise NotFound("this store decides by no policy set yet")
        return found

    return store.read(look)


def _known(tx: ReadTx, digest: str) -> str:
    names = {move.digest for move in _history(tx)}
    found = [name for name in names if name.startswith(digest)] if len(digest) >= MIN_DIGEST else []
    if len(found) != 1:
        raise NotFound(f"no one policy set that was applied here begins so; at least {MIN_DIGEST} characters")
    return found[0]


def _previous(tx: ReadTx, active: str | None) -> str:
    for made in reversed(_history(tx)):
        if made.digest == active and made.previous not in {None, active}:
            return str(made.previous)
    raise NotFound("no policy set decided here before this one")


def _history(tx: ReadTx) -> list[Applied]:
    active = active_digest(tx)
    return [_applied(record, active) for record in tx.find(type=APPLIED, limit=_ALL)]


def _applied(record: Record, active: str | None) -> Applied:
    body = open_body(record)
    detail = body.get("detail")
    told = detail if isinstance(detail, dict) else {}
    digest, previous = body.get("policy_set"), told.get("previous")
    return Applied(
        digest=str(digest or ""),
        at=record.time / 1000,
        by=str(told.get("by", "")),
        reason=str(told.get("reason", "")),
        seq=record.seq,
        previous=previous if isinstance(previous, str) else None,
        active=digest is not None and digest == active,
    )


def _check_reason(reason: str) -> None:
    if len(reason) > MAX_REASON:
        raise InvalidRequest(f"a reason is at most {MAX_REASON} characters")


def _check_domain(store: Store, configuration: Configuration) -> None:
    domain = store.read(lambda tx: tx.meta(TRUST_DOMAIN))
    if domain not in {None, configuration.trust_domain}:
        raise ConfigurationError(
            "this store belongs to another trust domain; one store is of one authority",
            path=configuration.path,
            key=TRUST_DOMAIN,
        )
