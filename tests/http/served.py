"""The authority as a process of its own: `python served.py CONFIG PORT`. Says `ready`, ends when its input ends."""

import os
import sys
import threading

from deputize.authority.engine import Engine
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.keys.anchor import anchor_from_environment
from deputize.server.app import create_app
from deputize.server.run import server_of
from deputize.system import SystemClock


def main() -> None:
    """Serve until the input ends."""
    path, port = sys.argv[1], int(sys.argv[2])
    configuration = load(path)
    anchor = anchor_from_environment(os.environ)
    engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), anchor=anchor, follows=True)
    server = server_of(create_app(engine), host="127.0.0.1", port=port)
    ended = threading.Event()

    def run() -> None:
        try:
            server.run()
        finally:
            ended.set()

    serving = threading.Thread(target=run)
    serving.start()
    while not server.started and not ended.wait(0.01):
        pass
    os.write(1, b"ready\n")
    sys.stdin.read()
    server.should_exit = True
    serving.join()
    engine.close()


if __name__ == "__main__":
    main()
