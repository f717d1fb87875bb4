"""The stores that the suite runs over, and values to put into them.

Another engine joins by one more entry in `BACKENDS`: a function from an empty folder and the fixtures to an opener,
which opens the same data again each time it is called. Every behaviour test asks for `store` and is run over all.
"""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from deputize.model.event import Event, Record
from deputize.model.resource import Right
from deputize.model.session import Edge, Evidence, Grant, Mode, Node
from deputize.store.postgres import open_postgres
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.store.sqlite import open_sqlite

T = TypeVar("T")
Opener = Callable[[], Store]
CRM = "https://crm.example/mcp"
SUPERVISOR = "spiffe://example.org/agent/supervisor"


class Reopened:
    """Closes the store and opens it again before every read: nothing may live in memory alone."""

    def __init__(self, opener: Opener) -> None:
        self._open = opener
        self._now = opener()
        self._alone = threading.RLock()  # nobody may be using what is closed

    def write(self, op: Callable[[WriteTx], T], *, sync: bool = False) -> T:
        with self._alone:
            return self._now.write(op, sync=sync)

    def read(self, op: Callable[[ReadTx], T]) -> T:
        with self._alone:
            self._now.close()
            self._now = self._open()
            return self._now.read(op)

    def change_count(self) -> int:
        return self._now.change_count()

    def close(self) -> None:
        self._now.close()


def _memory(_folder: Path, _request: pytest.FixtureRequest) -> Opener:
    return lambda: open_sqlite("sqlite::memory:")


def _normal(folder: Path, _request: pytest.FixtureRequest) -> Opener:
    return lambda: open_sqlite(f"sqlite:{folder / 'store.db'}", durability="normal")


def _full(folder: Path, _request: pytest.FixtureRequest) -> Opener:
    return lambda: open_sqlite(folder / "store.db", durability="full")


def _reopened(folder: Path, request: pytest.FixtureRequest) -> Opener:
    opener = _normal(folder, request)
    return lambda: Reopened(opener)


def _postgres_normal(_folder: Path, request: pytest.FixtureRequest) -> Opener:
    url = request.getfixturevalue("database").url()
    return lambda: open_postgres(url, durability="normal")


def _postgres_full(_folder: Path, request: pytest.FixtureRequest) -> Opener:
    url = request.getfixturevalue("database").url()
    return lambda: open_postgres(url, durability="full")


BACKENDS: dict[str, Callable[[Path, pytest.FixtureRequest], Opener]] = {
    "memory": _memory,
    "sqlite-normal": _normal,
    "sqlite-full": _full,
    "sqlite-reopened": _reopened,
    "postgres-normal": _postgres_normal,
    "postgres-full": _postgres_full,
}


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = BACKENDS[request.param](tmp_path, request)()
    yield opened
    opened.close()


class Make:
    """Values that differ only in what a test names."""

    @staticmethod
    def sid(name: str) -> str:
        """A session id of 16 characters that shows `name`."""
        return name.ljust(16, "_")[:16]

    @staticmethod
    def node(sid: str, **changes: object) -> Node:
        values: dict[str, object] = {
            "sid": sid,
            "txn": sid,
            "path": (),
            "parent": None,
            "kind": Edge.ROOT,
            "mode": Mode.ON_BEHALF_OF,
            "sub": "local|alice",
            "agent": SUPERVISOR,
            "chain": (SUPERVISOR,),
            "ceiling": frozenset({Right(CRM, "crm:read"), Right(CRM, "crm:write")}),
            "created": 1_750_000_000,
            "exp": 1_750_003_600,
            "depth": 0,
            "evidence": Evidence.ASSERTED,
            "workload": "spiffe://example.org/workload/churn",
            "attestation": "in_process",
        }
        return Node(**(values | changes))  # type: ignore[arg-type]  # a test names fields of Node

    @staticmethod
    def child(sid: str, above: Node, **changes: object) -> Node:
        path = () if above.parent is None else (*above.path, above.sid)
        values: dict[str, object] = {
            "txn": above.txn,
            "path": path,
            "parent": above.sid,
            "kind": Edge.CHILD,
            "depth": above.depth + 1,
        }
        return Make.node(sid, **(values | changes))

    @staticmethod
    def grant(jti: str, node: Node, **changes: object) -> Grant:
        values: dict[str, object] = {
            "jti": jti,
            "sid": node.sid,
            "txn": node.txn,
            "agent": node.agent,
            "sub": node.sub,
            "resource": CRM,
            "scope": frozenset({"crm:read"}),
            "mode": node.mode,
            "iat": node.created,
            "exp": node.created + 60,
            "jkt": None,
        }
        return Grant(**(values | changes))  # type: ignore[arg-type]  # a test names fields of Grant

    @staticmethod
    def record(seq: int, *, type: str = "session.opened", **event: object) -> Record:  # noqa: A002  # the member's name
        values: dict[str, object] = {"outcome": "permitted", "time": 1_750_000_000_000 + seq}
        made = Event(type=type, **(values | event))  # type: ignore[arg-type]  # a test names fields of Event
        return Record(
            seq=seq,
            time=made.time,
            type=type,
            leaf=hashlib.sha256(b"%d" % seq).digest(),
            salt=b"s" * 16,
            body=b'{"n":%d}' % seq,
            event=made,
        )

    @staticmethod
    def append(tx: WriteTx, *, type: str = "session.opened", **event: object) -> Record:  # noqa: A002  # as above
        record = Make.record(tx.next_seq(), type=type, **event)
        tx.add_record(record)
        return record


@pytest.fixture
def make() -> type[Make]:
    return Make


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a Python program of its own with `store.db` in the test's folder as first argument."""

    def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(tmp_path / "store.db"), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    return start
