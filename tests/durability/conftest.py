"""Starts hammers and kills them with SIGKILL at 10-50 ms into their work."""

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

_LONG = 30.0  # seconds


class Nursery:
    """Where hammers are started. Each is a process of its own, killed before `kill` returns."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "nursery.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._kills = 0
        self._left = b""

    def kill(self, hammer: str, way: str, path: Path) -> list[list[str]]:
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


@pytest.fixture(scope="module")
def opened() -> Callable[[Path], Authority]:
    """Opens a file as the hammer did: the same configuration, or the store refuses it."""
    spec = importlib.util.spec_from_file_location("hammer_authority", Path(__file__).parent / "hammer_authority.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda path: module.authority(str(path))
