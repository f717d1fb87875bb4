"""Proofs and records for whoever wants to check the log from outside. No HTTP here.

A proof names nobody: hashes and numbers. A record's body does, so its caller says whether it is permitted.
"""

from deputize.audit import tree
from deputize.audit.log import Log, tree_size
from deputize.audit.proofs import Consistency, Inclusion, consistency_members, inclusion_members, record_members
from deputize.model.event import Json
from deputize.model.failure import InvalidRequest, NotFound
from deputize.store.protocol import ReadTx, Store


def inclusion(store: Store, seq: int, size: int) -> dict[str, Json]:
    """That record `seq` is among the first `size`. Raises NotFound, InvalidRequest (`invalid_proof`), StoreError."""
    _ready(store, size)

    def operation(tx: ReadTx) -> Inclusion:
        _check_size(tx, size)
        leaves = tx.leaves(seq, seq + 1) if 0 <= seq < size else []
        if not leaves:
            raise NotFound("the log has no such record below that size")
        return Inclusion(
            seq=seq,
            size=size,
            root=tree.root(size, tx),
            leaf=leaves[0],
            proof=tuple(tree.inclusion_proof(seq, size, tx)),
        )

    return inclusion_members(store.read(operation))


def consistency(store: Store, first: int, second: int) -> dict[str, Json]:
    """That the log of `second` records continues the one of `first`. Raises InvalidRequest (`invalid_proof`)."""
    _ready(store, second)

    def operation(tx: ReadTx) -> Consistency:
        _check_size(tx, second)
        proof = tuple(tree.consistency_proof(first, second, tx))
        return Consistency(
            first=first,
            second=second,
            first_root=tree.root(first, tx),
            second_root=tree.root(second, tx),
            proof=proof,
        )

    return consistency_members(store.read(operation))


def record(store: Store, seq: int, *, body: bool) -> dict[str, Json]:
    """One record. `body`: with body and salt, for those who are permitted to read it. Raises NotFound, StoreError.

    Without them seq, time, type and the digest of the body still make the leaf that a proof is for.
    """
    found = store.read(lambda tx: tx.record(seq)) if seq >= 0 else None
    if found is None:
        raise NotFound("the log has no such record")
    return record_members(found, body=body)


def _ready(store: Store, size: int) -> None:
    """Put committed records into the tree where the one asked for is not there yet."""
    if store.read(tree_size) < size <= store.read(lambda tx: tx.size()):
        Log(store).integrate()


def _check_size(tx: ReadTx, size: int) -> None:
    if not 0 < size <= tree_size(tx):
        raise InvalidRequest("a proof is for a size that the log has reached", code="invalid_proof")
