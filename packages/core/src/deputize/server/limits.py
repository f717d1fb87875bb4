"""What a request may cost, and whom a server believes about addresses."""

from dataclasses import dataclass
from typing import Final

from deputize.config import Configuration

THREADS: Final = 64  # requests that are decided at a time; others wait
WAITING: Final = 1024  # requests that are in hand at a time; others are told to come back
CONNECTIONS: Final = 8192  # of one process: twice as many as read its feed
MAX_BODY: Final = 64 * 1024  # bytes
MAX_HEADERS: Final = 32 * 1024  # bytes
BODY_TIMEOUT: Final = 10.0  # seconds
TOO_LARGE: Final = "deputize.too_large"  # of a request's state: its head was, as the protocol saw
MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
BURST: Final = 10.0  # seconds of the rate that may come at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`max_body` in bytes, `body_timeout` in seconds; `threads` decide at a time, `waiting` are in hand.

    A request that waits for its own client, to send or to read, is not in hand.
    `rate` is requests per second of one client, or of one address until it says who it is; 0 is no limit.
    `trusted_proxies` and `metrics_from` are addresses or networks.
    """

    max_body: int = MAX_BODY
    threads: int = THREADS
    waiting: int = WAITING
    rate: float = 0.0
    body_timeout: float = BODY_TIMEOUT
    trusted_proxies: tuple[str, ...] = ()
    metrics_from: tuple[str, ...] = ()


def limits_of(configuration: Configuration, *, workers: int = 1) -> Limits:
    """The limits of one process. Processes do not count together, so each has its share of the rate."""
    server = configuration.server
    return Limits(
        max_body=server.max_body,
        rate=server.rate / workers,
        trusted_proxies=server.trusted_proxies,
        metrics_from=server.metrics_from,
    )
