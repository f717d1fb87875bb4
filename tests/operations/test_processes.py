"""Processes and signals: workers, an end under load, a socket for processes of the same machine."""

import hashlib
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from deputize import Authority, AuthorityUnavailable, DeputizeError, Mode, SessionEnded
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.evidence import Join
from deputize.config import load
from deputize.errors import ConfigurationError
from deputize.keys.anchor import SeedAnchor
from deputize.server.listening import listen_unix
from deputize.system import SystemClock
from deputize.testing import postgres
from tests.operations.serving import ask, process_of

SEED = hashlib.sha256(b"no secret: a seed for tests").digest()
UNIX = """
[[attestation]]
method = "unix"
workload = "local"
agents = ["supervisor"]
match = {{ uid = "{uid}" }}
"""


def engine_of(folder: Path) -> Engine:
    configuration = load(folder / "deputize.toml", asserted=False)
    return Engine(configuration, store=store_of(configuration), clock=SystemClock(), follows=True)


def children(pid: int) -> list[int]:
    return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def test_workers_share_one_socket_are_replaced_and_end_in_order(tmp_path: Path) -> None:
    with process_of(tmp_path, "--workers", "2") as (process, port):
        process.read_until("health: ")
        assert ask(port, "/readyz").status == 200
        first = children(process.popen.pid)
        assert len(first) == 2
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        assert ask(port, "/readyz").status == 200  # waits in the socket until a replacement takes it
        for _ in range(20):
            assert ask(port, "/no-such-page").status == 404
        text = ask(port, "/metrics").body.decode()
        assert 'deputize_requests_total{code="",endpoint="other",outcome="refused"} 20.0' in text  # of both
        assert not set(first) & set(children(process.popen.pid))
        assert process.ended() == 0
    assert process.errors.count("a worker ended") == 2


def test_workers_end_in_order_when_the_process_that_began_them_is_killed(tmp_path: Path) -> None:
    with process_of(tmp_path, "--workers", "2") as (process, port):
        process.read_until("health: ")
        while len(children(process.popen.pid)) < 2 or ask(port, "/readyz").status != 200:
            continue
        process.signal(signal.SIGKILL)
        stream = process.popen.stdout
        assert stream is not None
        stream.read()  # ends with the last process that has it
        socket.create_server(("127.0.0.1", port)).close()
        assert process.errors.count("the parent of the workers is gone") == 2
        assert process.ended() == -signal.SIGKILL


def test_workers_over_postgresql_decide_as_one_and_outlive_one_another(tmp_path: Path) -> None:
    with postgres() as database:
        environ = {"DEPUTIZE_STORE_URL": database.url(), "DEPUTIZE_ANCHOR": SEED.hex()}
        with process_of(tmp_path, "--workers", "2", environ=environ) as (process, port):
            process.read_until("health: ")
            while ask(port, "/readyz").status != 200:
                continue
            configuration = load(tmp_path / "deputize.toml", asserted=False, environ=environ)
            engine = Engine(
                configuration,
                store=store_of(configuration),
                clock=SystemClock(),
                anchor=SeedAnchor(SEED),
                follows=True,
            )
            token = enroll(engine.parts, "churn", by="test").token
            engine.close()
            url = f"http://127.0.0.1:{port}"
            with Authority.connect(url, attestor=Join(token)) as authority:
                root = authority.session(agent="supervisor", mode=Mode.SELF)
                child = root.delegate("researcher")
                ids = {child.access("crm", ["crm:read"]).id for _ in range(10)}
                os.kill(children(process.popen.pid)[0], signal.SIGKILL)
                ids |= {_tried(lambda: child.access("crm", ["crm:read"]).id) for _ in range(10)}
                assert len(ids) == 20
                root.revoke("done")
                for _ in range(20):
                    with pytest.raises(SessionEnded):
                        child.access("crm", ["crm:read"])
            assert process.ended() == 0


def _tried(step: Callable[[], str]) -> str:
    """A connection that the killed worker had is answered by nobody: once more."""
    try:
        return step()
    except AuthorityUnavailable:
        return step()


def test_an_end_under_load_answers_every_request_that_was_taken(tmp_path: Path) -> None:
    """What the store says was issued is what callers hold: nothing was decided and not answered."""
    with process_of(tmp_path, server='rate = "100000/s"') as (process, port):
        process.read_until("health: ")
        engine = engine_of(tmp_path)
        issued: list[int] = []
        running = threading.Barrier(5, timeout=30)

        def load_of(token: str) -> None:
            got = 0
            with Authority.connect(f"http://127.0.0.1:{port}", attestor=Join(token)) as authority:
                session = authority.session(agent="supervisor", mode=Mode.SELF)
                session.access("crm", ["crm:read"])
                got += 1
                running.wait()
                try:
                    while True:
                        session.access("crm", ["crm:read"])
                        got += 1
                except DeputizeError:
                    issued.append(got)

        threads = [
            threading.Thread(target=load_of, args=(enroll(engine.parts, "churn", by="test").token,)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        running.wait()
        assert process.ended() == 0
        for thread in threads:
            thread.join()
        grants = engine.parts.store.read(
            lambda tx: sum(len(tx.grants(txn=node.txn)) for node in tx.sessions(limit=100))
        )
        engine.close()
    assert len(issued) == 4
    assert sum(issued) == grants > 4


@pytest.mark.requirement("I15")
def test_a_process_of_this_machine_is_known_by_its_user_over_a_unix_socket(tmp_path: Path) -> None:
    more = UNIX.format(uid=os.getuid())
    with process_of(tmp_path, server='unix_socket = "d.sock"', more=more) as (process, port):
        process.read_until("health: ")
        path = tmp_path / "d.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        authority = Authority.connect(f"unix:{path}", agents=["supervisor"])
        with authority, authority.session(agent="supervisor", mode=Mode.SELF) as session:
            assert session.access("crm", ["crm:read"]).reveal()
        assert process.ended() == 0
        assert not path.exists()
    assert port


def test_a_socket_that_nobody_listens_on_is_replaced_and_a_file_or_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
        stale.bind(str(path))
    with listen_unix(str(path)), pytest.raises(ConfigurationError):
        listen_unix(str(path))
    path.unlink()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError):
        listen_unix(str(path))
    assert path.read_text(encoding="utf-8") == "mine"
