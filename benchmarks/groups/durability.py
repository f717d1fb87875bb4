"""Many callers at once: how much the sync of every commit costs, when commits share it."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.measure import Case, Group, Sample
from benchmarks.workplace import Workplace, access, session_of
from deputize import Session


def build(*, quick: bool) -> Group:
    """The same exchange by 8 and 16 threads; FULL is divided by NORMAL with as many callers."""
    place = Workplace()
    calls = 4 if quick else 40
    cases: list[Case] = []
    pools: list[ThreadPoolExecutor] = []
    for callers in (8,) if quick else (8, 16):
        pool = ThreadPoolExecutor(callers)
        pools.append(pool)
        for durability in ("normal", "full"):
            authority = place.authority(f"{durability}-{callers}.db", policies=50, durability=durability)
            sessions = [session_of(authority) for _ in range(callers)]
            base = f"NORMAL, {callers} callers"
            full = durability == "full"
            cases.append(
                Case(
                    name=f"FULL, {callers} callers" if full else base,
                    sample=_together(pool, sessions, calls),
                    against=base if full else None,
                    at_most=1.3 if full else None,
                )
            )

    def close() -> None:
        for pool in pools:
            pool.shutdown()
        place.close()

    return Group(
        name="durability",
        title="Exchange by many callers: SQLite FULL (every answer is on disk) and NORMAL",
        clock="wall time, of all callers together",
        unit="us",
        cases=cases,
        rounds=2 if quick else 15,
        close=close,
    )


def _together(pool: ThreadPoolExecutor, sessions: Sequence[Session], calls: int) -> Sample:
    def sample() -> float:
        gate = threading.Barrier(len(sessions) + 1)

        def caller(session: Session) -> None:
            gate.wait()
            for _ in range(calls):
                access(session)

        done = [pool.submit(caller, session) for session in sessions]
        gate.wait()
        start = time.perf_counter_ns()
        for each in done:
            each.result()
        return (time.perf_counter_ns() - start) / 1e3 / (calls * len(sessions))

    return sample
