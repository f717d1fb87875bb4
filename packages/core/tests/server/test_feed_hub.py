"""The hub of the feed, without HTTP: whatever the order of writes, reads, cuts and resumes, nothing is lost."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize import AuthorityUnavailable, DeputizeError, StoreError
from deputize.audit.checkpoint import new_key
from deputize.authority.feed import Feed
from deputize.authority.journal import append
from deputize.model.event import Event
from deputize.model.revocation import Kind, RevocationEntry
from deputize.server.feed_hub import FeedHub
from deputize.store.protocol import WriteTx
from deputize.store.sqlite import open_sqlite
from deputize.testing import FakeClock
from deputize.wire import feed as wire

ISSUER = "https://sts.example"


class Log:
    """A store with records, some of which revoke."""

    def __init__(self, path: str) -> None:
        self.clock = FakeClock()
        self.store: Any = open_sqlite(path, durability="normal")
        self.made: list[str] = []
        self.key = new_key("sts.example")
        self.note()

    def note(self) -> None:
        self._append(None)

    def revoke(self) -> None:
        self.made.append(f"sid-{len(self.made)}")
        self._append(self.made[-1])

    def _append(self, sid: str | None) -> None:
        now = int(self.clock.now())

        def operation(tx: WriteTx) -> None:
            seq = append(tx, Event(type="test.noted", outcome="noted", time=now * 1000)).seq
            if sid is not None:
                tx.revoke(RevocationEntry(kind=Kind.SESSION, id=sid, at=now, until=now + 900, seq=seq, reason="x"))

        self.store.write(operation)

    def hub(self, **options: Any) -> FeedHub:
        made = Feed(issuer=ISSUER, store=self.store, clock=self.clock, key=self.key, unanchored=True)
        return FeedHub(made, **{"heartbeat": 0.002, "poll": 0.0005, **options})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(str(tmp_path / "log.db"))
    yield made
    made.store.close()


class Reader:
    """What a subscriber makes of its bytes."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.cursor = 0
        self.whole = False
        self.heard = -1  # cursor of the last heartbeat

    def take(self, chunk: bytes, events: wire.EventReader) -> None:
        for event in events.feed(chunk):
            if event.name == wire.SNAPSHOT:
                page = wire.parse_page(event.data)
                self.known |= {entry.id for entry in page.entries}
                self.cursor, self.whole = page.cursor, page.last
            elif event.name == wire.ENTRY:
                self.known.add(wire.parse_entry_event(event.data).id)
                self.cursor = max(self.cursor, event.cursor or 0)
            else:
                beat = wire.parse_heartbeat(event.data)
                self.cursor, self.heard = max(self.cursor, beat.cursor), beat.cursor


STEPS = st.lists(
    st.one_of(
        *[st.just("revoke")] * 4, *[st.just("read")] * 4, st.just("note"), st.just("cut"), st.just("cut unread"),
        st.just("settle"),
    ),
    min_size=4, max_size=40,
)  # fmt: skip


@pytest.mark.requirement("I7")
@given(steps=STEPS, page=st.sampled_from([1, 2, 500]))
@settings(max_examples=40, deadline=None)
def test_a_reader_that_resumes_by_cursor_loses_no_entry(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str], page: int
) -> None:
    log = Log(str(tmp_path_factory.mktemp("log") / "log.db"))
    hub = log.hub()
    whole_read = hub.feed.read
    hub.feed.read = lambda after=0, **_: whole_read(after, limit=page)  # type: ignore[method-assign]  # small pages

    async def run() -> None:
        reader, stream, events = Reader(), None, wire.EventReader()
        for step in [*steps, "settle"]:
            if step in {"revoke", "note"}:
                await asyncio.to_thread(getattr(log, step))
            elif step.startswith("cut"):
                if stream is not None:
                    await stream.aclose()  # what was sent and not read is gone
                stream = None
            else:
                size = await asyncio.to_thread(hub.feed.size)
                done = False
                while not done:
                    if stream is None:
                        stream, events = hub.follow(reader.cursor if reader.whole else 0), wire.EventReader()
                    reader.take(await asyncio.wait_for(anext(stream), 20), events)
                    done = step == "read" or reader.heard >= size
        assert reader.known == set(log.made)
        if stream is not None:
            await stream.aclose()
        assert hub.subscribers == 0

    try:
        asyncio.run(run())
    finally:
        log.store.close()


