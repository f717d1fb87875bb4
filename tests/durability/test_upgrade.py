"""A store that earlier code wrote goes on under today's: its sessions, its revocations and its log."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from deputize import Authority, Session, SessionEnded
from deputize.cli.main import app
from deputize.testing import FakeClock

# Written by the code that had no server yet, at FakeClock's first moment: a session of alice under the key
# "thread-1" with a child under "call-1", an access of that child, a refusal, a revoked session of bob, a checkpoint.
DUMP: Final = Path(__file__).parent / "data" / "store_1.sql"
ALICES, CHILD, BOBS = "2hGLLBUauRpItYXu", "NcWq6pxW9UfqHo1S", "Vs1_tZfTTCZHl75j"
CONFIGURATION: Final = """
version = 1
[authority]
trust_domain = "example.org"
[store]
url = "sqlite:deputize.db"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.boss]
open = true
delegate = { crm = ["crm:read"] }
delegate_to = ["worker"]
[agents.worker]
use = { crm = ["crm:read"], local = ["search"] }
"""


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[Authority]:
    with contextlib.closing(sqlite3.connect(tmp_path / "deputize.db")) as db:
        db.executescript(DUMP.read_text(encoding="utf-8"))
    (tmp_path / "deputize.toml").write_text(CONFIGURATION, encoding="utf-8")
    clock = FakeClock()
    clock.advance(60)
    with Authority.open(str(tmp_path / "deputize.toml"), clock=clock) as authority:
        yield authority


def _open(authority: Authority) -> Session:
    return authority.session(user="alice", agent="boss", key="thread-1", ttl=8 * 3600)


def test_a_session_of_the_old_store_and_its_child_come_back_by_their_keys(upgraded: Authority) -> None:
    session = _open(upgraded)
    child = session.delegate("worker", key="call-1")
    assert (session.id, child.id) == (ALICES, CHILD)
    assert child.access("crm", ["crm:read"]).scopes == {"crm:read"}


@pytest.mark.usefixtures("upgraded")
def test_a_session_that_the_old_code_revoked_stays_revoked(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["session", "list", "--config", str(tmp_path / "deputize.toml"), "--json"])
    states = {row["sid"]: row["state"] for row in json.loads(found.stdout)}
    assert (found.exit_code, set(states)) == (0, {ALICES, CHILD, BOBS})
    assert states[BOBS] == "revoked"


def test_revoking_a_session_of_the_old_store_cuts_its_child(upgraded: Authority) -> None:
    session = _open(upgraded)
    child = session.delegate("worker", key="call-1")
    session.revoke("done")
    with pytest.raises(SessionEnded):
        child.access("crm", ["crm:read"])


def test_the_log_goes_on_from_the_checkpoint_that_the_old_code_signed(upgraded: Authority, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "deputize.db")) as db:
        [(before,)] = db.execute("select value from meta where name = 'log.checkpoint'")
    _open(upgraded).delegate("worker", key="call-2")
    after = upgraded.audit.checkpoint()
    assert (before.splitlines()[1], int(after.splitlines()[1]) > 11) == ("11", True)
    for kept in (before, after):
        report = upgraded.audit.verify(kept)
        assert (report.ok, report.compared) == (True, True)
