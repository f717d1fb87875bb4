"""What a server does beside answering, and what is done by hand to its store."""

import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deputize import Authority
from deputize.audit.checkpoint import origin_of, parse
from deputize.audit.verification import verify
from deputize.authority.engine import Engine
from deputize.authority.log_keys import LogKey, log_key
from deputize.authority.retention import erase_old
from deputize.authority.stores import store_of
from deputize.cli.main import app, status_of
from deputize.config import load
from deputize.errors import ConfigurationError, DeputizeError
from deputize.server.strangers import Strangers
from deputize.server.upkeep import Upkeep
from deputize.system import SystemClock
from deputize.testing import FakeClock
from tests.operations.serving import CONFIGURATION

DAY = 86_400


def prepared(folder: Path, more: str = "") -> Path:
    file = folder / "deputize.toml"
    file.write_text(CONFIGURATION.format(port=1, server="", more=more), encoding="utf-8")
    return file


def engine_of(file: Path, clock: Any) -> Engine:
    configuration = load(file)
    return Engine(configuration, store=store_of(configuration), clock=clock, follows=True)


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(arguments))
    if isinstance(found.exception, DeputizeError):
        return status_of(found.exception), str(found.exception)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout


def log_of(engine: Engine) -> LogKey:
    return log_key(engine.parts.keys.anchor, origin_of(engine.parts.issuer))


def test_checkpoints_go_to_a_folder_each_as_a_file_that_is_never_replaced(tmp_path: Path) -> None:
    clock = FakeClock()
    file = prepared(tmp_path, '[audit]\ncheckpoint_to = ["file:kept/"]\ncheckpoint_every = "1m"\n')
    engine = engine_of(file, clock)
    upkeep = Upkeep(engine.parts, Strangers(engine.parts), lambda: None, log_of(engine))
    upkeep.tick()
    first = sorted((tmp_path / "kept").iterdir())
    assert len(first) == 1
    text = first[0].read_text(encoding="utf-8")
    engine.parts.keys.signer()
    upkeep.tick()  # not due
    assert sorted((tmp_path / "kept").iterdir()) == first
    clock.advance(60)
    upkeep.tick()
    again = sorted((tmp_path / "kept").iterdir())
    assert len(again) == 2
    assert first[0].read_text(encoding="utf-8") == text
    heads = [parse(path.read_bytes()) for path in again]
    report = engine.parts.store.read(lambda tx: verify(tx, against=heads[0]))
    signers = [row for row in engine.parts.store.read(lambda tx: tx.keys()) if row.use == "log"]
    engine.close()
    assert report.ok
    assert len(signers) == 1  # no new key with each
    assert heads[0].size < heads[1].size


def test_a_checkpoint_that_goes_nowhere_is_refused_at_the_start(tmp_path: Path) -> None:
    engine = engine_of(prepared(tmp_path, '[audit]\ncheckpoint_to = ["https://witness.example"]\n'), FakeClock())
    with pytest.raises(ConfigurationError) as error:
        Upkeep(engine.parts, Strangers(engine.parts), lambda: None, log_of(engine))
    engine.close()
    assert error.value.key == "audit.checkpoint_to"


@pytest.mark.requirement("I12")
def test_spent_proofs_are_forgotten_once_they_are_over_and_not_before(tmp_path: Path) -> None:
    clock = FakeClock()
    engine = engine_of(prepared(tmp_path), clock)
    store, until = engine.parts.store, int(clock.now()) + 100
    upkeep = Upkeep(engine.parts, Strangers(engine.parts), lambda: None, log_of(engine))
    assert store.write(lambda tx: tx.spend("dpop", "a", until))
    upkeep.tick()
    assert not store.write(lambda tx: tx.spend("dpop", "a", until))
    clock.advance(102)
    upkeep.tick()
    assert store.write(lambda tx: tx.spend("dpop", "a", until))
    engine.close()


