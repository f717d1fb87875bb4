"""One of several processes over one database: `python -m benchmarks.replica URL CALLERS`, then a number a line."""

import sys
import threading
from collections.abc import Sequence

from benchmarks.workplace import Workplace, access, session_of
from deputize import Session


def together(sessions: Sequence[Session], calls: int) -> None:
    """`calls` exchanges in each session, a thread for each."""

    def caller(session: Session) -> None:
        for _ in range(calls):
            access(session)

    threads = [threading.Thread(target=caller, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Answers each number of calls with a line when they are done."""
    url, callers = sys.argv[1], int(sys.argv[2])
    place = Workplace()
    authority = place.authority(url, policies=50, durability="full")
    sessions = [session_of(authority) for _ in range(callers)]
    print("ready", flush=True)
    for line in sys.stdin:
        together(sessions, int(line))
        print("done", flush=True)
    place.close()


if __name__ == "__main__":
    main()
