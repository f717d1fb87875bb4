"""Scene 6: somebody who can write the file changes the log, in three ways. Verification names each."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from deputize_demo.command_line import Done, deputize

Change = Callable[[sqlite3.Connection], object]


@dataclass(frozen=True, slots=True)
class Forgery:
    """A way to change a copy of the log, and what verification has to say of it."""

    name: str
    words: str
    change: Change
    finding: str


def forgeries(refusal: int, revocation: int, records: int) -> list[Forgery]:
    """Three things that somebody might want: `refusal` and `revocation` are numbers of records."""

    def alter(db: sqlite3.Connection) -> None:
        (body,) = db.execute("select body from records where seq = ?", (refusal,)).fetchone()
        other = bytes(body).replace(b"drop_table", b"read_table")
        db.execute("update records set body = ? where seq = ?", (other, refusal))

    def remove(db: sqlite3.Connection) -> None:
        db.execute("delete from records where seq = ?", (refusal,))

    def cut(db: sqlite3.Connection) -> None:
        db.execute("delete from records where seq >= ?", (revocation,))

    lost = f"{revocation} to {records - 1}" if revocation < records - 1 else str(revocation)
    return [
        Forgery("altered", f"record {refusal} altered: it was not drop_table", alter, f"changed {refusal}"),
        Forgery("removed", f"record {refusal} removed", remove, f"removed {refusal}"),
        Forgery("cut", f"the tail cut off, from record {revocation} on", cut, f"truncated {lost}"),
    ]


async def checkpoint(config: Path, to: Path) -> Done:
    """Sign the head of the log as it is now. A copy kept elsewhere is what makes all that follows provable."""
    return await deputize("audit", "checkpoint", "--config", config, "--to", to)


def forge(store: Path, copy: Path, change: Change) -> None:
    """Copy the file and change the copy."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target, target:
        source.backup(target)
        change(target)


async def verify(store: Path, against: Path) -> str:
    """`ok`, or the first thing that verification names: what happened, to which records."""
    done = await deputize("audit", "verify", "--store", store, "--against", against, "--json")
    if done.data.get("ok") is True:
        return "ok"
    findings = done.data.get("findings")
    broken = [item for item in findings if item["breaks"]] if isinstance(findings, list) else []
    if not broken:
        return f"status {done.status}"
    first, count = broken[0]["seq"], broken[0]["count"]
    return f"{broken[0]['kind']} {first}" + (f" to {first + count - 1}" if count > 1 else "")


async def verify_all(stores: list[Path], against: Path) -> list[str]:
    """All at once."""
    return list(await asyncio.gather(*(verify(store, against) for store in stores)))