@pytest.mark.requirement("I7")
async def test_readers_that_come_and_go_under_writes_all_learn_everything(log: Log) -> None:
    hub = log.hub()
    ended = asyncio.Event()

    async def write() -> None:
        for number in range(120):
            await asyncio.to_thread(log.revoke if number % 3 else log.note)
        ended.set()

    async def follow(share: int) -> Reader:
        reader = Reader()
        while not (ended.is_set() and reader.heard >= await asyncio.to_thread(hub.feed.size)):
            stream, events = hub.follow(reader.cursor if reader.whole else 0), wire.EventReader()
            for _ in range(share):
                reader.take(await asyncio.wait_for(anext(stream), 20), events)
            await stream.aclose()
        return reader

    readers, _ = await asyncio.gather(asyncio.gather(*(follow(share) for share in (1, 2, 3, 5))), write())
    assert all(reader.known == set(log.made) for reader in readers)


async def to_its_end(stream: Any) -> None:
    async with asyncio.timeout(20):
        async for _ in stream:
            pass


async def test_who_falls_behind_the_ring_is_cut(log: Log) -> None:
    hub = log.hub(kept=4, heartbeat=30)
    stream = hub.follow(0)
    await anext(stream)
    run = hub._run
    assert run is not None
    for _ in range(5):
        run.publish(0, b"x", beat=True)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    assert hub.subscribers == 0


async def test_only_so_many_are_let_in(log: Log) -> None:
    hub = log.hub(subscribers_max=1)
    first, second = hub.follow(0), hub.follow(0)
    await anext(first)
    with pytest.raises(AuthorityUnavailable):
        await anext(second)
    await first.aclose()
    third = hub.follow(0)
    await anext(third)
    hub.stop()
    await to_its_end(third)
    with pytest.raises(AuthorityUnavailable):
        await anext(hub.follow(0))


async def test_a_store_that_fails_refuses_who_comes_and_ends_who_is_there(log: Log) -> None:
    class Gone:
        gone = False

        def __getattr__(self, name: str) -> Any:
            if self.gone:
                raise StoreError("gone", code="store_unreachable")
            return getattr(log.store, name)

    store = Gone()
    hub = FeedHub(
        Feed(issuer=ISSUER, store=store, clock=log.clock, key=log.key, unanchored=True),  # type: ignore[arg-type]  # by shape
        heartbeat=0.002, poll=0.001,
    )  # fmt: skip
    stream = hub.follow(0)
    await anext(stream)
    store.gone = True
    await to_its_end(stream)
    with pytest.raises(DeputizeError):
        await anext(hub.follow(0))
    store.gone = False
    again = hub.follow(0)
    await anext(again)
    await again.aclose()


@pytest.mark.requirement("I14")
def test_no_heartbeat_is_signed_for_a_log_that_contradicts_the_last(log: Log, tmp_path: Path) -> None:
    made = log.hub().feed
    log.note()
    made.heartbeat(made.read())
    other = Log(str(tmp_path / "other.db"))
    made._store = other.store  # a restored backup, say
    with pytest.raises(DeputizeError) as refused:
        made.heartbeat(made.read())
    assert refused.value.code == "log_inconsistent"
    other.store.close()


def test_a_heartbeat_says_when_its_read_began_and_signs_only_what_grew(log: Log) -> None:
    made = log.hub().feed
    first = made.heartbeat(made.read())
    log.clock.advance(3)
    second = made.heartbeat(made.read(first.cursor))
    assert second.as_of - first.as_of == 3000
    assert second.checkpoint == first.checkpoint
    log.note()
    assert made.heartbeat(made.read(first.cursor)).checkpoint != first.checkpoint


def test_entries_of_one_record_are_resumed_behind_the_last() -> None:
    one = wire.FeedEntry(kind=Kind.AGENT, id="d" * 43, until=5, seq=7)
    below = [replace(one, kind=Kind.SESSION, id=f"s{number}") for number in range(2)]
    events = b"".join(wire.entry_events([one, *below, replace(one, seq=9)], 12))
    assert [event.cursor for event in wire.EventReader().feed(events)] == [None, None, 8, 10]


@pytest.mark.requirement("I7")
async def test_what_is_written_while_the_first_reader_begins_is_not_lost(log: Log) -> None:
    hub = log.hub()
    read, first_read = hub.feed.read, threading.Event()
    size = hub.feed.size

    def reading(after: int = 0, **options: Any) -> Any:
        found = read(after, **options)
        first_read.set()
        return found

    def sized() -> int:
        first_read.wait(0.05)  # as long as it takes a reader that would not wait
        if not log.made:
            log.revoke()
        return size()

    hub.feed.read, hub.feed.size = reading, sized  # type: ignore[method-assign]  # the worst schedule
    reader, stream, events = Reader(), hub.follow(0), wire.EventReader()
    beats = 0
    while beats < 3:
        chunk = await asyncio.wait_for(anext(stream), 20)
        reader.take(chunk, events)
        beats += chunk.count(b"event: heartbeat")
    await stream.aclose()
    assert reader.known == {"sid-0"}
