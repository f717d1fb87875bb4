"""A process that says how much its resident set grew, in MB. Started by the memory group."""

import gc
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.workplace import Workplace, access, session_of
from deputize import Authority
from deputize.store.protocol import ReadTx
from deputize.store.sqlite import open_sqlite


def main() -> None:
    what, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    sids = Path(f"{path}.sids").read_text(encoding="ascii").split()
    place = Workplace()
    authority = place.authority("own.db", policies=50)
    access(session_of(authority))  # whatever is loaded at first use is loaded now
    before = _resident()
    held = _walk(path, sids) if what == "store" else _hold(authority, count)
    gc.collect()
    print(_resident() - before)
    assert held is not None
    place.close()


def _walk(path: str, sids: Sequence[str]) -> object:
    """Open the store and ask for the line of every session, as an exchange does."""
    store = open_sqlite(path, durability="normal")

    def line(sid: str, tx: ReadTx) -> None:
        node = tx.session(sid)
        assert node is not None
        assert tx.line(node)[-1] == node

    for sid in sids:
        store.read(partial(line, sid))
    return store


def _hold(authority: Authority, count: int) -> object:
    return [authority.session(user=f"user-{number % 100}", agent="agent-0007") for number in range(count)]


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
