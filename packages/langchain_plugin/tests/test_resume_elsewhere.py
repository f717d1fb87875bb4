"""Interrupted here and resumed by a second interpreter, over a checkpointer in a file."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.facade.audit_log import AuditLog
from deputize.keys.anchor import SeedAnchor
from deputize.model.revocation import Kind
from deputize.system import SystemClock
from deputize.testing.serving import serving

CONFIGURATION = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
users = "unrestricted"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[agents.desk]
open = true
delegate_to = ["boss"]
delegate = {{ local = ["look", "ask_human"] }}
[agents.boss]
delegate_to = ["solo"]
delegate = {{ local = ["look", "ask_human"] }}
[agents.solo]
use = {{ local = ["look", "ask_human"] }}
[[attestation]]
method = "join"
workload = "crew"
agents = ["desk", "boss", "solo"]
"""


THREADS = ("sync", "async", "revoked")


@dataclass
class Place:
    """An authority, and how a process reaches it."""

    engine: Engine
    at: str
    remote: bool
    checkpoints: str

    def run(self, phase: str) -> dict[str, list[str]]:
        """One turn of each thread, in an interpreter of its own."""
        join = enroll(self.engine.parts, "crew", by="test").token if self.remote else ""
        program = str(Path(__file__).with_name("elsewhere.py"))
        asked = [sys.executable, program, phase, self.at, self.checkpoints, join]
        done = subprocess.run(asked, capture_output=True, encoding="utf-8", timeout=120, check=False)
        assert done.returncode == 0, done.stderr  # a refusal is logged there, too
        told: dict[str, list[str]] = json.loads(done.stdout)
        return told


@pytest.fixture(params=[False, True], ids=["embedded", "remote"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    file, checkpoints = tmp_path / "deputize.toml", str(tmp_path / "checkpoints.db")
    with ExitStack() as stack:
        held = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        file.write_text(CONFIGURATION.format(port=held.getsockname()[1]), encoding="utf-8")
        configuration, anchor = load(str(file)), SeedAnchor(bytes(range(32))) if request.param else None
        store = store_of(configuration)
        engine = Engine(configuration, store=store, clock=SystemClock(), anchor=anchor, follows=request.param)
        stack.callback(engine.close)
        if request.param:
            stack.enter_context(serving(engine, held))
        yield Place(engine, url if request.param else str(file), request.param, checkpoints)


@pytest.mark.requirement("I7")
def test_a_second_interpreter_goes_on_in_the_same_sessions_and_not_in_revoked_ones(
    place: Place,
) -> None:
    assert place.run("begin") == {thread: ["waits"] for thread in THREADS}
    log = AuditLog(place.engine.parts)
    opened = [str(row["sid"]) for row in log.find(type="session.opened")]
    place.engine.revoke(Kind.SESSION, opened[-1], reason="looks odd")
    assert place.run("resume") == {
        "sync": ["asked", "done"],
        "async": ["asked", "done"],
        "revoked": ["Refused: session_revoked", "done"],
    }
    assert [row["sid"] for row in log.find(type="session.opened")] == opened
    for at, thread in enumerate(THREADS):
        desk, boss, solo = opened[3 * at : 3 * at + 3]
        told = [f"{row['type']} {row.get('tool') or ''}".strip() for row in log.find(root=desk)]
        resumed = [row["sid"] for row in log.find(root=desk, type="session.resumed")]
        assert resumed == ([boss] if thread == "revoked" else [boss, solo])
        assert told.count("tool.suspended ask_human") == told.count("tool.suspended ask") == 1
        assert told.count("tool.finished look") == 1
        assert told.count("tool.finished ask_human") == (thread != "revoked")
