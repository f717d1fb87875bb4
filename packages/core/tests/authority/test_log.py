"""The log of a working authority: checkpoints continue each other, and what was changed behind it is named."""

import sqlite3
from typing import Any

import pytest

from deputize import IntegrityError


@pytest.mark.requirement("I14")
def test_every_checkpoint_continues_the_one_before(world: Any) -> None:
    first = world.authority.audit.checkpoint()
    with world.root() as root:
        root.delegate("researcher").access("crm", ["crm:read"])
    second = world.authority.audit.checkpoint()
    for kept in (None, first, second):
        assert world.authority.audit.verify(against=kept).ok
    assert int(second.splitlines()[1]) > int(first.splitlines()[1])
    assert ("deputize unanchored" in second) is (world.kind != "postgres")


@pytest.mark.requirement("I14")
def test_what_was_changed_behind_the_authority_is_named(filed: Any) -> None:
    with filed.root() as root:
        root.delegate("researcher")
    kept = filed.authority.audit.checkpoint()
    with sqlite3.connect(filed.path.parent / "deputize.db") as db:
        db.execute("update records set body = replace(body, 'researcher', 'supervisor') where seq = 4")
    db.close()
    report = filed.authority.audit.verify(against=kept)
    assert not report.ok
    assert {finding.seq for finding in report.findings if finding.breaks} == {4}


def test_a_session_whose_record_is_gone_is_refused(filed: Any) -> None:
    root = filed.root()
    with sqlite3.connect(filed.path.parent / "deputize.db") as db:
        db.execute("delete from records where seq = ?", (root.node.leaf,))
    db.close()
    with pytest.raises(IntegrityError):
        root.delegate("researcher")
