"""The same commands over the store of a file and at a server's URL: the same words, the same exit status."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from deputize.cli.main import app, status_of
from deputize.errors import DeputizeError

if TYPE_CHECKING:
    from packages.core.tests.operators.conftest import Site


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, list(arguments))
    if isinstance(found.exception, DeputizeError):
        return status_of(found.exception), str(found.exception)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout


def data(*arguments: str) -> Any:
    status, out = run(*arguments, "--json")
    assert status == 0, out
    return json.loads(out)


@pytest.fixture
def admin(site: "Site", monkeypatch: pytest.MonkeyPatch) -> "Site":
    monkeypatch.chdir(site.folder)
    monkeypatch.delenv("DEPUTIZE_URL", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(site.folder))
    monkeypatch.setenv("DEPUTIZE_TOKEN", site.token("admin"))
    return site


def test_what_is_looked_at_is_the_same_both_ways(admin: "Site") -> None:
    with admin.authority() as authority:
        root = authority.session(user="alice", agent="supervisor")
        child = root.delegate("researcher")
        with child.tool_call("search", call_id="call-1"):
            pass
        for command in (
            ("session", "list"),
            ("session", "list", "--live", "--user", "alice"),
            ("session", "tree", "call-1"),
            ("agent", "list"),
            ("agent", "show", "researcher"),
            ("audit", "show", "--session", child.id),
            ("audit", "verify"),
            ("policy", "history"),
            ("policy", "show"),
            ("policy", "suggest"),
            ("policy", "explain", "--chain", "supervisor", "--tool", "plan", "--user", "alice"),
        ):
            for form in ((), ("--json",)):
                here, there = run(*command, *form), run(*command, *form, "--url", admin.url)
                assert here[0] == there[0] == 0, there[1]
                if command != ("audit", "verify"):
                    assert here == there


def test_cutting_off_suspending_resuming_and_enrolling_at_a_url(admin: "Site") -> None:
    with admin.authority() as authority:
        root = authority.session(user="alice", agent="supervisor")
        at = ("--url", admin.url)
        assert data("session", "revoke", root.id, "--reason", "r", *at)["sessions"] == 1
        assert root.state == "revoked"
        assert run("agent", "suspend", "researcher", "--reason", "odd", *at)[0] == 0
        assert data("agent", "show", "researcher", *at)["state"] == "suspended"
        assert data("agent", "resume", "researcher", "--reason", "fixed", *at)["state"] == "active"
        assert data("agent", "enroll", "churn", *at)["token"].startswith("deputize-join-")
        assert run("agent", "show", "nobody", *at)[0] == 1


def test_policy_is_sent_and_taken_back_and_a_checkpoint_is_kept(admin: "Site") -> None:
    at = ("--url", admin.url)
    before = data("policy", "show", *at)["policy_set"]
    kept = Path("kept")
    assert run("audit", "checkpoint", "--to", str(kept), *at)[0] == 0
    other = Path("other.toml")
    text = admin.file.read_text(encoding="utf-8")
    other.write_text(text.replace('local = ["plan"]', 'local = ["draw"]'), encoding="utf-8")
    after = data("policy", "apply", "--config", str(other), "--reason", "draws", *at)["policy_set"]
    assert after != before
    conflict = run("policy", "apply", "--config", str(other), "--expect", before, *at)
    assert conflict[0] == 1
    assert data("policy", "rollback", *at)["policy_set"] == before
    assert run("audit", "checkpoint", "--to", str(kept), *at)[0] == 0
    assert run("audit", "verify", "--against", str(kept), *at)[0] == 0


def test_the_exit_status_says_what_was_wrong(admin: "Site", monkeypatch: pytest.MonkeyPatch) -> None:
    at = ("--url", admin.url)
    monkeypatch.setenv("DEPUTIZE_TOKEN", admin.token("viewer"))
    assert run("agent", "list", *at)[0] == 0
    assert run("agent", "suspend", "researcher", "--reason", "r", *at)[0] == 4
    monkeypatch.setenv("DEPUTIZE_TOKEN", "nonsense")
    assert run("agent", "list", *at)[0] == 4
    monkeypatch.delenv("DEPUTIZE_TOKEN")
    assert run("agent", "list", *at)[0] == 4
    assert run("agent", "list", "--url", "http://127.0.0.1:1")[0] == 3
    assert run("agent", "list", "--config", "other.toml", *at)[0] == 2
    monkeypatch.setenv("DEPUTIZE_URL", admin.url)
    assert run("agent", "list")[0] == 4
    assert run("logout")[0] == 0
