"""Repeats: a key names an operation, grants nothing, and gives the same session or grant again.

Presenter, liveness and policy are decided afresh before this is asked (SEMANTICS, "Idempotency").
"""

import hashlib
import hmac
from collections.abc import Iterable

from deputize.model.failure import InvalidRequest
from deputize.model.resource import Right
from deputize.store.protocol import ReadTx, WriteTx
from deputize.store.rows import Remembered

MAX_KEY = 512  # characters


def key_digest(operation: str, agent: str, parent: str, key: str | None) -> str | None:
    """SHA-256(operation, authenticated agent, parent sid or subject, the caller's key); None without a key."""
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY:
        raise InvalidRequest(f"a key is 1-{MAX_KEY} characters")
    hasher = hashlib.sha256(b"deputize idempotency v1")
    for part in (operation, agent, parent, key):
        encoded = part.encode("utf-8", "surrogatepass")
        hasher.update(len(encoded).to_bytes(4, "big") + encoded)
    return hasher.hexdigest()


def request_digest(secret: bytes, *fields: str | None) -> str:
    """What was asked, under the tree's own key, so that a task text cannot be guessed from it."""
    mac = hmac.new(secret, b"deputize request v1", hashlib.sha256)
    for field in fields:
        encoded = b"\x00" if field is None else b"\x01" + field.encode("utf-8", "surrogatepass")
        mac.update(len(encoded).to_bytes(4, "big") + encoded)
    return mac.hexdigest()


def keyed_digest(secret: bytes | None, label: str, data: bytes | None) -> str | None:
    """A digest of a task or of arguments that nobody can guess without the tree's key."""
    if secret is None or data is None:
        return None
    return hmac.new(secret, label.encode() + b"\x00" + data, hashlib.sha256).hexdigest()[:32]


def rights_text(rights: Iterable[Right] | None) -> str | None:
    """A set of rights as one canonical string."""
    return None if rights is None else "\n".join(right.entity for right in sorted(rights))


def recall(tx: WriteTx, key: str | None, digest_of: "DigestOf") -> Remembered | None:
    """The row of an earlier request with this key, if it asked the same. Raises `idempotency_mismatch`."""
    row = tx.remembered(key) if key is not None else None
    if row is None:
        return None
    if not hmac.compare_digest(row.digest, digest_of(tx, row)):
        raise InvalidRequest("this key was used for another request", code="idempotency_mismatch")
    return row


def used_before(tx: ReadTx, key: str | None) -> bool:
    """Whether an earlier request had this key. Decides nothing: the transaction reads the row again."""
    return key is not None and tx.remembered(key) is not None


class DigestOf:
    """Computes a request's digest under the key of the tree that a remembered row lies in."""

    def __init__(self, *fields: str | None) -> None:
        self._fields = fields

    def __call__(self, tx: WriteTx, row: Remembered) -> str:
        """The digest that this request has in the row's tree."""
        sid = row.sid
        node = tx.session(sid) if sid is not None else None
        secret = tx.tree_secret(node.txn) if node is not None else None
        return self.under(secret or b"")

    def under(self, secret: bytes) -> str:
        """The digest under a tree's key."""
        return request_digest(secret, *self._fields)
