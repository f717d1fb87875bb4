"""Records: an event sealed into a leaf of the log, and back. Format: `docs/formats/records.md`.

The leaf is canonical JSON {body, seq, time, type}, where `body` is SHA-256(salt ‖ canonical body); its hash is
that of RFC 6962 §2.1. The body lies beside it, so that it can be erased while every proof still holds.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Final

import orjson

from deputize.audit.canonical import canonical, clean_text
from deputize.model.event import Event, Json, Record
from deputize.model.failure import IntegrityError

BODY_VERSION: Final = 1
SALT_BYTES: Final = 16
MAX_TYPE: Final = 128  # characters
LEAF_PREFIX: Final = b"\x00"  # RFC 6962 §2.1: leaves and nodes never collide


def seal(event: Event, seq: int, *, salt: bytes | None = None) -> Record:
    """Make the record of `event` at place `seq` (from 0). `salt`: 16 fresh random bytes unless given.

    Never refuses an event for what its text says: see `canonical`. The record's `event` holds what was recorded.
    """
    kind, body, recorded = _body(event)
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    digest = sha256(salt + body).hexdigest()
    leaf = sha256(LEAF_PREFIX + _leaf(seq, event.time, kind, digest)).digest()
    return Record(seq=seq, time=event.time, type=kind, leaf=leaf, salt=salt, body=body, event=recorded)


def leaf_bytes(record: Record) -> bytes | None:
    """The bytes that the log commits to. None where body and digest are both gone, so that they can't be made."""
    if record.body is not None and record.salt is not None:
        digest = sha256(record.salt + record.body).hexdigest()
    elif record.digest is not None and record.body is None:
        digest = record.digest.hex()
    else:
        return None
    return _leaf(record.seq, record.time, record.type, digest)


def leaf_hash(leaf: bytes) -> bytes:
    """RFC 6962 §2.1: the hash of a leaf."""
    return sha256(LEAF_PREFIX + leaf).digest()


def is_erased(record: Record) -> bool:
    """True where body and salt are gone, as an erasure leaves them."""
    return record.body is None and record.salt is None


def made_leaf(record: Record) -> bytes | None:
    """The leaf hash as the record's content gives it. None where it can't be made; never raises."""
    try:
        leaf = leaf_bytes(record)
    except (TypeError, AttributeError):  # columns of a kind that no record has
        return None
    return None if leaf is None else leaf_hash(leaf)


def holds(record: Record) -> bool:
    """True if the record is what its own leaf says, as far as an erasure leaves it to be said."""
    made = made_leaf(record)
    return made == record.leaf if made is not None else is_erased(record) and record.digest is None


def check(record: Record) -> None:
    """Raise IntegrityError (`record_changed`) unless the record `holds`."""
    if not holds(record):
        raise IntegrityError(f"record {record.seq} is not what its leaf says", code="record_changed")


def rec_claim(record: Record) -> str:
    """The claim `rec` of a token: base64url of the hash of its record's leaf, 43 characters."""
    return base64.urlsafe_b64encode(record.leaf).rstrip(b"=").decode("ascii")


def open_body(record: Record) -> dict[str, Json]:
    """The members of the body; empty once erased. `seq`, `time` and `type` are the record's own.

    Does not `check`. Raises IntegrityError (`record_changed`) where the body is no JSON object.
    """
    if record.body is None:
        return {}
    try:
        body = orjson.loads(record.body)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise IntegrityError(f"record {record.seq} has a body that cannot be read", code="record_changed")
    return body


def as_data(record: Record) -> Mapping[str, Json]:
    """A record as plain data: seq, time (milliseconds), type and the body's members."""
    return {"seq": record.seq, "time": record.time, "type": record.type, **open_body(record)}


def _leaf(seq: int, time: int, kind: str, digest: str) -> bytes:
    return orjson.dumps({"body": digest, "seq": seq, "time": time, "type": kind})  # written in canonical order


def _body(event: Event) -> tuple[str, bytes, Event]:
    """Type and canonical body, and the event as it was recorded."""
    members = _members(event)
    body, recorded = canonical(members)
    kind = event.type
    if len(kind) > MAX_TYPE or not kind.isascii():
        kind = clean_text(kind, MAX_TYPE)
    if recorded is members and kind is event.type:
        return kind, body, event
    return kind, body, _event(event, kind, recorded)


def _members(event: Event) -> dict[str, object]:
    members: dict[str, object] = {
        "agent": event.agent,
        "call_id": event.call_id,
        "chain": event.chain,
        "code": event.code,
        "detail": event.detail,
        "jti": event.jti,
        "outcome": event.outcome,
        "policies": event.policies,
        "policy_set": event.policy_set,
        "reference": event.reference,
        "resource": event.resource,
        "scopes": event.scopes,
        "sid": event.sid,
        "sub": event.sub,
        "tool": event.tool,
        "txn": event.txn,
        "v": BODY_VERSION,
        "workload": event.workload,
    }
    return {name: value for name, value in members.items() if value}


def _event(event: Event, kind: str, recorded: Mapping[str, object]) -> Event:
    """`event` with the text as it was recorded, so that a store's search columns hold the same."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in recorded.items()}
    del fields["v"]
    return replace(event, type=kind, **fields)  # type: ignore[arg-type]  # the body's members are fields by name
