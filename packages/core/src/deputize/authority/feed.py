"""The revocation feed: a filter of the log in leaf order (SEMANTICS, "Revocation"). No HTTP here.

A cursor is a size of the log: whoever has it was told of every record before. What expired anyway is left out.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deputize.audit import tree
from deputize.audit.log import Log, tree_size
from deputize.audit.protocol import NoteSigner
from deputize.model.clock import Clock
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Node
from deputize.store.protocol import ReadTx, Store
from deputize.verifier.process import ProcessLock
from deputize.wire.feed import MAX_LEEWAY, PAGE, FeedEntry, Head, Heartbeat, Page, name_digest

if TYPE_CHECKING:
    from deputize.audit.checkpoint import Checkpoint

MILLIS: Final = 1000
_ALL: Final = 10_000_000  # sessions below one cause
_NAMED: Final = frozenset({Kind.AGENT, Kind.USER})


@dataclass(frozen=True, slots=True)
class Reading:
    """A page, the size of the log that it was read from, and when that read began (milliseconds)."""

    page: Page
    size: int
    as_of: int


class Feed:
    """Reads the feed of one store, and signs heartbeats with the log's key. Safe for threads.

    `unanchored`: the key lives in this process alone; see `docs/formats/checkpoint.md`.
    """

    def __init__(self, *, issuer: str, store: Store, clock: Clock, key: NoteSigner, unanchored: bool) -> None:
        self.issuer = issuer
        self._store = store
        self._clock = clock
        self._key = key
        self._unanchored = unanchored
        self._lock = ProcessLock()
        self._last: Checkpoint | None = None
        self._signed_at = -1  # size of the log when `_last` was asked for

    def changes(self) -> int:
        """Another number than last time if there may be something new. Cheap. Raises StoreError."""
        return self._store.change_count()

    def read(self, after: int = 0, *, head: Head | None = None, limit: int = PAGE) -> Reading:
        """What was revoked by the records from `after` on; from the start where that is no cursor of this log.

        `head`: what the reader last heard the log to be. Where the log never was that, as after the restoration of a
        backup, its cursor says nothing: other records may lie before it.
        At most about `limit` rows of the list; more are to come where the page is not the last. Raises StoreError.
        """
        own = self._clock.now()

        def operation(tx: ReadTx) -> Reading:
            size = tx.size()
            now = max(own, tx.newest_time() / MILLIS)
            start = after if 0 < after <= size and (head is None or _was(tx, head)) else 0
            live_at = int(now) - MAX_LEEWAY
            found = tx.revocations(after_seq=start - 1, live_at=live_at, limit=limit + 1)
            rows = [row for row in found if row.seq < size]
            kept = _whole_records(rows, limit)
            last = len(kept) == len(rows)
            page = Page(
                entries=tuple(entry for row in kept for entry in self._entries(tx, row, int(now))),
                cursor=size if last else kept[-1].seq + 1,
                first=start == 0,
                last=last,
            )
            return Reading(page, size, int(own * MILLIS))

        return self._store.read(operation)

    def heartbeat(self, reading: Reading) -> Heartbeat:
        """That all until `reading` began was told. Signs the log's head where the log has grown since.

        Raises StoreError, and IntegrityError (`log_inconsistent`) where the log no longer holds what was signed.
        """
        with self._lock:
            if self._last is None or self._signed_at != reading.size:
                log = Log(self._store)
                self._last = log.checkpoint(
                    self._key, origin=self._key.name, unanchored=self._unanchored, before=self._last
                )
                self._signed_at = reading.size
            note = str(self._last)
        return Heartbeat(cursor=reading.page.cursor, as_of=reading.as_of, checkpoint=note)

    def size(self) -> int:
        """The cursor of now. Raises StoreError."""
        return self._store.read(lambda tx: tx.size())

    def checkpoint(self) -> str:
        """The signed head of the log as it is now: a C2SP note. Raises StoreError, IntegrityError."""
        return self.heartbeat(self.read(self.size())).checkpoint

    def _entries(self, tx: ReadTx, row: RevocationEntry, now: int) -> list[FeedEntry]:
        """A row as readers see it: names as digests, with the sessions that hang below by another name."""
        name = name_digest(self.issuer, row.id) if row.kind in _NAMED else row.id
        own = FeedEntry(kind=row.kind, id=name, until=row.until, seq=row.seq, before=row.before)
        below = [
            FeedEntry(kind=Kind.SESSION, id=node.sid, until=node.exp, seq=row.seq) for node in _below(tx, row, now)
        ]
        return [own, *below]


def _was(tx: ReadTx, head: Head) -> bool:
    """Whether the log began as the reader heard it to be."""
    return head.size <= tree_size(tx) and tree.root(head.size, tx) == head.root


def _below(tx: ReadTx, row: RevocationEntry, now: int) -> list[Node]:
    """The top-most live sessions that an agent's or a user's row kills: a chain's inner names decide nothing."""
    if row.kind not in _NAMED:
        return []
    live_at = now - MAX_LEEWAY
    if row.kind is Kind.AGENT:
        found = tx.sessions(agent=row.id, live_at=live_at, limit=_ALL)
    else:
        found = [node for node in tx.sessions(sub=row.id, live_at=live_at, limit=_ALL) if node.sid == node.txn]
    killed = {node.sid: node for node in found if row.before is None or node.created <= row.before}
    return [node for node in killed.values() if killed.keys().isdisjoint(node.ancestors)]


def _whole_records(rows: list[RevocationEntry], limit: int) -> list[RevocationEntry]:
    """The first `limit` rows, or as many as end where a record ends: a cursor never splits one."""
    if len(rows) <= limit:
        return rows
    following = rows[limit].seq
    whole = [row for row in rows[:limit] if row.seq != following]
    return whole or rows
