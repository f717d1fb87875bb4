"""Clients that are known by a metadata document: their keys prove a workload, and a change of keys is an event."""

import hashlib
from collections.abc import Callable
from typing import Final

from deputize.authority.discovery import fetcher_for
from deputize.authority.evidence_keys import KeySource
from deputize.authority.journal import append
from deputize.authority.parts import Parts
from deputize.authority.refusal import MILLIS
from deputize.fetch.target import at_loopback
from deputize.issuers.client_documents import client_keys
from deputize.model.event import Event, Json
from deputize.model.rules import AttestationRule
from deputize.store.protocol import WriteTx
from deputize.wire.client_metadata import MAX_DOCUMENT

_ROW: Final = "client.keys."  # meta row: what a client's keys were last, by the digest of its URL


def documents(parts: Parts) -> Callable[[AttestationRule], KeySource]:
    """Makes the source of keys for a rule of method `client_metadata`, whose issuer is the client's URL."""

    def source(rule: AttestationRule) -> KeySource:
        url = rule.issuer
        return client_keys(
            url,
            fetcher=fetcher_for(parts.issuer, parts.clock, max_bytes=MAX_DOCUMENT),
            clock=parts.clock,
            changed=lambda digest: note_keys(parts, url, digest),
            loopback=at_loopback(parts.issuer),
        )

    return source


def note_keys(parts: Parts, url: str, digest: str) -> None:
    """Record that a client's keys are others than they were (CIMD, "Security Considerations")."""
    name = _ROW + hashlib.sha256(url.encode()).hexdigest()
    if parts.store.read(lambda tx: tx.meta(name)) == digest:
        return

    def operation(tx: WriteTx) -> None:
        before = tx.meta(name)
        if before == digest:
            return
        tx.set_meta(name, digest)
        detail: dict[str, Json] = {"client": url[:512], "keys": digest}
        if before is not None:
            detail["before"] = before
        kind = "client.keys_seen" if before is None else "client.keys_changed"
        append(tx, Event(type=kind, outcome="noted", time=int(parts.stamp(tx) * MILLIS), detail=detail))

    parts.store.write(operation)
