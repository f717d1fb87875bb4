"""Requests without a caller: counted and bounded, with an address that a client can't make up."""

from typing import Any

import pytest

from deputize.testing import FakeClock
from deputize_mcp import rejections
from deputize_mcp.rejections import Rejections


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"client": (peer, 1) if peer else None, "headers": headers}


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "client"),
    [
        ([], "192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        (["192.0.2.0/24"], "192.0.2.1", ["203.0.113.9"], "203.0.113.9"),
        (["192.0.2.0/24"], "192.0.2.1", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["192.0.2.0/24"], "192.0.2.1", ["6.6.6.6", "203.0.113.9, 192.0.2.7"], "203.0.113.9"),
        (["192.0.2.0/24"], "192.0.2.1", ["<script>"], "unknown"),
        (["192.0.2.0/24"], "192.0.2.1", [], "192.0.2.1"),
        ([], None, [], "unknown"),
    ],
)
def test_only_trusted_proxies_vouch_for_an_address(
    proxies: list[str], peer: str | None, forwarded: list[str], client: str
) -> None:
    assert Rejections(None, proxies).client(scope(peer, *forwarded)) == client


async def test_a_flood_makes_one_record_a_minute_for_each_code_and_address() -> None:
    written: list[tuple[str, str, int]] = []
    clock = FakeClock()

    async def reject(code: str, client: str, count: int) -> None:
        written.append((code, client, count))

    counted = Rejections(reject, [], now=clock.monotonic)
    for _ in range(100):
        await counted.note(scope("192.0.2.1"), "malformed_token")
        await counted.note(scope("192.0.2.1"), "missing_token")
    await counted.note(scope("192.0.2.2"), "malformed_token")
    assert written == [("malformed_token", "192.0.2.1", 1), ("malformed_token", "192.0.2.2", 1)]
    clock.advance(60)
    await counted.note(scope("192.0.2.1"), "malformed_token")
    assert written[2:] == [("malformed_token", "192.0.2.1", 99), ("malformed_token", "192.0.2.1", 1)]


async def test_a_flood_from_everywhere_is_bounded_as_well() -> None:
    written: list[Any] = []

    async def reject(*record: Any) -> None:
        written.append(record)

    counted = Rejections(reject, [])
    for number in range(1000):
        await counted.note(scope(f"10.0.{number // 256}.{number % 256}"), "malformed_token")
    assert len(written) == rejections.MOST + 1
    assert written[-1][:2] == ("malformed_token", "others")
