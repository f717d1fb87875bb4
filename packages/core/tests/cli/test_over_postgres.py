"""The commands over PostgreSQL: looking and cutting off need no anchor, signing does."""

import hashlib
import os
from typing import Any

import pytest

from deputize import Authority
from deputize.config import load

SEED = hashlib.sha256(b"no secret: a seed for tests").hexdigest()


@pytest.fixture
def shared(project: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The starter's project, its store in a database."""
    monkeypatch.setenv("DEPUTIZE_ANCHOR", SEED)
    monkeypatch.setenv("DEPUTIZE_STORE_URL", database.url())
    return project


def test_sessions_are_listed_drawn_and_cut_off(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = shared.lived()
    monkeypatch.delenv("DEPUTIZE_ANCHOR")  # to look and to cut off, nothing is signed
    listed = shared.run("session", "list", "--json")
    assert [row["sid"] for row in listed.data] == [ids["root"], ids["child"]]
    assert "researcher" in shared.run("session", "tree", ids["access"]).out
    done = shared.run("session", "revoke", ids["call"], "--reason", "INC-1", "--json")
    assert (done.status, done.data["sessions"]) == (0, 1)
    assert [row["state"] for row in shared.run("session", "list", "--json").data] == ["open", "revoked"]
    assert shared.run("audit", "show", "--json").data[-1]["type"] == "session.revoked"


def test_the_log_is_verified_and_its_checkpoints_bear_the_anchors_key(shared: Any, tmp_path: Any) -> None:
    shared.lived()
    key = shared.run("audit", "key")
    assert key.status == 0
    kept = tmp_path / "kept"
    signed = shared.run("audit", "checkpoint", "--to", str(kept))
    assert (signed.status, "unanchored" in signed.err) == (0, False)
    assert shared.run("audit", "checkpoint", "--to", str(kept)).status == 0
    assert shared.run("audit", "key").out == key.out
    assert [row["unanchored"] for row in shared.run("audit", "key", "--json").data] == [False]
    found = shared.run("audit", "verify", "--against", str(kept), "--key", key.out.strip(), "--json")
    assert (found.status, found.data["ok"], found.data["signature_checked"]) == (0, True, True)


def test_a_store_is_named_by_its_url_alone(shared: Any) -> None:
    shared.lived()
    url = load(str(shared.file), environ=os.environ).store_url
    shared.file.unlink()
    assert shared.run("audit", "verify", "--store", url).status == 0
    assert shared.run("audit", "show", "--store", url, "--json").data


def test_without_an_anchor_no_checkpoint_is_signed(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.lived()
    monkeypatch.delenv("DEPUTIZE_ANCHOR")
    before = len(shared.run("audit", "show", "--json").data)
    refused = shared.run("audit", "checkpoint")
    assert (refused.status, "DEPUTIZE_ANCHOR" in refused.err) == (2, True)
    assert len(shared.run("audit", "show", "--json").data) == before


def test_a_command_makes_no_store(shared: Any, database: Any) -> None:
    assert shared.run("session", "list").status != 0
    with Authority.open(shared.file):
        pass
    assert shared.run("session", "list").status == 0


@pytest.mark.requirement("I9")
def test_a_password_in_the_file_is_refused_without_being_shown(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPUTIZE_STORE_URL", "postgresql://u:hunter2@h/d")
    for words in (("session", "list"), ("audit", "show"), ("audit", "show", "--store", "postgresql://u:hunter2@h/d")):
        refused = shared.run(*words)
        assert refused.status == 2
        assert "hunter2" not in refused.out + refused.err
