"""Erasing bodies of records that are older than the configuration keeps them. Leaves, and so every proof, stay."""

from typing import Final

from deputize.audit.record import is_erased, open_body
from deputize.authority.journal import append
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS
from deputize.model.event import Event, Record
from deputize.model.failure import IntegrityError
from deputize.store.protocol import WriteTx

TYPE: Final = "records.erased"
PAGE: Final = 512  # records of a transaction
_MARK: Final = "audit.erased_to"  # meta row: every record before this number was looked at
_KEPT: Final = ("key.", "policy.", "records.")  # name no person, and are read to verify and to roll back


def erase_old(parts: Parts) -> int:
    """Erase every body older than `retention`, page by page; how many. Any number of processes may do it at once."""
    total, more = 0, True
    while more:
        erased, more = parts.store.write(lambda tx: _page(parts, tx))
        total += erased
    return total


def _page(parts: Parts, tx: WriteTx) -> tuple[int, bool]:
    now = parts.moment(tx)
    before = int((now - parts.rules.configuration.retention) * MILLIS)
    start = int(tx.meta(_MARK) or 0)
    found = list(tx.records(start=start, end=min(start + PAGE, tx.size())))
    old = [record for record in found if record.time < before]
    if not old:
        return 0, False
    kept = (record for record in old if not is_erased(record) and not record.type.startswith(_KEPT))
    erased = [record for record in kept if _erased(tx, record, int(now))]
    tx.set_meta(_MARK, str(old[-1].seq + 1))
    if erased:
        detail = {"from": erased[0].seq, "to": erased[-1].seq, "records": len(erased)}
        time = int(parts.stamp(tx) * MILLIS)
        append(tx, Event(type=TYPE, outcome="done", time=time, detail=dict(detail)))
    return len(erased), len(old) == PAGE


def _erased(tx: WriteTx, record: Record, now: int) -> bool:
    """The body; and the tree's own key, once nothing in the tree can live any more. False: a body that was damaged.

    That one stays, or erasing would hide what was done to it.
    """
    try:
        txn = open_body(record).get("txn")
    except IntegrityError:
        return False
    tx.erase(record.seq)
    root = tx.session(txn) if isinstance(txn, str) else None
    if root is not None and root.exp < now and tx.tree_secret(root.txn) is not None:
        tx.erase_tree(root.txn)
    return True
