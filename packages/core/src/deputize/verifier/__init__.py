"""What a resource server needs, and nothing heavier: no policy, no HTTP, no configuration.

    verifier = Verifier("https://sts.example", "https://crm.example/mcp", keys=keys, revocations=revocations)
    caller = verifier.verify(request.headers, scopes=["crm:read"])

It allows or denies exactly as introspection does for the same revocations, and decides by the token's own claims
and its outermost actor; inner actors are for the record.
"""

from typing import TYPE_CHECKING

from deputize.verifier.caller import Caller, OnwardAccess, Provider
from deputize.verifier.memory import Replays
from deputize.verifier.sources import (
    KeySource,
    MemoryKeys,
    MemoryRevocations,
    RevocationSet,
    RevocationSource,
)
from deputize.verifier.verifier import Verifier

if TYPE_CHECKING:
    from deputize.verifier.files import FileSource

__all__ = [
    "Caller",
    "FileSource",
    "KeySource",
    "MemoryKeys",
    "MemoryRevocations",
    "OnwardAccess",
    "Provider",
    "Replays",
    "RevocationSet",
    "RevocationSource",
    "Verifier",
]


def __getattr__(name: str) -> object:
    """`FileSource` brings SQLite along, which a verifier with keys from elsewhere has no use for."""
    if name != "FileSource":
        raise AttributeError(name)
    from deputize.verifier.files import FileSource  # noqa: PLC0415  # lazily, as said

    globals()[name] = FileSource
    return FileSource
