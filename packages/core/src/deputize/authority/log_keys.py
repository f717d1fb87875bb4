"""Log keys in the store: the public half of a key that signed a checkpoint stands in the key table and in the log."""

from dataclasses import dataclass

import orjson

from deputize.audit.checkpoint import NoteKey, VerifierKey, new_key, parse_key, verifier_key
from deputize.audit.log import key_published
from deputize.audit.record import open_body
from deputize.authority.journal import append
from deputize.keys.anchor import Anchor
from deputize.model.clock import Clock
from deputize.model.failure import DeputizeError
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.store.rows import KeyRow
from deputize.wire.thumbprint import public_jwk, thumbprint

MILLIS = 1000
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class LogKey:
    """The key of a log, and of which anchor it is."""

    key: NoteKey
    anchor: str

    @property
    def unanchored(self) -> bool:
        """True where it lives in this process alone."""
        return self.anchor == "none"


def log_key(anchor: Anchor, origin: str) -> LogKey:
    """The anchor's key for this log, the same in every process; without an anchor a fresh one."""
    private = anchor.log_key(origin)
    if private is None:
        return LogKey(new_key(origin), "none")
    return LogKey(NoteKey(origin, private), anchor.name)


def publish_log_key(store: Store, log: LogKey, clock: Clock) -> None:
    """Write the public half down before it signs anything, once, on disk when this returns."""
    key = log.key
    jwk = public_jwk(key.private.public_key())
    kid = thumbprint(jwk)
    now = clock.now()

    def published(tx: ReadTx) -> bool:
        rows = tx.keys()
        return any(row.kid == kid and row.use == "log" for row in rows)

    def operation(tx: WriteTx) -> None:
        if published(tx):
            return
        millis = max(int(now * MILLIS), tx.newest_time())
        event = key_published(verifier_key(key), time=millis, anchor=log.anchor)
        append(tx, event)
        second = millis // MILLIS
        tx.put_key(
            KeyRow(
                kid=kid,
                use="log",
                jwk=orjson.dumps(jwk),
                sign_from=second,
                sign_until=second,
                serve_until=second,
                instance="audit checkpoint",
            )
        )

    if not store.read(published):
        store.write(operation, sync=True)


def published_log_keys(store: Store) -> list[tuple[VerifierKey, str]]:
    """The log keys that the log tells of, oldest first, each with the anchor that it is said to come from."""

    def operation(tx: ReadTx) -> list[tuple[VerifierKey, str]]:
        found: list[tuple[VerifierKey, str]] = []
        for record in tx.find(type="key.published", limit=_ALL):
            try:
                detail = open_body(record).get("detail")
                told = detail if isinstance(detail, dict) else {}
                vkey = told.get("vkey")
                found += [(parse_key(vkey), str(told.get("anchor")))] if isinstance(vkey, str) else []
            except DeputizeError:
                continue  # `verify` tells what was done to it
        return found

    return store.read(operation)
