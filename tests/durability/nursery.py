"""Forks one hammer for every line of its input, so that a kill does not cost the start of an interpreter.

A line is `<hammer> <way> <path>`. The hammer writes `go <pid>` when its threads start and a line for everything
that was acknowledged to a caller; when it is dead the nursery writes `dead <exit code>`.
"""

import os
import signal
import sys
from typing import NoReturn

import hammer_authority
import hammer_rollout
import hammer_store

HAMMERS = {"store": hammer_store.run, "authority": hammer_authority.run, "rollout": hammer_rollout.run}


def main() -> None:
    """Until the input ends."""
    for line in sys.stdin:
        hammer, way, path = line.split()
        child = os.fork()
        if child == 0:
            work(hammer, way, path)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(1, b"dead %d\n" % code)


def work(hammer: str, way: str, path: str) -> NoReturn:
    """The child: works until it is killed; returning or failing is a fault of the test."""
    signal.alarm(60)  # should whoever was to kill it be gone
    try:
        HAMMERS[hammer](path, way)
    finally:
        os._exit(70)


if __name__ == "__main__":
    main()
