"""The library itself under concurrent exchanges: eight threads open, hand off, get access and call tools."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from deputize import Authority
from deputize.audit.log import Log
from deputize.errors import Denied

THREADS: Final = 8
CRM: Final = "https://crm.example/mcp"


def authority(path: str) -> Authority:
    """The same configuration before and after a kill."""
    return Authority(
        agents={"supervisor": ["plan"], "researcher": ["crm:read", "search"]},
        resources={CRM: ["crm:read", "crm:write"]},
        delegations={"supervisor": ["researcher"]},
        store=path,
    )


def run(path: str, way: str) -> None:
    """`way`: whole, or a broken copy: two-transactions."""
    running = authority(path)
    if way == "two-transactions":
        running.engine.parts.store = InTwo(running.engine.parts.store)
    works = [work(running) for _ in range(THREADS)]
    for number, steps in enumerate(works):
        for _ in range(number):  # keys and caches are made, and every thread stands at another step
            next(steps)
    threads = [threading.Thread(target=tell, args=(steps,)) for steps in works]
    threads.append(threading.Thread(target=integrate, args=(running,)))
    os.write(1, b"go %d\n" % os.getpid())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tell(steps: Iterator[tuple[str, ...]]) -> None:
    """What was acknowledged is told before the next step. Shorter than PIPE_BUF, so it arrives whole or not."""
    for words in steps:
        os.write(1, (" ".join(words) + "\n").encode())


def work(running: Authority) -> Iterator[tuple[str, ...]]:
    """One thread's work without an end, and what its caller learns at each step."""
    while True:
        root = running.session(user="alice", agent="supervisor", task="churn")
        yield "session", root.id
        child = root.delegate("researcher", scopes=["crm:read", "tool:search"])
        yield "session", child.id
        access = child.access(CRM, ["crm:read"])
        yield "access", access.id, access.reveal()
        with child.tool_call("search", call_id=f"call-{child.id}"):
            pass
        yield "call", f"call-{child.id}"
        try:
            child.access(CRM, ["crm:write"])
        except Denied as denied:
            yield "denied", denied.denial.reference
        child.close()
        yield "closed", child.id


def integrate(running: Authority) -> None:
    """Records go into the tree while others are added: a kill falls into that, too."""
    log = Log(running.engine.parts.store)
    while True:
        log.integrate()
        time.sleep(0.002)


class InTwo:
    """Broken: sessions and grants commit after the records that tell of them."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, op: Callable[[Any], Any], *, sync: bool = False) -> Any:
        """As the real one, in two transactions."""
        later: list[Callable[[Any], None]] = []
        value = self._store.write(lambda tx: op(Postponed(tx, later)), sync=sync)
        if later:
            self._store.write(lambda tx: [put(tx) for put in later])
        return value


class Postponed:
    """A transaction that keeps what it is to insert for the next one."""

    def __init__(self, tx: Any, later: list[Callable[[Any], None]]) -> None:
        self._tx = tx
        self._later = later

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def add_session(self, node: Any) -> None:
        """Not now."""
        self._later.append(lambda tx: tx.add_session(node))

    def add_grant(self, grant: Any) -> None:
        """Not now."""
        self._later.append(lambda tx: tx.add_grant(grant))
