"""What should come out, and what did."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    expected: str
    observed: str

    @property
    def ok(self) -> bool:
        """Exactly as it should be."""
        return self.expected == self.observed

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return {"name": self.name, "expected": self.expected, "observed": self.observed, "ok": self.ok}


@dataclass(slots=True)
class Checks:
    """All of them, in order."""

    done: list[Check] = field(default_factory=list)

    def add(self, name: str, *, expected: object, observed: object) -> None:
        """Look at one thing."""
        self.done.append(Check(name, str(expected), str(observed)))

    @property
    def ok(self) -> bool:
        """True if everything came out as it should, and something was looked at."""
        return bool(self.done) and all(check.ok for check in self.done)
