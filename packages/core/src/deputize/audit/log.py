"""The log as it grows: records into the tree in batches, its head, proofs, and signed checkpoints.

Works on any store that has the methods of `protocol`. Integration is a transaction of its own, after those that
added the records: one that adds a record never waits for the tree.
"""

from typing import Final

from deputize.audit import tree
from deputize.audit.checkpoint import Checkpoint, VerifierKey, parse, sign
from deputize.audit.protocol import LogReader, LogStore, LogWriter, NoteSigner
from deputize.model.event import Event
from deputize.model.failure import IntegrityError

TREE_SIZE: Final = "log.size"  # meta: leaves that are in the tree
CHECKPOINT: Final = "log.checkpoint"  # meta: the last note that was signed on this store
BATCH: Final = 4096  # records integrated in one transaction


def tree_size(log: LogReader) -> int:
    """How many records the tree holds. Raises IntegrityError (`log_damaged`) where the store's note of it is none."""
    text = log.meta(TREE_SIZE) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # noqa: PLR2004  # digits of a 63-bit number
        raise IntegrityError("the store does not say how large its tree is", code="log_damaged")
    return int(text)


def integrate_pending(log: LogWriter, *, limit: int = BATCH) -> int:
    """Put up to `limit` records that are not in the tree yet into it; returns how many are still to come.

    Raises IntegrityError: `record_missing` where the records have a hole, `tile_missing`.
    """
    size, total = tree_size(log), log.size()
    end = min(total, size + limit)
    if end <= size:
        return 0
    leaves = log.leaves(size, end)
    if len(leaves) != end - size or not all(_is_hash(leaf) for leaf in leaves):
        raise IntegrityError(f"records {size} to {end - 1} are not all there", code="record_missing")
    log.set_meta(TREE_SIZE, str(tree.integrate(log, size, leaves)))
    return total - end


def stored_checkpoint(log: LogReader) -> Checkpoint | None:
    """The last checkpoint that was signed on this store. Raises IntegrityError (`checkpoint_malformed`)."""
    note = log.meta(CHECKPOINT)
    return None if note is None else parse(note)


def key_published(key: VerifierKey, *, time: int, anchor: str) -> Event:
    """The event that tells the log its own key (`time`: milliseconds), so that old checkpoints can be checked."""
    detail = {"use": "log", "vkey": str(key), "anchor": anchor}
    return Event(type="key.published", outcome="noted", time=time, detail=dict(detail))


class Log:
    """The log of one store, for whoever may write it."""

    def __init__(self, store: LogStore) -> None:
        self._store = store

    def integrate(self) -> int:
        """Put every committed record into the tree, a transaction a batch; returns the tree's size."""
        while self._store.write(integrate_pending):
            pass
        return self._store.read(tree_size)

    def head(self) -> tuple[int, bytes]:
        """Size and root of the tree as it is committed."""
        return self._store.read(_head)

    def inclusion_proof(self, seq: int) -> tuple[int, bytes, list[bytes]]:
        """Size, root and the proof that the record is in that tree. Raises InvalidRequest before it is integrated."""

        def read(log: LogReader) -> tuple[int, bytes, list[bytes]]:
            size, root = _head(log)
            return size, root, tree.inclusion_proof(seq, size, log)

        return self._store.read(read)

    def consistency_proof(self, size: int) -> tuple[int, bytes, list[bytes]]:
        """Size, root and the proof that the tree of `size` leaves is the beginning of that tree."""

        def read(log: LogReader) -> tuple[int, bytes, list[bytes]]:
            now, root = _head(log)
            return now, root, tree.consistency_proof(size, now, log)

        return self._store.read(read)

    def checkpoint(
        self, key: NoteSigner, *, origin: str, unanchored: bool, before: Checkpoint | None = None
    ) -> Checkpoint:
        """Integrate, and only once that is committed sign the head.

        Refuses to sign a head that contradicts the last one signed on this store (tlog-checkpoint,
        "Signatures"), or `before`, one that the caller kept: IntegrityError (`log_inconsistent`).
        """
        self.integrate()
        self._store.write(_settle, sync=True)  # what is signed must not be taken back by a power cut
        size, root = self._store.read(lambda log: _consistent_head(log, before))
        made = sign(origin=origin, size=size, root=root, key=key, unanchored=unanchored)

        def keep(log: LogWriter) -> None:
            last = stored_checkpoint(log)
            if last is None or last.size <= made.size:
                log.set_meta(CHECKPOINT, str(made))

        self._store.write(keep)
        return made


def _settle(log: LogWriter) -> None:
    """A change of no consequence: synced, it takes everything before it along."""
    log.set_meta(TREE_SIZE, str(tree_size(log)))


def _is_hash(leaf: object) -> bool:
    return isinstance(leaf, bytes) and len(leaf) == tree.HASH


def _head(log: LogReader) -> tuple[int, bytes]:
    size = tree_size(log)
    return size, tree.root(size, log)


def _consistent_head(log: LogReader, before: Checkpoint | None) -> tuple[int, bytes]:
    size, root = _head(log)
    for last in (stored_checkpoint(log), before):
        if last is not None and (last.size > size or tree.root(last.size, log) != last.root):
            message = f"the log no longer holds what was signed at {last.size} records: nothing is signed"
            raise IntegrityError(message, code="log_inconsistent")
    return size, root
