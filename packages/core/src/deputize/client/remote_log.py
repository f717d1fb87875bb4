"""The log of a server, as an operator reads it: nothing is believed that can be recomputed."""

from collections.abc import Iterator, Mapping

from deputize.audit import tree
from deputize.audit.checkpoint import Checkpoint, VerifierKey, origin_of, parse
from deputize.audit.findings import Report
from deputize.audit.log import CHECKPOINT, TREE_SIZE
from deputize.audit.proofs import parse_consistency, verify_consistency
from deputize.audit.record import as_data, check
from deputize.audit.verification import verify
from deputize.authority.log_search import LogSearch
from deputize.authority.operating import MAX_PAGE, Operating, SignedHead, Wanted
from deputize.model.event import Json, Record
from deputize.model.failure import IntegrityError
from deputize.wire.json_strict import dumps


class RemoteLog(LogSearch):
    """The same methods as `AuditLog` of an embedded authority, over what a server tells."""

    def __init__(self, operating: Operating, issuer: str) -> None:
        self._operating = operating
        self._origin = origin_of(issuer)

    def checkpoint(self) -> str:
        """Have the head of the log signed as it is now: a C2SP note. Keep it, and `verify(against=...)` later."""
        return self._operating.checkpoint().note

    def continues(self, older: str) -> SignedHead:
        """A new checkpoint, proved to continue `older` by a proof alone: no record is fetched.

        Raises IntegrityError: `log_inconsistent`, `proof_foreign`.
        """
        before, head = parse(older), self._operating.checkpoint()
        new = parse(head.note)
        if new.size < before.size:
            raise IntegrityError("the log is shorter than it was", code="log_inconsistent")
        if before.size > 0:
            told = self._operating.consistency(before.size, new.size)
            verify_consistency(parse_consistency(dumps(told)), before, new)
        return head

    def verify(self, against: str | None = None, *, trusted: VerifierKey | None = None) -> Report:
        """Fetch every record, recompute the log, and compare it with the head that the server signs now.

        `against`: a checkpoint that was kept outside; `trusted`: the key that must have signed it. Findings name each
        record; what comes after the signed head is pending.
        """
        head = parse(self._operating.checkpoint().note)
        fetched = _Fetched(head, self._records(Wanted()))
        kept = parse(against) if against is not None else None
        return verify(fetched, against=kept, trusted=trusted, origin=self._origin)

    def __len__(self) -> int:
        found = self._operating.records(Wanted(), limit=1).records
        return found[-1].seq + 1 if found else 0

    def found(self, wanted: Wanted, limit: int) -> list[Mapping[str, Json]]:
        """See LogSearch."""
        return [_plain(record) for record in self._records(wanted, limit)]

    def __iter__(self) -> Iterator[Mapping[str, Json]]:
        yield from (_plain(record) for record in self._records(Wanted()))

    def _records(self, wanted: Wanted, limit: int | None = None) -> list[Record]:
        return fetch(self._operating, wanted, limit)


def fetch(operating: Operating, wanted: Wanted, limit: int | None) -> list[Record]:
    """The newest `limit` records that match, oldest first, page by page; None: all."""
    pages: list[tuple[Record, ...]] = []
    left, below = limit, None
    while left is None or left > 0:
        page = operating.records(wanted, limit=min(MAX_PAGE, left or MAX_PAGE), below=below)
        pages.append(page.records)
        left = None if left is None else left - len(page.records)
        if page.below is None or not page.records or (below is not None and page.below >= below):
            break
        below = page.below
    return [record for page in reversed(pages) for record in page]


class _Fetched:
    """What was fetched, as a log that can be verified: the tree is made of the leaves that came."""

    def __init__(self, head: Checkpoint, records: list[Record]) -> None:
        self._records = records
        self._tiles: dict[tuple[int, int], bytes] = {}
        leaves = [record.leaf for record in records if record.seq < head.size]
        size = tree.integrate(self, 0, leaves) if leaves else 0
        self._meta = {TREE_SIZE: str(size), CHECKPOINT: str(head)}

    def size(self) -> int:
        """See LogReader."""
        return len(self._records)

    def record(self, seq: int) -> Record | None:
        """See LogReader."""
        return next(iter(self.records(start=seq, end=seq + 1)), None)

    def records(self, *, start: int = 0, end: int | None = None) -> Iterator[Record]:
        """See LogReader."""
        return (item for item in self._records if item.seq >= start and (end is None or item.seq < end))

    def leaves(self, start: int, end: int) -> list[bytes]:
        """See LogReader."""
        return [record.leaf for record in self.records(start=start, end=end)]

    def meta(self, name: str) -> str | None:
        """See LogReader."""
        return self._meta.get(name)

    def tile(self, level: int, index: int) -> bytes | None:
        """See LogReader."""
        return self._tiles.get((level, index))

    def put_tile(self, level: int, index: int, data: bytes) -> None:
        """See TileWriter."""
        self._tiles[level, index] = data


def _plain(record: Record) -> Mapping[str, Json]:
    check(record)
    return as_data(record)
