"""The client of every server: requests that were made before, each answered before its connection sends the next.

One thread and a selector. It reads no more of an answer than its status and its length, so that it stays far cheaper
than any server; what it costs is measured with the rest.
"""

import re
import selectors
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from deputize.wire.token_exchange import FORM

HOST: Final = "127.0.0.1"
_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_OK: Final = b"HTTP/1.1 200 "
_AT_ONCE: Final = 65_536  # bytes
_TIMEOUT: Final = 30.0  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one load came to. `times`: seconds to each answer; `took`: seconds in all; CPU seconds of both sides."""

    times: Sequence[float]
    took: float
    client: float
    server: float = 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.times) / self.took

    @property
    def half(self) -> float:
        """Milliseconds that half of the answers took at most."""
        return statistics.median(self.times) * 1e3

    @property
    def most(self) -> float:
        """Milliseconds that 99 of 100 answers took at most."""
        return statistics.quantiles(self.times, n=100, method="inclusive")[98] * 1e3

    def each(self, seconds: float) -> float:
        """Microseconds for each request of so many seconds of all."""
        return seconds * 1e6 / len(self.times)


@dataclass(slots=True)
class _Asking:
    """One connection and what it waits for."""

    socket: socket.socket
    began: float = 0.0
    read: bytes = b""


def form(port: int, path: str, items: Sequence[tuple[str, str]]) -> bytes:
    """A form as it goes over the wire."""
    body = urlencode(items).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}"
    return head.encode() + _END + body


def ask(port: int, requests: Sequence[bytes], connections: int) -> Load:
    """Send all of `requests` over so many connections. Anything but 200 fails: nothing else may be measured."""
    times: list[float] = []
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        left = iter(requests)
        asking = [_Asking(stack.enter_context(socket.create_connection((HOST, port)))) for _ in range(connections)]
        for each in asking:
            each.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(each.socket, selectors.EVENT_READ, each)
        spent, began = time.thread_time(), time.perf_counter()
        for each in asking:
            _send(each, left)
        while len(times) < len(requests):
            ready = selector.select(_TIMEOUT)
            assert ready, "the server does not answer"
            for key, _ in ready:
                if _answered(key.data):
                    times.append(time.perf_counter() - key.data.began)
                    _send(key.data, left)
        took, client = time.perf_counter() - began, time.thread_time() - spent
    return Load(times=times, took=took, client=client)


def _send(asking: _Asking, left: Iterator[bytes]) -> None:
    request = next(left, None)
    if request is not None:
        asking.began = time.perf_counter()
        asking.socket.sendall(request)


def _answered(asking: _Asking) -> bool:
    """Whether what came completes an answer."""
    part = asking.socket.recv(_AT_ONCE)
    assert part, f"the server closed a connection: {asking.read!r}"
    asking.read += part
    head = asking.read.find(_END)
    if head < 0:
        return False
    length = _LENGTH.search(asking.read, 0, head + 2)
    assert length is not None, f"an answer without a length: {asking.read!r}"
    if len(asking.read) < head + len(_END) + int(length[1]):
        return False
    assert asking.read.startswith(_OK), asking.read
    asking.read = b""
    return True
