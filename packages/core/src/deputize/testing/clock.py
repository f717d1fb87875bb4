"""Time that moves by hand."""


class FakeClock:
    """A clock that stands until it is moved. Satisfies `deputize.model.clock.Clock`."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._wall = start
        self._steady = 1000.0

    def now(self) -> float:
        """Wall-clock seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Steady seconds."""
        return self._steady

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._steady += seconds

    def step(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator or NTP does; steady time goes on as it was."""
        self._wall += seconds
