"""Time as the rules see it: handed in, never read."""

from typing import Protocol


class Clock(Protocol):
    """Where time comes from. Injected, so that tests move it and nothing sleeps."""

    def now(self) -> float:
        """Wall-clock time, seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...