@pytest.mark.requirement("I14")
def test_records_that_are_too_old_are_erased_and_the_log_still_verifies(tmp_path: Path) -> None:
    file = prepared(tmp_path, '[audit]\nretention = "2d"\ntask_text = "clear"\n')
    with (
        Authority.open(file) as authority,
        authority.session(agent="supervisor", user="alice", task="secret-task") as old,
    ):
        txn = old.id
    with sqlite3.connect(tmp_path / "deputize.db") as db:
        (newest,) = db.execute("select max(time) from records").fetchone()
    clock = FakeClock(newest / 1000 + 3 * DAY)
    engine = engine_of(file, clock)
    store = engine.parts.store
    erased = erase_old(engine.parts)
    assert erased >= 2
    assert erase_old(engine.parts) == 0  # another process finds nothing left
    assert store.read(lambda tx: tx.tree_secret(txn)) is None
    kept = {record.type for record in store.read(lambda tx: list(tx.records())) if record.body is not None}
    assert {"policy.applied", "records.erased"} <= kept
    assert "session.opened" not in kept
    report = store.read(verify)
    engine.close()
    assert report.ok
    with sqlite3.connect(tmp_path / "deputize.db") as db:
        db.execute("pragma wal_checkpoint(truncate)")
    assert b"secret-task" not in (tmp_path / "deputize.db").read_bytes()


def test_the_key_of_a_tree_that_lives_is_not_erased(tmp_path: Path) -> None:
    file = prepared(tmp_path, '[audit]\nretention = "1s"\n[limits]\nsession_ttl = "8h"\n')
    with Authority.open(file) as authority:
        txn = authority.session(agent="supervisor", user="alice").id
    with sqlite3.connect(tmp_path / "deputize.db") as db:
        (newest,) = db.execute("select max(time) from records").fetchone()
    engine = engine_of(file, FakeClock(newest / 1000 + 60))
    assert erase_old(engine.parts) >= 1
    assert engine.parts.store.read(lambda tx: tx.tree_secret(txn)) is not None
    engine.close()


def test_a_store_is_copied_while_it_is_used_for_its_owner_alone_to_read(tmp_path: Path) -> None:
    file = prepared(tmp_path)
    with Authority.open(file) as authority:
        authority.session(agent="supervisor", user="alice")
        copy = tmp_path / "copy.db"
        assert run("store", "backup", str(copy), "--config", str(file))[0] == 0
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert run("store", "backup", str(copy), "--config", str(file))[0] == 2
        assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy.db"]
    text = file.read_text(encoding="utf-8").replace("sqlite:deputize.db", "sqlite:copy.db")
    file.write_text(text, encoding="utf-8")
    status, out = run("store", "check", "--config", str(file), "--json")
    assert (status, json.loads(out)["problems"]) == (0, [])


def test_a_store_that_was_changed_by_hand_is_found(tmp_path: Path) -> None:
    file = prepared(tmp_path)
    with Authority.open(file) as authority:
        authority.session(agent="supervisor", user="alice")
    assert run("store", "check", "--config", str(file))[0] == 0
    with sqlite3.connect(tmp_path / "deputize.db") as db:
        db.execute("update records set body = replace(body, 'alice', 'mallo') where type = 'session.opened'")
    assert run("store", "check", "--config", str(file))[0] == 1


def test_migrating_makes_a_store_and_what_has_no_file_is_refused(tmp_path: Path) -> None:
    file = prepared(tmp_path)
    assert run("store", "check", "--config", str(file))[0] == 3
    assert run("store", "migrate", "--config", str(file))[0] == 0
    assert run("store", "check", "--config", str(file))[0] == 0
    text = file.read_text(encoding="utf-8")
    for url in ("sqlite::memory:", "postgresql://nobody@127.0.0.1:1/none"):
        file.write_text(text.replace("sqlite:deputize.db", url), encoding="utf-8")
        assert run("store", "backup", str(tmp_path / "x"), "--config", str(file))[0] == 2
    assert SystemClock().now() > 0
