"""One GET over one connection to one address, every wait of it bounded by one deadline (RFC 9110, RFC 9112).

`http.client` reads neither proxies nor netrc from the environment, follows nothing and decodes nothing, and takes a
connection that is already made: so the address that was checked is the address that is talked to.
"""

import io
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final

from deputize.fetch.failure import failed, refused
from deputize.fetch.target import HTTPS, Address, Target

_CHUNK: Final = 16 * 1024
_AGENT: Final = "deputize"

Remaining = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are in lower case; of one that stood twice the last is kept."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def get(
    target: Target,
    address: Address,
    *,
    accept: str,
    tls: Callable[[], ssl.SSLContext],
    max_bytes: int,
    remaining: Remaining,
) -> Reply:
    """The reply of `target` at `address`. Raises InvalidRequest (`fetch_refused`), AuthorityUnavailable."""
    try:
        connection = _connect(target, address, tls, remaining)
    except OSError:
        raise failed("no connection to the host") from None
    with connection:
        http = HTTPConnection(target.host, target.port)
        http.sock = _Timed(connection, remaining)  # it uses no more of a socket than this
        try:
            _ask(http, target, accept)
            return _answer(http, max_bytes)
        except (OSError, HTTPException, ValueError):
            raise failed("the host did not answer in time, or not in HTTP") from None


def _connect(
    target: Target, address: Address, tls: Callable[[], ssl.SSLContext], remaining: Remaining
) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004  # the version of IP
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.settimeout(remaining())
        plain.connect((str(address), target.port))
        if target.scheme != HTTPS:
            return plain
        context = tls()
        plain.settimeout(remaining())
        return context.wrap_socket(plain, server_hostname=target.host)
    except BaseException:
        plain.close()
        raise


def _ask(http: HTTPConnection, target: Target, accept: str) -> None:
    http.putrequest("GET", target.resource, skip_host=True, skip_accept_encoding=True)
    http.putheader("Host", target.authority)
    http.putheader("Accept", accept)
    http.putheader("Accept-Encoding", "identity")
    http.putheader("User-Agent", _AGENT)
    http.putheader("Connection", "close")
    http.endheaders()


def _answer(http: HTTPConnection, max_bytes: int) -> Reply:
    response = http.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = bytearray()
    if response.status == 200:  # noqa: PLR2004  # the body of anything else is nobody's business
        while chunk := response.read(_CHUNK):
            body += chunk
            if len(body) > max_bytes:
                raise refused(f"the answer is longer than {max_bytes} bytes")
        if response.length:
            raise failed("the answer was cut off")
    return Reply(response.status, headers, bytes(body))


class _Timed:
    """As much of a socket as `http.client` uses, no wait of which outlasts the deadline."""

    def __init__(self, connection: socket.socket, remaining: Remaining) -> None:
        self._connection = connection
        self._remaining = remaining

    def sendall(self, data: bytes) -> None:
        self._connection.settimeout(self._remaining())
        self._connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        del mode  # always "rb"
        return io.BufferedReader(_TimedReader(self._connection, self._remaining))

    def close(self) -> None:
        """The connection is closed by whoever made it."""


class _TimedReader(io.RawIOBase):
    """Reads whatever is there; a host that sends a byte a second uses up one deadline, not one for each byte."""

    def __init__(self, connection: socket.socket, remaining: Remaining) -> None:
        super().__init__()
        self._connection = connection
        self._remaining = remaining

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the stub says a private name
        self._connection.settimeout(self._remaining())
        return self._connection.recv_into(buffer)
