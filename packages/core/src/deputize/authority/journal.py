"""Writing the log: an event is sealed and numbered in the transaction of the state that it tells of."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Final

from deputize.audit.record import seal
from deputize.model.event import Event, Json, Record
from deputize.store.protocol import WriteTx

# Crockford's base32: no I, L, O or U to be misread over the telephone.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_LENGTH: Final = 8
# Where a JWS begins: its header, in base64url an object's `{"`, and more after the dot. No id of ours has a dot.
_TOKEN: Final = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{17,}\.[A-Za-z0-9_.-]{2,}")
_BEGINNING: Final = b"eyJ"


def append(tx: WriteTx, event: Event) -> Record:
    """Seal `event` under the next number and add it. Returns the record as it is stored.

    A token that somebody passed where a name belongs is not written down.
    """
    record = seal(event, tx.next_seq())
    if record.body is not None and _BEGINNING in record.body and _TOKEN.search(record.body.decode()):
        members = {field.name: _without_tokens(getattr(event, field.name)) for field in fields(event)}
        record = seal(replace(event, **members), record.seq)  # type: ignore[arg-type]  # each is what it was
    tx.add_record(record)
    return record


def _without_tokens(value: object) -> object:
    if isinstance(value, str):
        return _TOKEN.sub("[a token]", value)
    if isinstance(value, Mapping):
        return {_without_tokens(name): _without_tokens(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_without_tokens(item) for item in value)
    return value


def told_by(by: str, role: str) -> dict[str, Json]:
    """Who acts, as a record keeps it; `role` is empty for whoever owns the store."""
    return {"by": by, "role": role} if role else {"by": by}


def new_id() -> str:
    """96 random bits as 16 characters of base64url; never with a dash in front, which a shell takes for an option."""
    while True:
        value = secrets.token_urlsafe(12)
        if value[0] != "-":
            return value


def new_reference() -> str:
    """The name of a refusal, for people: `D-` and 40 random bits."""
    return "D-" + "".join(secrets.choice(_ALPHABET) for _ in range(_REFERENCE_LENGTH))
