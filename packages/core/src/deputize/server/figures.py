"""Figures for Prometheus. No label names a user, an agent, a session or a key: operators read them without a role."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from deputize.server.limits import MULTIPROCESS
from deputize.server.rate import RATE_LIMITED
from deputize.server.trace import Trace

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_REFUSED: Final = 400
_FAILED: Final = 500
_DECIDING: Final = frozenset({"/token", "/calls"})
_CUTTING: Final = frozenset({"/revoke", "/session/revoke", "/session/close"})
_CODES: Final = 256


class Figures:
    """Counts of one process, or of all workers where `PROMETHEUS_MULTIPROC_DIR` names their folder.

    `digest` and `subscribers` are asked when somebody reads.
    """

    def __init__(self, digest: Callable[[], str], subscribers: Callable[[], int]) -> None:
        self._shared = MULTIPROCESS in os.environ
        own = None if self._shared else CollectorRegistry()
        self._registry = own or CollectorRegistry()
        self._subscribers = subscribers
        self._codes: set[str] = set()
        self.requests = Counter(
            "deputize_requests",
            "Requests by endpoint, outcome and code.",
            ["endpoint", "outcome", "code"],
            registry=own,
        )
        self.seconds = Histogram(
            "deputize_request_seconds", "Time to an answer.", ["endpoint"], buckets=_SECONDS, registry=own
        )
        self.decisions = Counter(
            "deputize_decisions", "Decisions about authenticated clients.", ["endpoint", "decision"], registry=own
        )
        self.revocations = Counter("deputize_revocations", "What was cut off over HTTP.", ["endpoint"], registry=own)
        self.store_errors = Counter("deputize_store_errors", "Failures of the store, by code.", ["code"], registry=own)
        self.readers = Gauge(
            "deputize_feed_subscribers", "Open streams of the feed.", multiprocess_mode="livesum", registry=own
        )
        self.ready = Gauge(
            "deputize_ready", "1 where the process may decide.", multiprocess_mode="livemin", registry=own
        )
        if self._shared:
            _OfWorkers(self._registry, Path(os.environ[MULTIPROCESS]))
        self._registry.register(_Policy(digest))

    def tell(self, trace: Trace, endpoint: str, status: int, seconds: float) -> None:
        """One answered request."""
        outcome = "failed" if status >= _FAILED else "refused" if status >= _REFUSED else "ok"
        code = trace.code or ""
        if code not in self._codes and len(self._codes) >= _CODES:
            code = "other"
        self._codes.add(code)
        self.requests.labels(endpoint, outcome, code).inc()
        self.seconds.labels(endpoint).observe(seconds)
        if endpoint in _DECIDING and trace.agent is not None and outcome != "failed" and code != RATE_LIMITED:
            self.decisions.labels(endpoint, "permitted" if outcome == "ok" else "denied").inc()
        if endpoint in _CUTTING and outcome == "ok":
            self.revocations.labels(endpoint).inc()
        if code.startswith("store_"):
            self.store_errors.labels(code).inc()

    def refresh(self, *, ready: bool) -> None:
        """What other workers read of this one."""
        self.ready.set(1 if ready else 0)
        self.readers.set(self._subscribers())

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class _OfWorkers(MultiProcessCollector):
    """What all workers wrote.

    A file has no size between its making and its first count, and keeps none where its worker died there: the library
    would fail at it.
    """

    def __init__(self, registry: CollectorRegistry, folder: Path) -> None:
        super().__init__(registry, str(folder))  # type: ignore[no-untyped-call]  # as it is published
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        files = [str(found) for found in sorted(self._folder.glob("*.db")) if _size(found)]
        merged: Iterable[Metric] = self.merge(files, accumulate=True)  # type: ignore[no-untyped-call]  # the same
        return merged


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # of a worker that ended meanwhile
        return 0


class _Policy(Collector):
    """The digest of the set that this process decides by."""

    def __init__(self, digest: Callable[[], str]) -> None:
        self._digest = digest

    def collect(self) -> Iterator[Metric]:
        """One sample, whose label is the digest."""
        found = GaugeMetricFamily("deputize_policy_info", "The policy set that decides.", labels=["digest"])
        found.add_metric([self._digest()], 1)
        yield found
