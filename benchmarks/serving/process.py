"""A server in a process of its own: started, waited for, and asked how much CPU time it used."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def running(
    command: Sequence[str | Path], *, told: str = "", environ: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the first line that it says. It is told `told` on stdin, and ended with the block."""
    process = subprocess.Popen(  # noqa: S603  # commands of this package alone
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    )
    with process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(told)
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"{command[0]} did not start"
            yield process, line
        finally:
            process.terminate()


def cpu_of(pid: int) -> float:
    """CPU seconds, user and system, of all threads of a process and of its children that live. Linux alone."""
    return time.clock_gettime(_clock_of(pid)) + sum(map(cpu_of, _children(pid)))


def _clock_of(pid: int) -> int:
    """The id of a process's CPU clock, as clock_getcpuclockid(3) makes it: exact, where /proc counts 10 ms ticks."""
    return (~pid << 3) | 2


def _children(pid: int) -> list[int]:
    tasks = (Path("/proc") / str(pid) / "task").iterdir()
    return [int(child) for task in tasks for child in _listed(task / "children")]


def _listed(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:  # a thread that ended meanwhile
        return []


def environment(**more: str) -> dict[str, str]:
    """This process's own, without what would change how a server of ours decides."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DEPUTIZE_")} | more
