"""Proofs as outsiders get and check them: JSON, RFC 6962 §2.1. Format: `docs/formats/proofs.md`.

All that is needed is a checkpoint that was kept: whoever served the proof need not be trusted.
"""

import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import orjson

from deputize.audit import tree
from deputize.audit.checkpoint import Checkpoint
from deputize.audit.record import check, made_leaf
from deputize.model.event import Json, Record
from deputize.model.failure import IntegrityError

MAX_PROOF: Final = 64  # hashes; a log of 2^63 records needs no more
MAX_JSON: Final = 2 * 1024 * 1024  # bytes; a body of 256 KiB, escaped
_MAX_NUMBER: Final = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """That the leaf hash `leaf` is number `seq` of the first `size` records, whose root is `root`."""

    seq: int
    size: int
    root: bytes
    leaf: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """That the log of `first` records is the beginning of the log of `second`."""

    first: int
    second: int
    first_root: bytes
    second_root: bytes
    proof: tuple[bytes, ...]


def inclusion_members(found: Inclusion) -> dict[str, Json]:
    """As JSON; hashes in hexadecimal."""
    return {
        "seq": found.seq,
        "size": found.size,
        "root": found.root.hex(),
        "leaf": found.leaf.hex(),
        "proof": [item.hex() for item in found.proof],
    }


def consistency_members(found: Consistency) -> dict[str, Json]:
    """As JSON; hashes in hexadecimal."""
    return {
        "first": found.first,
        "second": found.second,
        "first_root": found.first_root.hex(),
        "second_root": found.second_root.hex(),
        "proof": [item.hex() for item in found.proof],
    }


def record_members(record: Record, *, body: bool) -> dict[str, Json]:
    """A record as JSON. Without `body` it tells seq, time, type and digest: enough for its leaf, nothing else."""
    members: dict[str, Json] = {"seq": record.seq, "time": record.time, "type": record.type, "leaf": record.leaf.hex()}
    digest = record.digest
    if record.salt is not None and record.body is not None:
        digest = sha256(record.salt + record.body).digest()
        if body:
            members["salt"] = record.salt.hex()
            members["body"] = record.body.decode()
    if digest is not None:
        members["digest"] = digest.hex()
    return members


def parse_inclusion(raw: bytes) -> Inclusion:
    """Raises IntegrityError (`proof_malformed`)."""
    members = _object(raw)
    return Inclusion(
        seq=_number(members, "seq"),
        size=_number(members, "size"),
        root=_hash(members.get("root")),
        leaf=_hash(members.get("leaf")),
        proof=_hashes(members),
    )


def parse_consistency(raw: bytes) -> Consistency:
    """Raises IntegrityError (`proof_malformed`)."""
    members = _object(raw)
    return Consistency(
        first=_number(members, "first"),
        second=_number(members, "second"),
        first_root=_hash(members.get("first_root")),
        second_root=_hash(members.get("second_root")),
        proof=_hashes(members),
    )


def parse_record(raw: bytes) -> Record:
    """A record whose content makes its leaf; one without any was erased, and only its place is proved.

    Raises IntegrityError: `proof_malformed`, `record_changed`.
    """
    record = read_record(_object(raw))
    check(record)
    return record


def read_record(members: Mapping[str, object]) -> Record:
    """A record as told; `record.holds` says whether its leaf does. Raises IntegrityError (`proof_malformed`)."""
    kind, salt, body, digest = (members.get(name) for name in ("type", "salt", "body", "digest"))
    if not isinstance(kind, str) or (body is None) != (salt is None):
        raise _malformed("a record has a type, and body and salt together or neither")
    if body is not None and not isinstance(body, str):
        raise _malformed("a body is text")
    return Record(
        seq=_number(members, "seq"),
        time=_number(members, "time"),
        type=kind,
        leaf=_hash(members.get("leaf")),
        salt=None if salt is None else _bytes(salt),
        body=None if body is None else body.encode("utf-8", "surrogatepass"),
        digest=None if body is not None or digest is None else _hash(digest),
    )


def verify_inclusion(found: Inclusion, checkpoint: Checkpoint, *, record: Record | None = None) -> None:
    """That the leaf, and `record` where it is given, is in the log that `checkpoint` is the head of.

    Verify the checkpoint's signature first (`checkpoint.verify`). Raises IntegrityError: `proof_foreign` for
    another head, `record_changed` for another record, `proof_wrong`.
    """
    if (found.size, found.root) != (checkpoint.size, checkpoint.root):
        raise IntegrityError("the proof is for another head of the log", code="proof_foreign")
    if record is not None and (record.seq, made_leaf(record) or record.leaf) != (found.seq, found.leaf):
        raise IntegrityError(f"record {record.seq} is not the one that was proved", code="record_changed")
    if not tree.verify_inclusion(found.seq, found.size, found.leaf, found.proof, found.root):
        raise IntegrityError(f"record {found.seq} is not in the log of that head", code="proof_wrong")


def verify_consistency(found: Consistency, older: Checkpoint, newer: Checkpoint) -> None:
    """That `newer` continues `older`. Raises IntegrityError: `proof_foreign`, `log_inconsistent`."""
    heads = (found.first, found.first_root, found.second, found.second_root)
    if heads != (older.size, older.root, newer.size, newer.root) or older.origin != newer.origin:
        raise IntegrityError("the proof is between other heads of the log", code="proof_foreign")
    if not tree.verify_consistency(found.first, found.second, found.first_root, found.second_root, found.proof):
        raise IntegrityError("the log does not continue what was signed before", code="log_inconsistent")


def _object(raw: bytes) -> Mapping[str, object]:
    if len(raw) > MAX_JSON:
        raise _malformed("it is too large")
    try:
        members = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise _malformed("it is no JSON") from None
    if not isinstance(members, dict):
        raise _malformed("it is no object")
    return members


def _number(members: Mapping[str, object], name: str) -> int:
    value = members.get(name)
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise _malformed(f"{name} is a whole number")
    return value


def _hashes(members: Mapping[str, object]) -> tuple[bytes, ...]:
    value = members.get("proof")
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_PROOF:
        raise _malformed("a proof is a list of at most 64 hashes")
    return tuple(map(_hash, value))


def _hash(value: object) -> bytes:
    raw = _bytes(value)
    if len(raw) != tree.HASH:
        raise _malformed("a hash has 32 bytes")
    return raw


def _bytes(value: object) -> bytes:
    try:
        raw = binascii.unhexlify(value) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or raw.hex() != value:
        raise _malformed("bytes are lower-case hexadecimal")
    return raw


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError(f"not a proof: {reason}", code="proof_malformed")
