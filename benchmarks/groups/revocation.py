"""Cutting off a whole tree against committing one row: the size of the tree must not matter."""

from benchmarks.measure import Case, Group, Sample, looped
from benchmarks.trees import grow, spine
from benchmarks.workplace import Workplace, session_of
from deputize import Authority
from deputize.authority.journal import new_id
from deputize.store.protocol import WriteTx

ROW = "raw: one row, committed and synced"


def build(*, quick: bool) -> Group:
    """All large trees are one: every round revokes the next session up from the one that 100,000 hang on."""
    place = Workplace()
    rounds, size = (2, 500) if quick else (19, 100_000)
    authority = place.authority("trees.db", policies=50, durability="full")
    nodes = spine(session_of(authority), rounds)
    grow(authority, nodes[-1], size)
    small = [session_of(authority).id for _ in nodes]
    return Group(
        name="revocation",
        title=f"Revoking, with {size:,} sessions in the store, SQLite FULL",
        clock="wall time",
        unit="us",
        cases=(
            Case(name=ROW, sample=looped(lambda: _one_row(authority), 1, cpu=False)),
            Case(name="revoke a session alone", sample=_revoke(authority, small), against=ROW),
            Case(
                name=f"revoke a session with {size:,} below",
                sample=_revoke(authority, [node.sid for node in nodes]),
                against=ROW,
                at_most=2.0,
            ),
        ),
        rounds=rounds,
        close=place.close,
    )


def _one_row(authority: Authority) -> None:
    def operation(tx: WriteTx) -> None:
        tx.set_meta(f"bench.{new_id()}", "1")

    authority.engine.parts.store.write(operation, sync=True)


def _revoke(authority: Authority, targets: list[str]) -> Sample:
    return looped(lambda: authority.revoke(session=targets.pop(), reason="bench"), 1, cpu=False)
