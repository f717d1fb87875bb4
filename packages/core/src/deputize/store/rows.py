"""Rows that only the store and its callers know: repeats that are remembered, and published keys."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The outcome of an operation under an idempotency key (SEMANTICS, "Idempotency").

    `key` and `digest` are what the caller digested; the row lives until `until` (seconds since the epoch).
    """

    key: str
    digest: str
    sid: str | None = None
    jti: str | None = None
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A published public key. `jwk` is public JSON; times are seconds since the epoch."""

    kid: str
    use: Literal["sig", "log"]
    jwk: bytes
    sign_from: int
    sign_until: int
    serve_until: int
    instance: str
    endorsement: bytes | None = None
    proof: bytes | None = None
