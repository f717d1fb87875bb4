"""One replica of the authority as a process of its own: does what its input says, and answers with a line each.

A line is a JSON list: the name of a function below, and its arguments. The answer is a JSON value.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import orjson

from deputize import Authority
from deputize.audit.record import seal
from deputize.errors import DeputizeError
from deputize.model.event import Event
from deputize.store.postgres_read import PostgresRead

CRM: Final = "https://crm.example/mcp"


class Replica:
    """An authority, and the sessions that this process holds."""

    def __init__(self, url: str) -> None:
        self._authority = Authority(
            agents={"supervisor": ["plan"], "researcher": ["crm:read", "search"]},
            resources={CRM: ["crm:read", "crm:write"]},
            delegations={"supervisor": ["researcher"]},
            store=url,
        )
        self._store = self._authority.engine.parts.store
        self._held: dict[str, Any] = {}
        self._tokens: dict[str, str] = {}
        self._resting = threading.Event()

    def open(self, user: str, key: str) -> str:
        """The researcher's session under a key: the first process makes it, the other gets the same."""
        session = self._authority.session(user=user, agent="researcher", key=key)
        self._held[session.id] = session
        return str(session.id)

    def access(self, sid: str) -> str:
        """An exchange: `ok`, or the code of its refusal."""
        return self._coded(lambda: self._keep(sid, self._held[sid].access(CRM, ["crm:read"])))

    def call(self, sid: str) -> str:
        """A tool call, likewise."""
        return self._coded(lambda: self._held[sid].tool_call("search").__enter__())

    def active(self, sid: str) -> bool:
        """Whether the token that was got last in this session is active, as this replica sees it."""
        return bool(self._authority.introspect(self._tokens[sid]).active)

    def _keep(self, sid: str, access: Any) -> None:
        self._tokens[sid] = access.reveal()

    @staticmethod
    def _coded(use: Callable[[], object]) -> str:
        try:
            use()
        except DeputizeError as error:
            return error.code
        return "ok"

    def revoke(self, kind: str, name: str) -> None:
        """A session, a user."""
        self._authority.revoke(**{kind: name}, reason="INC-1")

    def spend(self, names: list[str]) -> list[bool]:
        """Which proofs nobody had shown before."""
        return [self._store.write(lambda tx, name=name: tx.spend("i", name, 2**40)) for name in names]

    def load(self, threads: int) -> None:
        """Exchanges without a pause until the process ends."""

        def work(number: int) -> None:
            while True:
                with self._authority.session(user=f"load{number}", agent="supervisor") as session:
                    child = session.delegate("researcher", scopes=["crm:read", "tool:search"])
                    child.access(CRM, ["crm:read"])

        for number in range(threads):
            threading.Thread(target=work, args=(number,), daemon=True).start()

    def append(self, seconds: float) -> list[int]:
        """Add records from four threads; the numbers that were acknowledged."""
        seqs: list[int] = []
        end = time.monotonic() + seconds

        def op(tx: Any) -> int:
            record = seal(Event(type="load", outcome="done", time=max(1, tx.newest_time())), tx.next_seq())
            tx.add_record(record)
            return int(record.seq)

        def work() -> None:
            while time.monotonic() < end:
                seqs.append(self._store.write(op))

        working = [threading.Thread(target=work) for _ in range(4)]
        for thread in working:
            thread.start()
        for thread in working:
            thread.join()
        return seqs

    def break_liveness(self) -> None:
        """A broken copy: what it once read of a session it believes for ever."""
        real: Callable[..., Any] = PostgresRead.line
        kept: dict[str, Any] = {}

        def line(tx: Any, node: Any) -> Any:
            return kept.setdefault(node.sid, None) or kept.update({node.sid: real(tx, node)}) or kept[node.sid]

        PostgresRead.line = line  # type: ignore[method-assign]  # that is what breaks it
        PostgresRead.revoked_among = lambda _tx, _ids: []  # type: ignore[method-assign]  # as above


def main() -> None:
    """Until the input ends."""
    replica = Replica(sys.argv[1])
    for line in sys.stdin.buffer:
        name, *arguments = orjson.loads(line)
        os.write(1, orjson.dumps(getattr(replica, name)(*arguments)) + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
