"""What a reader of the feed knows: the entries, its cursor, and when it last heard that they are all."""

import threading
from typing import Final

from deputize.audit.checkpoint import Checkpoint, VerifierKey, parse, verify
from deputize.model.clock import Clock
from deputize.model.failure import DeputizeError, IntegrityError, InvalidRequest
from deputize.model.revocation import Kind, RevocationEntry
from deputize.verifier.hashed import HashedRevocationSet
from deputize.wire.feed import MAX_LEEWAY, FeedEntry, Head, Heartbeat, Page, name_digest

PRUNE: Final = 60.0  # seconds between two looks for what expired
MAX_ENTRIES: Final = 2_000_000
NEVER: Final = float("-inf")


class FeedState:
    """Written by one thread, read by all. Entries leave only when what they kill has expired anyway."""

    def __init__(self, issuer: str, clock: Clock, *, log_key: VerifierKey | None) -> None:
        self.cursor = 0
        self.heard_at = NEVER  # by the steady clock
        self.failure: DeputizeError | None = None
        self._issuer = issuer
        self._clock = clock
        self._log_key = log_key
        self._entries: dict[tuple[Kind, str], FeedEntry] = {}
        self._set = self._empty()
        self._head: Checkpoint | None = None
        self._begun = False  # a snapshot was begun once: without it a cursor means nothing
        self._partial = False  # and is not at its end
        self._resumes = False  # this connection was to go on where the last one ended
        self._foreign = False  # and was answered by a snapshot: the log is not the one that was heard of
        self._pruned = clock.monotonic()
        self.heard = threading.Event()

    def forked(self) -> None:
        """In a child: locks may have been held by threads that are not here."""
        heard = self.heard.is_set()
        self.heard = threading.Event()
        if heard:
            self.heard.set()

    def view(self) -> HashedRevocationSet:
        """The set as it is now."""
        return self._set

    def place(self) -> dict[str, str]:
        """Where a new connection begins, as parameters; `after` 0 is a snapshot.

        Never beyond the last head that was heard: what lies after it might be of another log by now.
        """
        head = self._head
        self._resumes = not self._partial and head is not None
        if self._partial or head is None:
            return {"after": "0"}
        self._foreign = False
        return {"after": str(min(self.cursor, head.size)), "head": str(Head(head.size, head.root))}

    def take_page(self, page: Page) -> None:
        """A page of a snapshot. Raises InvalidRequest where its beginning was missed."""
        if page.first:
            self._begun = True
            self._foreign = self._foreign or self._resumes
        elif not self._partial:
            raise InvalidRequest("a snapshot begins with its first page", code="feed_malformed")
        for entry in page.entries:
            self._add(entry)
        self._partial = not page.last
        self.cursor = page.cursor

    def take_entry(self, entry: FeedEntry, cursor: int | None) -> None:
        """An entry of the stream; `cursor` where a reader may resume after it."""
        self._check_begun()
        self._add(entry)
        if cursor is not None:
            self.cursor = max(self.cursor, cursor)

    def take_heartbeat(self, beat: Heartbeat) -> None:
        """Everything was told until now. Raises IntegrityError where the log's head is not to be believed."""
        self._check_begun()
        self._take_head(parse(beat.checkpoint))
        self.cursor = max(self.cursor, beat.cursor)
        self.heard_at = self._clock.monotonic()
        self.failure = None
        self.heard.set()
        if self.heard_at - self._pruned >= PRUNE:
            self._prune()

    def _check_begun(self) -> None:
        if not self._begun or self._partial:
            raise InvalidRequest("the feed goes on from a snapshot that was never told whole", code="feed_malformed")

    def _take_head(self, head: Checkpoint) -> None:
        if self._log_key is not None:
            verify(head, [self._log_key])
            if self._foreign or _contradicts(head, self._head):
                raise IntegrityError("the log is not the one that was signed before", code="log_inconsistent")
        self._head = head

    def _add(self, entry: FeedEntry) -> None:
        key = (entry.kind, entry.id)
        known = self._entries.get(key)
        if known is not None and known.until > entry.until:
            entry = FeedEntry(
                kind=entry.kind, id=entry.id, until=known.until, seq=max(known.seq, entry.seq), before=entry.before
            )
        if known is None and len(self._entries) >= MAX_ENTRIES:
            raise InvalidRequest("the feed holds more than a reader keeps", code="feed_too_large")
        self._entries[key] = entry
        self._set.add(_revocation(entry))

    def _prune(self) -> None:
        """Into a new set: the old one may be in use."""
        limit = self._clock.now() - 2 * MAX_LEEWAY
        self._pruned = self._clock.monotonic()
        kept = {key: entry for key, entry in self._entries.items() if entry.until >= limit}
        if len(kept) == len(self._entries):
            return
        fresh = self._empty()
        for entry in kept.values():
            fresh.add(_revocation(entry))
        self._entries, self._set = kept, fresh

    def _empty(self) -> HashedRevocationSet:
        issuer = self._issuer
        return HashedRevocationSet(lambda name: name_digest(issuer, name))


def _contradicts(head: Checkpoint, last: Checkpoint | None) -> bool:
    """Whether no log can have both heads, one after the other."""
    return last is not None and (head.size < last.size or (head.size == last.size and head.root != last.root))


def _revocation(entry: FeedEntry) -> RevocationEntry:
    return RevocationEntry(kind=entry.kind, id=entry.id, at=0, until=entry.until, before=entry.before, seq=entry.seq)
