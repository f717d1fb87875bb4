"""A resource server that forks its workers after it has begun to follow the feed."""

import os
import sys
import threading

from deputize import HttpRevocations


def hears(source: HttpRevocations) -> bool:
    pause, since = threading.Event(), source._state.heard_at
    source.view()
    for _ in range(2000):
        if source._state.heard_at > since:
            return True
        pause.wait(0.005)
    return False


source = HttpRevocations(sys.argv[1], auth=lambda: {"reader": "the reader shows this"}, first_wait=10)
parent = hears(source)
child = os.fork()
if child == 0:
    os._exit(0 if hears(source) and source._follower is not None else 1)
_, status = os.waitpid(child, 0)
if parent and status == 0 and hears(source):
    sys.stdout.write("parent and child hear\n")
source.close()
