"""Writing the log: an event is sealed and numbered in the transaction of the state that it tells of."""

import secrets
from typing import Final

from deputize.audit.record import seal
from deputize.model.event import Event, Record
from deputize.store.protocol import WriteTx

# Crockford's base32: no I, L, O or U to be misread over the telephone.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_LENGTH: Final = 8


def append(tx: WriteTx, event: Event) -> Record:
    """Seal `event` under the next number and add it. Returns the record as it is stored."""
    record = seal(event, tx.next_seq())
    tx.add_record(record)
    return record


def new_id() -> str:
    """96 random bits as 16 characters of base64url; never with a dash in front, which a shell takes for an option."""
    while True:
        value = secrets.token_urlsafe(12)
        if value[0] != "-":
            return value


def new_reference() -> str:
    """The name of a refusal, for people: `D-` and 40 random bits."""
    return "D-" + "".join(secrets.choice(_ALPHABET) for _ in range(_REFERENCE_LENGTH))
