"""The log: what a record costs to seal and append, and how fast a whole log is verified."""

import json
from functools import partial
from hashlib import sha256

from benchmarks.measure import Case, Group, looped, per
from benchmarks.workplace import Workplace
from deputize.audit.log import Log
from deputize.audit.record import seal
from deputize.audit.verification import verify
from deputize.authority.journal import append
from deputize.model.event import Event
from deputize.store.protocol import ReadTx, WriteTx
from deputize.store.sqlite import SqliteStore, open_sqlite

CHAIN = "raw: sorted JSON + SHA-256"
LOOP = "raw: SHA-256 of every leaf and body, read from the store"
MANY = 256

EVENT = Event(
    type="exchange.permitted",
    outcome="permitted",
    time=1_750_000_000_000,
    txn="a" * 16,
    sid="b" * 16,
    jti="c" * 16,
    sub="okta|00u1a2b3c4d5e6f7g8h9",
    agent="spiffe://example.org/agent/researcher",
    chain=tuple(f"spiffe://example.org/agent/{name}" for name in ("researcher", "supervisor")),
    tool="read_customers",
    resource="https://crm.example/mcp",
    scopes=("crm:read",),
    policies=("agent.researcher.use", "users.unrestricted"),
    detail={"mode": "on_behalf_of", "binding": "bearer"},
)
PLAIN = {"type": EVENT.type, "sub": EVENT.sub, "agent": EVENT.agent, "chain": EVENT.chain, "tool": EVENT.tool}


def build(*, quick: bool) -> Group:
    """Figures are per record, so a log of any length compares."""
    place = Workplace()
    size = 500 if quick else 20_000
    store = open_sqlite(place.file("log.db"), durability="normal")
    grown = open_sqlite(place.file("grown.db"), durability="normal")
    for start in range(0, size, MANY):
        grown.write(partial(_append, count=min(MANY, size - start)))
    Log(grown).integrate()
    loops = 50 if quick else 1000

    def close() -> None:
        store.close()
        grown.close()
        place.close()

    def shared() -> None:
        store.write(lambda tx: _append(tx, MANY))

    return Group(
        name="audit",
        title=f"The log: SQLite NORMAL, a log of {size:,} records to verify",
        clock="thread CPU time, per record",
        unit="us",
        cases=(
            Case(name=CHAIN, sample=looped(_hash, loops, cpu=True)),
            Case(name="seal", sample=looped(lambda: seal(EVENT, 0), loops, cpu=True), against=CHAIN),
            Case(
                name=f"seal + append, {MANY} to a commit",
                sample=per(looped(shared, 1, cpu=True), MANY),
                against=CHAIN,
            ),
            Case(
                name="seal + append + commit, one by one",
                sample=looped(lambda: store.write(lambda tx: _append(tx, 1)), loops // 10, cpu=True),
                against=CHAIN,
            ),
            Case(name=LOOP, sample=per(looped(lambda: grown.read(_plain), 1, cpu=True), size)),
            Case(
                name="verify the log: leaves, tree, head",
                sample=per(looped(lambda: _verify(grown), 1, cpu=True), size),
                against=LOOP,
            ),
        ),
        rounds=2 if quick else 11,
        close=close,
    )


def _hash() -> None:
    sha256(json.dumps(PLAIN, sort_keys=True).encode()).digest()


def _append(tx: WriteTx, count: int) -> None:
    for _ in range(count):
        append(tx, EVENT)


def _plain(tx: ReadTx) -> None:
    for record in tx.records():
        sha256((record.salt or b"") + (record.body or b"")).digest()
        sha256(record.leaf).digest()


def _verify(store: SqliteStore) -> None:
    report = store.read(verify)
    assert not report.findings
