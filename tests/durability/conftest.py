"""Starts hammers and kills them with SIGKILL at 10-50 ms into their work."""

import hashlib
import importlib.util
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deputize import Authority
from deputize.testing import postgres
from deputize.testing.database import Database

SEED = hashlib.sha256(b"no secret: a seed for tests").hexdigest()
_LONG = 30.0  # seconds


class Nursery:
    """Where hammers are started. Each is a process of its own, killed before `kill` returns."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment,
        )
        self._kills = 0
        self._left = b""

    def kill(self, hammer: str, way: str, path: Path | str) -> list[list[str]]:
        """Start it, kill it, and return the lines of what it had acknowledged, split into words."""
        self._process.stdin.write(f"{hammer} {way} {path}\n".encode())
        self._process.stdin.flush()
        self._kills += 1
        delay = 0.010 + 0.040 * (self._kills * 0.6180339887 % 1)  # spread over 10-50 ms, the same in every run
        lines: list[list[str]] = []
        while not lines:
            lines += self._read(_LONG)
        (word, child), *lines = lines
        assert word == "go", "the hammer failed to start"
        deadline = time.monotonic() + delay
        while (left := deadline - time.monotonic()) > 0:
            lines += self._read(left)
        os.kill(int(child), signal.SIGKILL)
        while not lines or lines[-1][0] != "dead":
            lines += self._read(_LONG)
        assert lines.pop() == ["dead", "-9"], "the hammer ended before it was killed"
        return lines

    def _read(self, seconds: float) -> list[list[str]]:
        """Whole lines that arrive within `seconds`; the first wait ends it."""
        pipe = self._process.stdout.fileno()
        if not select.select([pipe], [], [], seconds)[0]:
            assert seconds < _LONG, "the nursery says nothing"
            return []
        data = os.read(pipe, 65536)
        assert data, "the nursery is gone"
        *whole, self._left = (self._left + data).split(b"\n")
        return [line.decode().split() for line in whole]

    def close(self) -> None:
        """End it in order."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="session")
def database() -> Iterator[Database]:
    """One PostgreSQL; `database.url()` is a schema of one's own in it."""
    with postgres() as running:
        yield running


@pytest.fixture
def seed(monkeypatch: pytest.MonkeyPatch) -> str:
    """The anchor that all replicas of a test share."""
    monkeypatch.setenv("DEPUTIZE_ANCHOR", SEED)
    return SEED


@pytest.fixture(scope="module")
def twins() -> Iterator[tuple[Nursery, Nursery]]:
    """Two places where hammers of one database are started."""
    made = (Nursery(DEPUTIZE_ANCHOR=SEED), Nursery(DEPUTIZE_ANCHOR=SEED))
    yield made
    for nursery in made:
        nursery.close()


@pytest.fixture(scope="module")
def opened() -> Callable[[Path | str], Authority]:
    """Opens a store as the hammer did: the same configuration, or the store refuses it."""
    spec = importlib.util.spec_from_file_location("hammer_authority", Path(__file__).parent / "hammer_authority.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda path: module.authority(str(path))
