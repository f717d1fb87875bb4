"""No private key moves between processes: not by a fork, and not by two processes on one file."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("processes_forked.py")


def forked(firm: Any, store: str) -> tuple[dict[str, Any], dict[str, Any]]:
    firm.authority.close()
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(firm.path), store],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    parent, child = json.loads(done.stdout)
    return parent, child


@pytest.mark.requirement("I7")
def test_a_forked_child_of_an_authority_in_memory_refuses_everything(firm: Any) -> None:
    """It would not see what its parent revokes."""
    parent, child = forked(firm, "sqlite::memory:")
    assert set(child.values()) == {"store_forked"}
    assert parent["root"] == "open"
    assert parent["token"] is True
    assert parent["records of the child"] == 0


@pytest.mark.requirement("A-12")
def test_a_forked_child_on_a_file_makes_keys_of_its_own_and_goes_on_with_its_sessions(filed: Any) -> None:
    """Also where another thread held the parent's locks at the fork."""
    parent, child = forked(filed, "")
    for key in ("kid", "agent"):
        assert len(child[key]) == 43
        assert child[key] != parent[key]
    assert child["root"] == child["state"] == "open"
    assert child["inherited"] == child["inherited child"] == "https://crm.example/mcp"
    assert parent["records of the child"] >= 1
    assert parent["token"] is True


@pytest.mark.requirement("A-12")
def test_two_processes_on_one_file_have_no_key_in_common_and_know_each_others_public_halves(filed: Any) -> None:
    other = filed.open()
    mine, theirs = filed.engine.parts.keys.signer(), other.engine.parts.keys.signer()
    assert mine.kid != theirs.kid
    token = filed.root().delegate("reader").access("wiki", ["wiki:read"]).reveal()
    assert other.introspect(token).active
    assert {key["kid"] for key in other.jwks()["keys"]} == {mine.kid, theirs.kid}
    assert not any("d" in key for key in other.jwks()["keys"])


@pytest.mark.requirement("A-12")
def test_a_session_token_of_one_process_is_not_accepted_from_the_same_agent_in_another(
    filed: Any, broken: Any, code_of: Any
) -> None:
    from deputize.authority import subject
    from deputize.model.request import AccessRequest

    other = filed.open()
    child = filed.root().delegate("reader")
    request = AccessRequest(subject_token=child.present(), resource="crm", scopes=frozenset({"crm:read"}))
    agent = "spiffe://example.org/agent/reader"
    with broken(subject, "present", lambda *_: None):
        assert other.engine.access(agent, request).grant
    assert code_of(lambda: other.engine.access(agent, request)) == "wrong_presenter"
