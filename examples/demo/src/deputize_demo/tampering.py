"""Scene 6: somebody who can write the file changes the log, in three ways. Verification names each."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deputize_demo.command_line import deputize
from deputize_demo.stage import Stage, number

Change = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class Forgery:
    """A way to change the log, and what verification has to say of it."""

    what: str
    change: Change
    finding: str


async def tampering(stage: Stage) -> None:
    """Take a checkpoint, change copies, verify all at once."""
    stage.screen.heading(
        "6. The log",
        "Every decision above is a record. A checkpoint of the log is taken and kept elsewhere. Then somebody who can "
        "write the file wants the attack of scene 2 forgotten. What `deputize audit verify` says of it:",
    )
    folder, store = stage.setting.folder, stage.setting.store
    checkpoint = folder / "checkpoint"
    await deputize("audit", "checkpoint", "--config", stage.setting.config, "--to", checkpoint)
    forgeries = _forgeries(stage)
    copies = [folder / f"copy-{index}.db" for index in range(len(forgeries))]
    for copy, forgery in zip(copies, forgeries, strict=True):
        _forge(store, copy, forgery.change)
    intact, *found = await asyncio.gather(*(_verify(file, checkpoint) for file in (store, *copies)))
    _tell(stage, "as it is", expected="ok", observed=intact)
    for forgery, observed in zip(forgeries, found, strict=True):
        _tell(stage, forgery.what, expected=forgery.finding, observed=observed)


def _tell(stage: Stage, what: str, *, expected: str, observed: str) -> None:
    stage.screen.attempt(what, observed, allowed=observed == "ok")
    stage.checks.add(f"the log, {what}", expected=expected, observed=observed)


def _forgeries(stage: Stage) -> list[Forgery]:
    calls = [*stage.records("tool.denied", "drop_table"), *stage.records("tool.started", "drop_table")]
    attack, revoked = number(calls[0]) if calls else 0, stage.revoked_at()
    last = len(stage.authority.audit) - 1

    def alter(db: sqlite3.Connection) -> None:
        (body,) = db.execute("select body from records where seq = ?", (attack,)).fetchone()
        innocent = bytes(body).replace(b"drop_table", b"read_table")
        db.execute("update records set body = ? where seq = ?", (innocent, attack))

    return [
        Forgery("with one record altered", alter, f"changed: record {attack}"),
        Forgery(
            "with one record removed",
            lambda db: db.execute("delete from records where seq = ?", (attack,)),
            f"removed: record {attack}",
        ),
        Forgery(
            "with its tail cut off",
            lambda db: db.execute("delete from records where seq >= ?", (revoked,)),
            f"truncated: records {revoked} to {last}",
        ),
    ]


def _forge(store: Path, copy: Path, change: Change) -> None:
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target, target:
        source.backup(target)
        change(target)


async def _verify(store: Path, checkpoint: Path) -> str:
    """`ok`, or what verification names first: what happened, and to which records."""
    done = await deputize("audit", "verify", "--store", store, "--against", checkpoint, "--json")
    if done.data.get("ok") is True:
        return "ok"
    findings = done.data.get("findings")
    broken = [item for item in findings if item["breaks"]] if isinstance(findings, list) else []
    if not broken:
        return f"no finding, exit status {done.status}"
    first, count = broken[0]["seq"], broken[0]["count"]
    records = f"record {first}" if count == 1 else f"records {first} to {first + count - 1}"
    return f"{broken[0]['kind']}: {records}"
