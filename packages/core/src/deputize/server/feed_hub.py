"""One reader of the store for all subscribers of the revocation feed.

A run polls while anybody listens. Its frames lie in one bounded ring that all subscribers read from: a subscriber
costs a number and what its connection holds, and one that falls behind the ring is cut.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from deputize.authority.feed import Feed
from deputize.model.failure import AuthorityUnavailable, DeputizeError, StoreError
from deputize.wire.feed import Head, Heartbeat, Page, entry_events, heartbeat_event, page_event

HEARTBEAT: Final = 3.0  # seconds; three of them fit into the bound that verifiers are promised
POLL: Final = 0.25  # seconds
KEPT: Final = 256  # frames
LIFETIME: Final = 900.0  # seconds; then a reader shows again who it is
SUBSCRIBERS_MAX: Final = 4096
_READERS: Final = 4  # subscribers that catch up at once

log = logging.getLogger("deputize.server.feed")


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes for every subscriber. `cursor`: where a reader stands behind it; a heartbeat is sent to all."""

    number: int
    cursor: int
    data: bytes
    beat: bool


class _Run:
    """The time from the first subscriber to the last, or to a failure of the store."""

    def __init__(self, kept: int) -> None:
        self.frames: deque[Frame] = deque(maxlen=kept)
        self.next = 0
        self.wake = asyncio.Event()
        self.started = asyncio.Event()  # the run's own cursor stands: what it tells begins before any subscriber reads
        self.ended = False
        self.subscribers = 0

    def publish(self, cursor: int, data: bytes, *, beat: bool) -> None:
        self.frames.append(Frame(self.next, cursor, data, beat))
        self.next += 1
        self._rouse()

    def end(self) -> None:
        self.ended = True
        self.started.set()
        self._rouse()

    def _rouse(self) -> None:
        wake, self.wake = self.wake, asyncio.Event()
        wake.set()

    def since(self, position: int) -> list[Frame] | None:
        """The frames from `position` on; None where some of them are gone."""
        if position < self.next - len(self.frames):
            return None
        return [frame for frame in self.frames if frame.number >= position]


class FeedHub:
    """Streams of the feed for any number of subscribers, in one event loop.

    `heartbeat`, `poll` and `lifetime` (of a stream) are in seconds. `stop` ends all streams and is final.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        heartbeat: float = HEARTBEAT,
        poll: float = POLL,
        lifetime: float = LIFETIME,
        kept: int = KEPT,
        subscribers_max: int = SUBSCRIBERS_MAX,
    ) -> None:
        self.feed = feed
        self.heartbeat = heartbeat
        self._poll = poll
        self._lifetime = lifetime
        self._kept = kept
        self._subscribers_max = subscribers_max
        self._run: _Run | None = None
        self._task: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(_READERS)
        self._stopped = False

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return self._run.subscribers if self._run is not None else 0

    def stop(self) -> None:
        """End every stream, and refuse new ones: call it in the loop before the server waits for its connections."""
        self._stopped = True
        if self._run is not None:
            self._run.end()

    async def once(self, after: int, head: Head | None = None) -> tuple[Page, Heartbeat | None]:
        """One page for a reader that does not wait, with a heartbeat where it is the last. Raises StoreError."""

        def look() -> tuple[Page, Heartbeat | None]:
            reading = self.feed.read(after, head=head)
            return reading.page, self.feed.heartbeat(reading) if reading.page.last else None

        async with self._turns:
            return await asyncio.to_thread(look)

    async def follow(self, after: int, head: Head | None = None) -> AsyncGenerator[bytes, None]:
        """The bytes of one subscriber's stream: what it missed, then what comes. `head`: as in `Feed.read`.

        Ends when its lifetime is over, the hub stops, the store fails, or it reads too slowly. Raises StoreError,
        AuthorityUnavailable, IntegrityError only before the first bytes.
        """
        run = self._enter()
        deadline = asyncio.get_running_loop().time() + self._lifetime
        cursor, snapshot, position = after, False, run.next
        try:
            await run.started.wait()
            last = False
            while not last:
                position = run.next
                page, beat = await self.once(cursor, head)
                head = None  # asked once: the pages after it go on from this log's own
                snapshot, last, cursor = snapshot or page.first, page.last, page.cursor
                events = page_event(page) if snapshot else b"".join(entry_events(page.entries, page.cursor))
                yield events if beat is None else events + heartbeat_event(beat)
            while not run.ended and asyncio.get_running_loop().time() < deadline:
                wake = run.wake
                frames = run.since(position)
                if frames is None:
                    log.warning("a reader of the revocation feed was too slow and is cut off")
                    return
                for frame in frames:
                    position = frame.number + 1
                    if frame.beat or frame.cursor > cursor:
                        cursor = max(cursor, frame.cursor)
                        yield frame.data
                if position == run.next and not run.ended:
                    await wake.wait()
        finally:
            self._leave(run)

    def _enter(self) -> _Run:
        if self._stopped or self.subscribers >= self._subscribers_max:
            raise AuthorityUnavailable("the feed takes no more readers here", retry_after=1)
        run = self._run
        if run is None or run.ended:
            run = self._run = _Run(self._kept)
            self._task = asyncio.get_running_loop().create_task(self._watch(run))
        run.subscribers += 1
        return run

    def _leave(self, run: _Run) -> None:
        run.subscribers -= 1
        if run.subscribers == 0:
            run.end()

    async def _watch(self, run: _Run) -> None:
        """Read for all while anybody listens. Whatever goes wrong ends the streams: no heartbeat without a read."""
        loop = asyncio.get_running_loop()
        try:
            cursor = await asyncio.to_thread(self.feed.size)
            run.started.set()
            seen = -1
            beat_at = loop.time() + self.heartbeat
            while not run.ended:
                due = loop.time() >= beat_at
                count = await asyncio.to_thread(self.feed.changes)
                if due or count != seen:
                    seen = count
                    cursor = await self._publish(run, cursor, beat=due)
                if due:
                    beat_at = loop.time() + self.heartbeat
                await _pause(run, min(self._poll, self.heartbeat))
        except DeputizeError as error:
            log.warning("the revocation feed ends its streams: %s", error.code)
        finally:
            run.end()

    async def _publish(self, run: _Run, cursor: int, *, beat: bool) -> int:
        last = False
        while not last:
            reading = await asyncio.to_thread(self.feed.read, cursor)
            page = reading.page
            if page.first and cursor > 0:
                raise StoreError("the log is shorter than it was", code="store_rewound")
            if page.entries:
                run.publish(page.cursor, b"".join(entry_events(page.entries, page.cursor)), beat=False)
            cursor, last = page.cursor, page.last
            if last and beat:
                told = await asyncio.to_thread(self.feed.heartbeat, reading)
                run.publish(cursor, heartbeat_event(told), beat=True)
        return cursor


async def _pause(run: _Run, seconds: float) -> None:
    """Wait, or until the run ended."""
    try:
        async with asyncio.timeout(seconds):
            while not run.ended:
                await run.wake.wait()
    except TimeoutError:
        return
