"""A server of its own, besieged by clients that are slow or lavish, while one asks as it should."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from deputize import Authority, Mode, Session
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.evidence import Join
from deputize.config import load
from deputize.system import SystemClock
from tests.operations.serving import process_of
from tools.tree import ROOT

ROUNDS: Final = 5
EACH: Final = 50  # clients of each kind, of which there are eleven
BESIEGED: Final = 14.0  # seconds of a round: more than the server waits for anybody
QUIET: Final = 5.0
MEDIAN: Final = 3.0  # times as long as without them, at most
TAIL: Final = 5.0  # the same of 99 in 100
GROWTH: Final = 160 * 1024  # KiB, at most, that the server has more than before anybody came
CUT_OFF: Final = ("slow head", "slow body", "slow trailer", "endless chunks", "silent", "kept alive", "unread")
REFUSED: Final = ("large body", "large head")


class Besiegers:
    """The process of the others."""

    def __init__(self, port: int, token: str, each: int) -> None:
        command = [sys.executable, "-m", "tests.operations.siege", str(port), token, str(each)]
        self.popen = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def say(self, word: str) -> str:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(word + "\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().strip()

    def ended(self) -> int:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.close()
        self.popen.stdout.close()
        return self.popen.wait(30)


@contextmanager
def siege(folder: Path, each: int) -> Iterator[tuple[int, Session, Besiegers]]:
    """The server's process, a session of the one that asks as it should, and the others."""
    with process_of(folder, "--log-level", "error", server='rate = "100000/s"') as (process, port):
        process.read_until("health: ")
        configuration = load(folder / "deputize.toml", asserted=False)
        engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)
        own, theirs = (enroll(engine.parts, "churn", by="test").token for _ in range(2))
        engine.close()
        besiegers = Besiegers(port, theirs, each)
        try:
            authority = Authority.connect(f"http://127.0.0.1:{port}", attestor=Join(own))
            with authority, authority.session(agent="supervisor", mode=Mode.SELF) as session:
                yield process.popen.pid, session, besiegers
        finally:
            assert besiegers.ended() == 0
        assert '"level":"error"' not in process.errors


def memory(pid: int) -> int:
    """Of a process, resident, in KiB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(text.partition("VmRSS:")[2].split()[0])


def asked(session: Session, seconds: float) -> list[float]:
    """How long each exchange took, in seconds."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        session.access("crm", ["crm:read"])
        times.append(time.perf_counter() - began)
    return times


@pytest.mark.requirement("I10")
def test_a_few_of_every_kind_are_answered_or_held_and_one_that_asks_as_it_should_is_served(tmp_path: Path) -> None:
    with siege(tmp_path, 3) as (_, session, besiegers):
        assert besiegers.say("on") == "on"
        tokens = {session.access("crm", ["crm:read"]).reveal() for _ in range(20)}
        ended = json.loads(besiegers.say("off"))
    assert len(tokens) == 20
    assert ended["refused"] == 0
    assert all(ended[kind] > 0 for kind in REFUSED)


@pytest.mark.deep
@pytest.mark.requirement("I10")
def test_slow_and_lavish_clients_do_not_starve_one_that_asks_as_it_should(tmp_path: Path) -> None:
    quiet: list[float] = []
    besieged: list[float] = []
    with siege(tmp_path, EACH) as (pid, session, besiegers):
        asked(session, 1.0)
        before, most = memory(pid), 0
        for _ in range(ROUNDS):
            quiet += asked(session, QUIET)
            assert besiegers.say("on") == "on"
            besieged += asked(session, BESIEGED)
            most = max(most, memory(pid))
            ended = json.loads(besiegers.say("off"))
    shares = [statistics.quantiles(besieged, n=100)[at] / statistics.quantiles(quiet, n=100)[at] for at in (49, 98)]
    told = f"median x{shares[0]:.2f}, 99 in 100 x{shares[1]:.2f}, memory {before} to {most} KiB, cut off {ended}"
    assert shares[0] < MEDIAN, told
    assert shares[1] < TAIL, told
    assert most - before < GROWTH, told
    assert ended["refused"] == 0, told
    assert all(ended[kind] >= EACH * ROUNDS for kind in (*CUT_OFF, *REFUSED)), told
