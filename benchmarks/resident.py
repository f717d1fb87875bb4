"""A process that says how much its resident set grew, in MB. Started by the memory group."""

import gc
import os
import sys
from pathlib import Path

from benchmarks.workplace import Workplace, access, session_of
from deputize import Authority
from deputize.store.protocol import ReadTx
from deputize.store.sqlite import open_sqlite


def main() -> None:
    what, path, txn, count = sys.argv[1:5]
    place = Workplace()
    authority = place.authority("own.db", policies=50)
    access(session_of(authority))  # whatever is loaded at first use is loaded now
    before = _resident()
    held = _walk(path, txn, int(count)) if what == "store" else _hold(authority, int(count))
    gc.collect()
    print(_resident() - before)
    assert held is not None
    place.close()


def _walk(path: str, txn: str, count: int) -> object:
    """Open the store and ask for the line of every session, as an exchange does."""
    store = open_sqlite(path, durability="normal")
    sids = store.read(lambda tx: [node.sid for node in tx.sessions(txn=txn, limit=count + 2)])

    def line(tx: ReadTx, sid: str) -> int:
        node = tx.session(sid)
        assert node is not None
        return len(tx.line(node))

    assert sum(store.read(lambda tx, sid=sid: line(tx, sid)) for sid in sids) > count  # type: ignore[misc]  # the default binds it
    return store, sids


def _hold(authority: Authority, count: int) -> object:
    return [authority.session(user=f"user-{number}", agent="agent-0007") for number in range(count)]


def _resident() -> float:
    """Megabytes of this process that are in memory now."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    import resource  # noqa: PLC0415  # where there is no /proc: the highest so far stands for it

    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


if __name__ == "__main__":
    main()
