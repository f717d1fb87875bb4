"""Log keys in the store: the public half of a key that signed a checkpoint stands in the key table and in the log."""

import orjson

from deputize.audit.checkpoint import NoteKey, VerifierKey, parse_key, verifier_key
from deputize.audit.log import key_published
from deputize.audit.record import open_body
from deputize.authority.journal import append
from deputize.model.clock import Clock
from deputize.model.failure import DeputizeError
from deputize.store.protocol import ReadTx, Store, WriteTx
from deputize.store.rows import KeyRow
from deputize.wire.thumbprint import public_jwk, thumbprint

MILLIS = 1000
_ALL = 1_000_000


def publish_log_key(store: Store, key: NoteKey, clock: Clock) -> None:
    """Write the public half down before it signs anything, on disk when this returns."""
    jwk = public_jwk(key.private.public_key())
    now = clock.now()

    def operation(tx: WriteTx) -> None:
        millis = max(int(now * MILLIS), tx.newest_time())
        event = key_published(verifier_key(key), time=millis, anchor="none")
        append(tx, event)
        second = millis // MILLIS
        tx.put_key(
            KeyRow(
                kid=thumbprint(jwk),
                use="log",
                jwk=orjson.dumps(jwk),
                sign_from=second,
                sign_until=second,
                serve_until=second,
                instance="audit checkpoint",
            )
        )

    store.write(operation, sync=True)


def published_log_keys(store: Store) -> list[VerifierKey]:
    """The log keys that the log tells of, oldest first."""

    def operation(tx: ReadTx) -> list[VerifierKey]:
        found: list[VerifierKey] = []
        for record in tx.find(type="key.published", limit=_ALL):
            try:
                detail = open_body(record).get("detail")
                vkey = detail.get("vkey") if isinstance(detail, dict) else None
                found += [parse_key(vkey)] if isinstance(vkey, str) else []
            except DeputizeError:
                continue  # `verify` tells what was done to it
        return found

    return store.read(operation)
