"""A policy set rolled out under load in another process, and a roll-out killed in the middle."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deputize.audit.record import open_body
from deputize.audit.verification import verify
from deputize.authority import rollout
from deputize.authority.engine import claim
from deputize.authority.policy_sets import compiled, kept_text
from deputize.authority.stores import store_of
from deputize.system import SystemClock
from tests.durability import hammer_rollout

Nursery = Any  # the fixtures of conftest.py
DECISIONS = ("session.", "exchange.", "handoff.", "identity.", "tool.started", "tool.denied")


def decided_by(tx: Any) -> tuple[list[str], int]:
    """What was decided by another set than the one that the log says was active; and how many decisions there are."""
    active, wrong, count = None, [], 0
    for record in tx.records():
        body = open_body(record)
        if record.type == "policy.applied":
            active = body["policy_set"]
        elif record.type.startswith(DECISIONS):
            count += 1
            if body["policy_set"] != active:
                wrong.append(f"record {record.seq} {record.type}")
    return wrong, count


@pytest.mark.requirement("PO-01")
def test_no_exchange_fails_in_a_roll_out_and_none_is_by_a_set_that_is_not_active(tmp_path: Path) -> None:
    sets = [hammer_rollout.configuration(tmp_path, number) for number in range(4)]
    store = store_of(sets[0])
    claim(store, sets[0])
    rollout.apply(store, SystemClock(), sets[0], by="test")
    replica = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("hammer_rollout.py")), str(tmp_path)],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert replica.stdout.readline() == "go\n"
        told = []
        for number in range(40):
            rollout.apply(store, SystemClock(), sets[number % 4], by="test")
            told += [replica.stdout.readline() for _ in range(2)]  # it goes on while this one waits
    finally:
        (tmp_path / "stop").touch()
        told += replica.communicate(timeout=60)[0].splitlines(keepends=True)
    assert set(told) == {"done\n"}
    wrong, count = store.read(decided_by)
    assert wrong == []
    assert count >= 2 * len(told)
    used = {open_body(record)["policy_set"] for record in store.read(lambda tx: tx.find(type="session.opened"))}
    assert len(used) == 4
    store.close()


@pytest.mark.requirement("PO-03")
@pytest.mark.parametrize("kills", [8, pytest.param(100, marks=pytest.mark.deep)])
def test_a_roll_out_that_is_killed_happened_or_did_not(nursery: Nursery, tmp_path: Path, kills: int) -> None:
    applied = 0
    for _ in range(kills):
        acknowledged = [words[1] for words in nursery.kill("rollout", "apply", tmp_path)]
        store = store_of(hammer_rollout.configuration(tmp_path, 0))
        moves = rollout.history(store)
        active = rollout.resolve(store)
        assert moves[-1].digest == active
        assert [move.digest for move in moves[applied:]][: len(acknowledged)] == acknowledged
        assert len(moves) - applied - len(acknowledged) in {0, 1}  # committed, and killed before it was told
        assert compiled(store.read(lambda tx, name=active: kept_text(tx, name)), active).policy.digest == active
        assert store.read(verify).ok
        applied = len(moves)
        store.close()
    assert applied > kills
