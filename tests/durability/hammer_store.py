"""Eight threads that write a session, its record and a grant in one operation, until the process is killed."""

import os
import secrets
import threading
from typing import Final

from deputize.model.event import Event, Record
from deputize.model.session import Edge, Evidence, Grant, Mode, Node
from deputize.store.opening import open_store
from deputize.store.protocol import Store, WriteTx

THREADS: Final = 8
AGENT: Final = "spiffe://example.org/agent/a"


def run(path: str, way: str) -> None:
    """`way`: whole-full, whole-normal, or a broken copy: two-transactions, acknowledged-early."""
    store = open_store(path, durability="normal" if way == "whole-normal" else "full")
    write = {"two-transactions": in_two, "acknowledged-early": too_early}.get(way, whole)
    threads = [threading.Thread(target=for_ever, args=(store, write)) for _ in range(THREADS)]
    os.write(1, b"go %d\n" % os.getpid())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def for_ever(store: Store, write: object) -> None:
    """One thread's work."""
    while True:
        write(store, secrets.token_urlsafe(12))  # type: ignore[operator]  # one of the three below


def acknowledge(sid: str, seq: int) -> None:
    """Shorter than PIPE_BUF, so it arrives whole or not at all."""
    os.write(1, f"done {sid} {seq}\n".encode())


def whole(store: Store, sid: str) -> None:
    """As it should be."""
    acknowledge(sid, store.write(lambda tx: put_state(tx, sid, put_record(tx, sid))))


def in_two(store: Store, sid: str) -> None:
    """Broken: the record and what it tells of commit apart."""
    seq = store.write(lambda tx: put_record(tx, sid))
    store.write(lambda tx: put_state(tx, sid, seq))
    acknowledge(sid, seq)


def too_early(store: Store, sid: str) -> None:
    """Broken: the caller is told before the commit."""

    def op(tx: WriteTx) -> None:
        acknowledge(sid, put_state(tx, sid, put_record(tx, sid)))

    store.write(op)


def put_record(tx: WriteTx, sid: str) -> int:
    """The record of the opening."""
    seq = tx.next_seq()
    event = Event(type="session.opened", outcome="permitted", time=seq, txn=sid, sid=sid, agent=AGENT, sub="local|u")
    body = sid.encode() * 30
    tx.add_record(Record(seq=seq, time=seq, type=event.type, leaf=b"l" * 32, salt=b"s" * 16, body=body, event=event))
    return seq


def put_state(tx: WriteTx, sid: str, seq: int) -> int:
    """The tree, the session and a grant under the same id."""
    tx.add_tree(sid, b"k" * 32)
    tx.add_session(
        Node(
            sid=sid,
            txn=sid,
            path=(),
            parent=None,
            kind=Edge.ROOT,
            mode=Mode.ON_BEHALF_OF,
            sub="local|u",
            agent=AGENT,
            chain=(AGENT,),
            ceiling=frozenset(),
            created=0,
            exp=2**31,
            depth=0,
            evidence=Evidence.ASSERTED,
            workload="w",
            attestation="in_process",
            leaf=seq,
        )
    )
    tx.add_grant(
        Grant(
            jti=sid,
            sid=sid,
            txn=sid,
            agent=AGENT,
            sub="local|u",
            resource="https://r.example/",
            scope=frozenset({"r"}),
            mode=Mode.ON_BEHALF_OF,
            iat=0,
            exp=60,
            jkt=None,
            leaf=seq,
        )
    )
    return seq
