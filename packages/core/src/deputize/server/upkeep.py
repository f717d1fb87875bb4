"""What a server does beside answering: forgets what is spent, erases what is too old, keeps checkpoints outside.

Every step may be done by any number of processes at once, and again.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deputize.audit.log import Log
from deputize.authority.log_keys import LogKey, publish_log_key
from deputize.authority.parts import Parts
from deputize.authority.retention import erase_old
from deputize.model.failure import ConfigurationError, DeputizeError, StoreError
from deputize.server.strangers import Strangers

TICK: Final = 5.0  # seconds
SWEEP: Final = 60.0  # seconds between two rounds of forgetting and erasing
FILE: Final = "file:"
_LOG = logging.getLogger("deputize.upkeep")


class Upkeep:
    """One background task of a process. `refresh`, called at every tick, must not raise; `log` signs checkpoints."""

    def __init__(self, parts: Parts, strangers: Strangers, refresh: Callable[[], None], log: LogKey) -> None:
        self._parts = parts
        self._strangers = strangers
        self._refresh = refresh
        self._log = log
        self._folders = folders_of(parts)
        self._sweep_at = float("-inf")
        self._checkpoint_at = float("-inf")

    async def run(self) -> None:
        """Until it is cancelled. A failure is logged, and tried again at the next tick."""
        try:
            while True:
                await asyncio.to_thread(self.tick)
                await asyncio.sleep(TICK)
        finally:
            with contextlib.suppress(DeputizeError):
                self._strangers.write(all_of_them=True)

    def tick(self) -> None:
        """Whatever is due."""
        self._refresh()
        now = self._parts.clock.monotonic()
        for due, step in (
            (True, self._strangers.write),
            (now >= self._sweep_at, self._sweep),
            (bool(self._folders) and now >= self._checkpoint_at, self._checkpoint),
        ):
            if due:
                _tried(step)

    def _sweep(self) -> None:
        parts = self._parts
        self._sweep_at = parts.clock.monotonic() + SWEEP
        before = int(parts.now())
        parts.store.write(lambda tx: tx.forget(before))
        erased = erase_old(parts)
        if erased:
            _LOG.info("%d records were older than their retention and were erased", erased)

    def _checkpoint(self) -> None:
        parts = self._parts
        self._checkpoint_at = parts.clock.monotonic() + parts.rules.configuration.checkpoint_every
        log = self._log
        publish_log_key(parts.store, log, parts.clock)
        made = Log(parts.store).checkpoint(log.key, origin=log.key.name, unanchored=log.unanchored)
        for folder in self._folders:
            keep(folder, made.size, str(made))


def folders_of(parts: Parts) -> tuple[Path, ...]:
    """The folders of `checkpoint_to`. Raises ConfigurationError."""
    configuration = parts.rules.configuration
    base = Path(configuration.path).parent
    for target in configuration.checkpoint_to:
        if not target.startswith(FILE) or target == FILE:
            raise ConfigurationError(
                "audit.checkpoint_to: is a list of folders, written file:<folder>",
                path=configuration.path,
                key="audit.checkpoint_to",
            )
    return tuple(base / target.removeprefix(FILE) for target in configuration.checkpoint_to)


def keep(folder: Path, size: int, note: str) -> None:
    """A checkpoint as a file of its own, named by the size of the log; what was kept is never replaced."""
    file = folder / f"{size:012d}.checkpoint"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists():
            return
        beside = folder / f".{file.name}.{os.getpid()}"
        beside.write_text(note, encoding="utf-8")
        beside.replace(file)
    except OSError as error:
        raise StoreError(f"a checkpoint cannot be kept: {error.strerror}", code="checkpoint_unkept") from None


def _tried(step: Callable[[], object]) -> None:
    try:
        step()
    except DeputizeError as error:
        _LOG.warning("upkeep: %s", error.code)
