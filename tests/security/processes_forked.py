"""Run by test_processes.py: forks under an authority, and says on one line what parent and child can do."""

import json
import os
import sys
import threading
from collections.abc import Callable

from deputize import Authority, DeputizeError

AGENT = "spiffe://example.org/agent/reader"


def tried(attempt: Callable[[], object]) -> str:
    try:
        return str(attempt())
    except DeputizeError as error:
        return error.code


def main(path: str, store: str) -> None:
    authority = Authority.open(path, store=store or None)
    root = authority.session(user="alice", agent="boss")
    child = root.delegate("reader")
    held = child.access("crm", ["crm:read"])
    locked = threading.Event()
    release = threading.Event()

    def hold() -> None:
        with authority.engine._identities._lock, authority.engine.parts.keys._leased._lock:
            locked.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(10)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = {
            "kid": tried(lambda: authority.engine.parts.keys.signer().kid),
            "agent": tried(lambda: authority.engine.identity(AGENT).key.kid),
            "root": tried(lambda: authority.session(user="bob", agent="boss").state),
            "inherited": tried(lambda: root.delegate("reader").access("crm", ["crm:read"]).resource),
            "inherited child": tried(lambda: child.access("crm", ["crm:read"]).resource),
            "state": tried(lambda: root.state),
        }
        os.write(write, json.dumps(said).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = json.loads(pipe.read())
    os.waitpid(pid, 0)
    release.set()
    thread.join()
    mine = {
        "kid": authority.engine.parts.keys.signer().kid,
        "agent": authority.engine.identity(AGENT).key.kid,
        "root": root.state,
        "token": authority.introspect(held.reveal()).active,
        "records of the child": len(authority.audit.find(user="local|bob")),
    }
    sys.stdout.write(json.dumps([mine, said]))


if __name__ == "__main__":
    main(*sys.argv[1:])
