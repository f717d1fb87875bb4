"""PostgreSQL with the syncs of a real one, by one process and by two, beside SQLite FULL with as many callers."""

import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from unittest import mock

from benchmarks.measure import Case, Group, Sample
from benchmarks.replica import together
from benchmarks.workplace import Workplace, session_of
from deputize import Session
from deputize.testing import postgres


def build(*, quick: bool) -> Group:
    """The same exchange by 1, 8 and 32 callers. The server runs on this machine, behind a socket."""
    stack = ExitStack()
    calls = 32 if quick else 320  # of all callers of a sample together
    # Every process of the group has the same anchor; it is nobody's, and ends with the run.
    stack.enter_context(mock.patch.dict("os.environ", {"DEPUTIZE_ANCHOR": secrets.token_hex(32)}))
    database = stack.enter_context(postgres(durable=True))
    place = Workplace()
    stack.callback(place.close)
    cases: list[Case] = []
    for callers in (1, 8) if quick else (1, 8, 32):
        base = f"SQLite FULL, {callers} callers"
        for name, store in ((base, f"full-{callers}.db"), (f"PostgreSQL, {callers} callers", database.url())):
            authority = place.authority(store, policies=50, durability="full")
            sessions = [session_of(authority) for _ in range(callers)]
            against = None if name == base else base
            cases.append(Case(name=name, sample=_here(sessions, calls), against=against))
        if callers > 1:
            url = database.url()
            replicas = [_replica(stack, url, callers // 2) for _ in range(2)]
            name = f"PostgreSQL, 2 processes, {callers} callers"
            cases.append(Case(name=name, sample=_there(replicas, callers, calls), against=base))
    return Group(
        name="postgres",
        title="Exchange over PostgreSQL, every answer on disk",
        clock="wall time, of all callers together",
        unit="us",
        cases=cases,
        rounds=2 if quick else 9,
        close=stack.close,
    )


def _here(sessions: Sequence[Session], calls: int) -> Sample:
    def sample() -> float:
        start = time.perf_counter_ns()
        together(sessions, calls // len(sessions))
        return (time.perf_counter_ns() - start) / 1e3 / calls

    return sample


def _there(replicas: list[subprocess.Popen[str]], callers: int, calls: int) -> Sample:
    def sample() -> float:
        start = time.perf_counter_ns()
        for replica in replicas:
            _tell(replica, calls // callers)
        for replica in replicas:
            _hear(replica)
        return (time.perf_counter_ns() - start) / 1e3 / calls

    return sample


def _replica(stack: ExitStack, url: str, callers: int) -> subprocess.Popen[str]:
    replica = subprocess.Popen(  # noqa: S603  # this very interpreter
        [sys.executable, "-m", "benchmarks.replica", url, str(callers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    stack.enter_context(replica)
    _hear(replica)
    return replica


def _tell(replica: subprocess.Popen[str], calls: int) -> None:
    assert replica.stdin is not None
    print(calls, file=replica.stdin, flush=True)


def _hear(replica: subprocess.Popen[str]) -> None:
    assert replica.stdout is not None
    assert replica.stdout.readline(), "a replica failed"
