"""Whom the kernel vouches for at the other end of a Unix-domain socket, with real processes."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize.attestation import peer_of
from deputize.model.failure import AttestationFailed
from deputize.model.request import WorkloadEvidence
from deputize.wire.alg import generate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")

CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(b"hello")
    connection.recv(1)
"""
# Connects, and becomes another program; a child keeps the connection and speaks once that has happened.
BECOME = """
import os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
done, begun = os.pipe()  # the writing end is closed by exec
if os.fork() == 0:
    os.close(begun)
    os.read(done, 1)
    connection.sendall(b"hello")
    connection.recv(1)
    os._exit(0)
os.close(done)
os.set_inheritable(0, True)
os.execv("/bin/cat", ["cat"])
"""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        made.settimeout(30)
        yield made


def started(program: str, listener: socket.socket) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", program, listener.getsockname()]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_process_is_known_by_its_user(listener: socket.socket) -> None:
    process = started(CONNECT, listener)
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(5) == b"hello"
        found = peer_of(connection)
        assert (found.uid, found.gid, found.pid) == (os.getuid(), os.getgid(), process.pid)
        connection.sendall(b"x")
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_credentials_are_of_who_connected_also_after_it_ended(listener: socket.socket) -> None:
    process = started(CONNECT, listener)
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"x")
        process.communicate(timeout=30)
        assert peer_of(connection).uid == os.getuid()


def test_the_program_at_the_other_end_is_not_the_one_that_speaks(listener: socket.socket) -> None:
    """Why no digest of a program is attested: the kernel names a process that is `cat` by now, and `cat` did not
    send this."""
    process = started(BECOME, listener)
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(30)
        assert connection.recv(5) == b"hello"
        found = peer_of(connection)
        assert found.pid == process.pid
        program = Path(f"/proc/{found.pid}/exe").readlink()
        assert program == Path("/bin/cat").resolve()
        connection.sendall(b"x")
    process.communicate(timeout=30)


def test_other_connections_have_no_peer() -> None:
    with socket.socket(socket.AF_INET) as made, pytest.raises(AttestationFailed):
        peer_of(made)


def test_a_process_is_attested_by_its_connection(site: Any, listener: socket.socket) -> None:
    site.apply('uid = "1000"', f'uid = "{os.getuid()}"')
    process = started(CONNECT, listener)
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(5) == b"hello"
        evidence = WorkloadEvidence(kind="unix", peer=peer_of(connection))
        assert site.attest(evidence, generate()).workload == "spiffe://example.org/workload/host"
        connection.sendall(b"x")
    process.communicate(timeout=30)
