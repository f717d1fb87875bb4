"""What a store is: transactions over sessions, grants, revocations, keys and the log.

One conformance suite (`packages/core/tests/store/test_conformance.py`) holds for every implementation.
Everything that an operation writes commits together or not at all; an operation reads what it wrote.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from deputize.model.event import Record
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Grant, Node, State
from deputize.store.rows import KeyRow, Remembered

T = TypeVar("T")


class ReadTx(Protocol):
    """One consistent view. Dead once the operation that received it has returned."""

    def session(self, sid: str) -> Node | None:
        """The session as it is stored now."""
        ...

    def line(self, node: Node) -> list[Node]:
        """All ancestors of `node`, root first, then itself, fresh from the store in one query.

        Raises IntegrityError if one of them is missing.
        """
        ...

    def sessions(
        self,
        *,
        txn: str | None = None,
        sub: str | None = None,
        agent: str | None = None,
        live_at: int | None = None,
        below: int | None = None,
        limit: int = 1000,
    ) -> list[Node]:
        """The newest `limit` sessions that match, oldest first; `below`: opened by a record before this one.

        `live_at` (seconds) keeps those that are open and unexpired in themselves; ancestors are not asked.
        """
        ...

    def tree_secret(self, txn: str) -> bytes | None:
        """The random key of the tree's digests; None if there is no such tree or it was erased."""
        ...

    def grant(self, jti: str) -> Grant | None:
        """The grant behind an access token."""
        ...

    def grants(self, *, txn: str) -> list[Grant]:
        """All grants of a tree, oldest first."""
        ...

    def remembered(self, key: str) -> Remembered | None:
        """What an earlier call under the same idempotency key came to."""
        ...

    def revoked(self, kind: Kind, id: str) -> RevocationEntry | None:  # noqa: A002  # the column's name, as in RevocationEntry
        """The row that kills exactly this; what kills from above is another row."""
        ...

    def revoked_among(self, ids: Sequence[str]) -> list[RevocationEntry]:
        """Every row, of any kind, that names one of `ids`, in the order of the log; in one query."""
        ...

    def revocations(
        self, *, after_seq: int = -1, live_at: int | None = None, limit: int | None = None
    ) -> list[RevocationEntry]:
        """Rows whose record came after `after_seq`, in the order of the log; the first `limit` of them.

        `live_at` (seconds) keeps those whose `until` is not before it.
        """
        ...

    def keys(self) -> list[KeyRow]:
        """All published keys, the expired too, by the start of their time."""
        ...

    def meta(self, name: str) -> str | None:
        """A named value, e.g. the active policy digest."""
        ...

    def tile(self, level: int, index: int) -> bytes | None:
        """A tile of the Merkle tree: up to 256 hashes of 32 bytes."""
        ...

    def size(self) -> int:
        """Number of records of the log, erased ones included."""
        ...

    def newest_time(self) -> int:
        """The time of the newest record, milliseconds since the epoch; 0 if there is none."""
        ...

    def record(self, seq: int) -> Record | None:
        """One record. `event` is None: the body tells."""
        ...

    def has_record(self, seq: int, *, sid: str | None = None, jti: str | None = None) -> bool:
        """Whether there is a record with this number, erased or not, of this session and this token."""
        ...

    def records(self, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
        """Records with start <= seq < end in order, read in pages; only inside the operation."""
        ...

    def find(
        self,
        *,
        txn: str | None = None,
        sid: str | None = None,
        jti: str | None = None,
        agent: str | None = None,
        sub: str | None = None,
        tool: str | None = None,
        resource: str | None = None,
        outcome: str | None = None,
        call_id: str | None = None,
        reference: str | None = None,
        type: str | None = None,  # noqa: A002  # the record's member, as in Event
        since_ms: int | None = None,
        until_ms: int | None = None,
        below: int | None = None,
        limit: int = 1000,
    ) -> list[Record]:
        """The newest `limit` records that match all that was given, oldest first.

        `since_ms` <= time < `until_ms`; seq < `below`. A record that names a session and a tree names that
        session's tree.
        Erased records match by txn, sid, jti, type, outcome and time only.
        """
        ...

    def leaves(self, start: int, end: int) -> list[bytes]:
        """Leaf hashes with start <= seq < end in order."""
        ...


class WriteTx(ReadTx, Protocol):
    """A view that can change. Nothing is visible to others before the operation's transaction commits."""

    def next_seq(self) -> int:
        """The number that the next record gets."""
        ...

    def add_record(self, record: Record) -> None:
        """Append to the log. Raises IntegrityError unless `record.seq` is the next number."""
        ...

    def add_tree(self, txn: str, secret: bytes) -> None:
        """Start a tree with the random key of its digests. It counts one session, its root."""
        ...

    def add_session(self, node: Node) -> None:
        """Insert. Raises StoreError (`store_conflict`) where the sid exists."""
        ...

    def count_child(self, txn: str, parent: str) -> tuple[int, int]:
        """Count one more session in the tree and below `parent`; both new counts, in this order.

        Raises IntegrityError where tree or parent are missing.
        """
        ...

    def end_session(self, sid: str, state: State) -> None:
        """Move from open to a final state; an ended session stays as it is. Raises NotFound."""
        ...

    def add_grant(self, grant: Grant) -> None:
        """Insert. Raises StoreError (`store_conflict`) where the jti exists."""
        ...

    def remember(self, row: Remembered) -> None:
        """Put, or replace what this operation read under the same key."""
        ...

    def forget(self, before: int) -> None:
        """Delete remembered outcomes and spent proofs whose `until` is before this second."""
        ...

    def revoke(self, entry: RevocationEntry) -> None:
        """Put. A repeat unites: the later `until` and `before` win, and it moves to its newer record.

        Of an agent the newer record's `before` wins: None suspends it, a second resumes it (what was made until then
        stays dead: time never goes back, so that a later one covers every one before).
        """
        ...

    def spend(self, issuer: str, jti: str, until: int) -> bool:
        """True the first time that (issuer, jti) is shown; it is kept until `until`."""
        ...

    def put_key(self, row: KeyRow) -> None:
        """Insert or replace by kid."""
        ...

    def drop_key(self, kid: str) -> None:
        """Delete; nothing happens where there is none."""
        ...

    def set_meta(self, name: str, value: str) -> None:
        """Insert or replace a named value."""
        ...

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        """Insert or replace a tile."""
        ...

    def erase(self, seq: int) -> None:
        """Drop body, salt and what could name a person; the leaf and the random ids stay. Raises NotFound."""
        ...

    def erase_tree(self, txn: str) -> None:
        """Drop the random key of the digests and the tasks of the tree's sessions. Raises NotFound."""
        ...


class Store(Protocol):
    """Transactions. Safe for threads; several processes may share one.

    An operation is called once, or again only after its transaction rolled back. It may run in another
    thread than the caller's, so it reads no thread or context locals. An exception in it undoes it alone
    and reaches the caller unchanged; failures of the store itself are StoreError.
    """

    def write(self, op: Callable[[WriteTx], T], *, sync: bool = False) -> T:
        """Run `op` and commit. `sync`: on disk when this returns, whatever the durability."""
        ...

    def read(self, op: Callable[[ReadTx], T]) -> T:
        """Run `op` on one consistent view that is at least as new as every write that has returned."""
        ...

    def change_count(self) -> int:
        """Another number than last time if anybody may have written since, this process included. Cheap."""
        ...

    def close(self) -> None:
        """Give everything back. Later calls raise StoreError (`store_closed`)."""
        ...
