"""The machine's own clock: the one place where time is read."""

import time


class SystemClock:
    """`deputize.model.clock.Clock` over the operating system."""

    def now(self) -> float:
        """Wall-clock time, seconds since the epoch."""
        return time.time()  # noqa: TID251  # the one reader that the ban sends everybody to

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
