"""Names to addresses, once for each fetch and within its deadline."""

import queue
import socket
import threading
from collections.abc import Callable
from typing import Final

from deputize.fetch.failure import failed

Resolve = Callable[[str, float], list[str]]

_MAX_ADDRESSES: Final = 16


def system_resolve(host: str, timeout: float) -> list[str]:
    """Every address of `host` that the system knows, within `timeout` seconds. Raises AuthorityUnavailable.

    The system's resolver cannot be interrupted: it is asked on a thread of its own, which nobody waits for longer.
    """
    answer: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            answer.put(None)
        else:
            answer.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))

    threading.Thread(target=ask, name="deputize-resolver", daemon=True).start()
    try:
        addresses = answer.get(timeout=timeout)
    except queue.Empty:
        addresses = None
    if not addresses:
        raise failed("the name of the host does not resolve")
    return addresses[:_MAX_ADDRESSES]
