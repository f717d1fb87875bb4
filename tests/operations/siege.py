"""Clients that are slow or lavish, as a process: `python -m tests.operations.siege PORT JOIN_TOKEN EACH`.

`on` on its input: it begins, and says `on` once every kind has its connections. `off`: it ends them, and says how often
the server ended one of each kind.
"""

import asyncio
import contextlib
import http.client
import json
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

from deputize.system import SystemClock
from deputize.wire import client_assertion, dpop, jws
from deputize.wire.alg import LocalKey, generate

FORM: Final = "application/x-www-form-urlencoded"
BEAT: Final = 0.5  # seconds between two bytes of the slow
AGAIN: Final = 2.0  # seconds until one that was cut off comes again
HEAD: Final = b"POST /introspect HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Kind = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Siege:
    """What one process of them knows."""

    def __init__(self, port: int, token: str, each: int) -> None:
        self.port = port
        self.each = each
        self.base = f"http://127.0.0.1:{port}"
        self.key: LocalKey = generate()
        self.identity = self._joined(token)
        self.up: Counter[str] = Counter()
        self.all_up = asyncio.Event()
        self.cut: Counter[str] = Counter()

    def _joined(self, token: str) -> str:
        fields = {"grant_type": "urn:deputize:params:oauth:grant-type:join", "join_token": token}
        proof = dpop.proof(self.key, htm="POST", htu=self.base + "/token", now=SystemClock().now())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", "/token", urlencode(fields), {"Content-Type": FORM, "DPoP": proof})
        told = json.loads(connection.getresponse().read())
        connection.close()
        return str(told["access_token"])

    def subscription(self) -> bytes:
        """A request for the feed of revocations by a client that says truly who it is."""
        name = str(jws.unverified_claims(self.identity)["sub"])
        at = SystemClock().now()
        assertion = client_assertion.encode(self.key, client_id=name, issuer=self.base, now=at)
        shown = client_assertion.Credentials(assertion=assertion, identity=self.identity, client_id=name)
        body = urlencode([*client_assertion.build_fields(shown), ("wait", "1")]).encode()
        head = f"POST /revocations HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def kinds(self) -> dict[str, Kind]:
        """Everybody, by what is wrong with them."""

        async def unread_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self.subscription())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            await asyncio.Event().wait()

        async def slow_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self.subscription())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            never = asyncio.get_running_loop().create_future()
            while await reader.read(1):
                await asyncio.wait([never], timeout=BEAT)

        return {
            "slow head": _trickling(HEAD + b"X: "),
            "slow body": _trickling(HEAD + b"Content-Length: 1000\r\n\r\n"),
            "slow trailer": _trickling(CHUNKED + b"1\r\na\r\n0\r\nX: "),
            "endless chunks": _trickling(CHUNKED, b"1;a=b\r\na\r\n"),
            "silent": _trickling(b"", b""),
            "kept alive": _trickling(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b""),
            "unread": _unread,
            "large body": _trickling(HEAD + b"Content-Length: 10000000\r\n\r\n" + b"a" * 100_000, b"a" * 1000),
            "large head": _trickling(HEAD + b"X: " + b"a" * 100_000),
            "slow stream": slow_stream,
            "unread stream": unread_stream,
        }

    async def one(self, name: str, kind: Kind, of: str) -> None:
        """One client of a kind, again and again."""
        while True:
            with contextlib.suppress(OSError):
                async with self.connected(of) as (reader, writer):
                    self.up[name] += 1
                    if all(self.up[kind] >= self.each for kind in self.kinds()):
                        self.all_up.set()
                    await kind(reader, writer)
            self.cut[name] += 1
            await asyncio.sleep(AGAIN)

    @contextlib.asynccontextmanager
    async def connected(self, of: str) -> AsyncIterator[Line]:
        """A connection from an address of the loopback, that takes little at a time."""
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        try:
            raw.bind((of, 0))
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        except BaseException:
            raw.close()
            raise
        reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _trickling(beginning: bytes, piece: bytes = b"a") -> Kind:
    """Sends this, then little by little more, until the server ends it."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(beginning)
        ended = asyncio.create_task(_ended(reader))
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=BEAT)
                writer.write(piece)
        finally:
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)

    return run


async def _unread(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks for more than the kernel keeps, takes nothing, and goes on to say something until that fails."""
    del reader
    for _ in range(4):
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 14)
        await asyncio.sleep(2 * BEAT)
    while True:
        writer.write(b"\r\n")
        await writer.drain()
        await asyncio.sleep(BEAT)


async def _ended(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


def say(word: str) -> None:
    """To whoever started this."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def main() -> None:
    """Begin and end as the input says."""
    port, token, each = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    siege = Siege(port, token, each)
    kinds = siege.kinds()
    loop = asyncio.get_running_loop()
    while (said := await loop.run_in_executor(None, sys.stdin.readline)) == "on\n":
        siege.up.clear()
        siege.all_up.clear()
        tasks = [
            asyncio.create_task(siege.one(name, kind, f"127.0.0.{number}"))
            for number, (name, kind) in enumerate(kinds.items(), start=2)
            for _ in range(each)
        ]
        await siege.all_up.wait()
        say("on")
        await loop.run_in_executor(None, sys.stdin.readline)
        for task in tasks:
            task.cancel()
        failed = [
            found for found in await asyncio.gather(*tasks, return_exceptions=True) if type(found) is AssertionError
        ]
        say(json.dumps({**{name: siege.cut[name] for name in kinds}, "refused": len(failed)}))
    assert not said, said


if __name__ == "__main__":
    asyncio.run(main())
