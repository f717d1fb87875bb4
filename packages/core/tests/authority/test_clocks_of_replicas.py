"""Replicas whose clocks differ: what one issues is taken by the other at once, and is over for both at one time."""

from pathlib import Path
from typing import Any

import pytest

from deputize.authority.engine import Engine
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.model.request import AccessRequest, HandOffRequest, RootRequest
from deputize.model.session import Evidence, Mode
from deputize.testing import FakeClock

CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
users = "unrestricted"
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read"]
[agents.boss]
open = true
delegate = { crm = ["crm:read"] }
delegate_to = ["worker"]
[agents.worker]
use = { crm = ["crm:read"] }
"""
BOSS, WORKER = "spiffe://example.org/agent/boss", "spiffe://example.org/agent/worker"


@pytest.fixture
def replicas(tmp_path: Path) -> Any:
    (tmp_path / "deputize.toml").write_text(CONFIGURATION, encoding="utf-8")
    configuration = load(tmp_path / "deputize.toml")
    found = [
        Engine(configuration, store=store_of(configuration), clock=FakeClock(1_750_000_000.0 + ahead), follows=True)
        for ahead in (4, 0)
    ]
    yield found
    for engine in found:
        engine.close()


@pytest.mark.requirement("I7")
def test_what_a_replica_with_a_clock_ahead_issued_is_taken_by_one_that_is_behind(replicas: Any) -> None:
    ahead, behind = replicas
    root = ahead.open_root(BOSS, RootRequest(mode=Mode.ON_BEHALF_OF, user="local|alice", evidence=Evidence.ASSERTED))
    boss, worker = ahead.identity(BOSS), ahead.identity(WORKER)
    asked = HandOffRequest(subject_token=root.token, actor_token=worker.token, to=WORKER)
    child = behind.hand_off_of(boss.client, asked)
    assert child.node.created >= root.node.created
    request = AccessRequest(subject_token=child.token, resource="crm", scopes=frozenset({"crm:read"}))
    issued = behind.access_of(worker.client, request)
    assert ahead.introspect(issued.token).active
    assert behind.introspect(issued.token).active
    ahead.parts.clock.advance(61)
    ahead.open_root(BOSS, RootRequest(mode=Mode.ON_BEHALF_OF, user="local|bob", evidence=Evidence.ASSERTED))
    assert not ahead.introspect(issued.token).active
    assert not behind.introspect(issued.token).active  # the log's time went on, whatever this clock says


@pytest.mark.requirement("I2", "I7")
def test_a_session_that_a_replica_behind_opens_has_all_of_its_life_and_its_child_ends_with_it(replicas: Any) -> None:
    ahead, behind = replicas
    boss, worker = behind.identity(BOSS), behind.identity(WORKER)
    ahead.parts.clock.advance(50)
    asked = RootRequest(mode=Mode.ON_BEHALF_OF, user="local|alice", evidence=Evidence.ASSERTED, ttl=30)
    first = ahead.open_root(BOSS, asked)
    root = behind.open_root(BOSS, asked)
    assert (root.node.created, root.node.exp) == (first.node.created, first.node.exp)
    assert behind.state(root.node) == "open"
    child = behind.hand_off_of(
        boss.client, HandOffRequest(subject_token=root.token, actor_token=worker.token, to=WORKER)
    )
    assert child.node.exp == root.node.exp
