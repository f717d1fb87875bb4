"""Rows from their numbers alone: no clock, no randomness, alike on every machine and Python."""

import hashlib
from collections.abc import Sequence
from typing import Final

_FIRST: Final = ("Abel", "Bruna", "Cosmin", "Delia", "Edda", "Faro", "Gita", "Hiro", "Ines", "Jorin", "Kaja", "Levi")
_START: Final = ("Ar", "Bel", "Cor", "Dun", "El", "Fen", "Gor", "Hal", "Il", "Mor", "Nor", "Ost", "Quin", "Tal", "Wen")
_END: Final = ("aby", "dale", "enko", "feld", "ista", "man", "moor", "ova", "quist", "rand", "sen", "ton", "wick")


def dice(kind: str, number: int) -> bytes:
    """32 dice of 256 sides, the same ones for the same row every time."""
    return hashlib.sha256(f"{kind} {number}".encode()).digest()


def pick(choices: Sequence[str], die: int) -> str:
    """One of them."""
    return choices[die % len(choices)]


def name(rolled: bytes) -> str:
    """Somebody who does not exist, by the last three dice."""
    return f"{pick(_FIRST, rolled[-1])} {pick(_START, rolled[-2])}{pick(_END, rolled[-3])}"
