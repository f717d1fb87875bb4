"""Interleaved measuring: every round runs every case once, and a ratio is always of one round.

A machine that is busy, hot or throttled slows the case and its baseline alike, so the ratio holds where the
absolute figure does not.
"""

import gc
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import truediv
from typing import Final, Literal, TypeVar

T = TypeVar("T")
Sample = Callable[[], float]  # one round of a case: its figure per operation, in the group's unit
Unit = Literal["us", "ms", "MB", "records/s", "requests/s"]

SCALE: Final = {"us": 1e-3, "ms": 1e-6}  # from nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row. `against` names the case of the same round that it is divided by.

    `at_most` is the target: of the ratio, or of the figure where nothing is divided. `unit` where it is another than
    the group's.
    """

    name: str
    sample: Sample
    against: str | None = None
    at_most: float | None = None
    unit: Unit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases that run in the same rounds. `clock` says in words what is measured."""

    name: str
    title: str
    clock: str
    unit: Unit
    cases: Sequence[Case]
    rounds: int
    close: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of a case: the median figure, and the median ratio [p10..p90] to its baseline."""

    name: str
    figure: float
    against: str | None
    ratio: float | None
    low: float | None
    high: float | None
    at_most: float | None
    unit: Unit | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        value = self.figure if self.ratio is None else self.ratio
        return None if self.at_most is None else value <= self.at_most


def looped(op: Callable[[], object], loops: int, *, cpu: bool, threads: bool = False, unit: Unit = "us") -> Sample:
    """A sample of `loops` calls: CPU time of this thread, or of all `threads`; wall time where a disk is waited for."""
    processor = time.process_time_ns if threads else time.thread_time_ns
    clock = processor if cpu else time.perf_counter_ns
    each = range(loops)

    def sample() -> float:
        start = clock()
        for _ in each:
            op()
        return (clock() - start) * SCALE[unit] / loops

    return sample


def shared(run: Callable[[], T]) -> Callable[[Callable[[T], float]], Sample]:
    """Samples that read different figures of one run: the first that a round asks makes it, the others read it too."""
    readers: list[deque[T]] = []

    def reading(figure: Callable[[T], float]) -> Sample:
        waiting: deque[T] = deque()
        readers.append(waiting)

        def sample() -> float:
            if not waiting:
                made = run()
                for each in readers:
                    each.append(made)
            return figure(waiting.popleft())

        return sample

    return reading


def per(sample: Sample, count: int) -> Sample:
    """The same sample, of an operation that does `count` things."""
    return lambda: sample() / count


def run(group: Group) -> list[Row]:
    """All rounds of a group; the order turns round with each, so that no case always follows the same one."""
    for case in group.cases:
        case.sample()
    figures: dict[str, list[float]] = {case.name: [] for case in group.cases}
    for number in range(group.rounds):
        gc.collect()
        gc.disable()
        try:
            for case in group.cases if number % 2 == 0 else reversed(group.cases):
                figures[case.name].append(case.sample())
        finally:
            gc.enable()
    return [_row(case, figures) for case in group.cases]


def _row(case: Case, figures: dict[str, list[float]]) -> Row:
    own = figures[case.name]
    ratios = [] if case.against is None else sorted(map(truediv, own, figures[case.against]))
    return Row(
        name=case.name,
        figure=statistics.median(own),
        against=case.against,
        ratio=statistics.median(ratios) if ratios else None,
        low=_quantile(ratios, 0.1) if ratios else None,
        high=_quantile(ratios, 0.9) if ratios else None,
        at_most=case.at_most,
        unit=case.unit,
    )


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[round(part * (len(ordered) - 1))]
