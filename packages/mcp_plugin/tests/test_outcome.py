"""How a call went is read from its response, however that is cut into pieces."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize_mcp.outcome import MOST_KEPT, Watch

DONE = {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}
FAILED = {"jsonrpc": "2.0", "id": 1, "result": {"content": [], "isError": True}}
ERROR = {"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no"}}
PROGRESS = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}
OTHER = {"jsonrpc": "2.0", "id": 2, "error": {"code": -1, "message": "of another request"}}


def events(*messages: Any, end: str = "\n") -> bytes:
    return (
        b": ping"
        + end.encode() * 2
        + b"".join(f"event: message{end}data: {json.dumps(message)}{end}{end}".encode() for message in messages)
    )


def outcome(body: bytes, cuts: list[int], *, kind: bytes, status: int = 200) -> str | None:
    watch = Watch(1)
    watch.see({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    places = sorted({0, *(cut % (len(body) + 1) for cut in cuts), len(body)})
    for start, stop in itertools.pairwise(places):
        watch.see({"type": "http.response.body", "body": body[start:stop], "more_body": True})
    return watch.see({"type": "http.response.body", "body": b""})


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    answer=st.sampled_from([(DONE, "done"), (FAILED, "failed"), (ERROR, "failed")]),
    before=st.lists(st.sampled_from([PROGRESS, OTHER]), max_size=2),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_the_pieces_do_not_matter(cuts: list[int], answer: Any, before: list[Any], end: str) -> None:
    message, expected = answer
    stream = events(*before, message, end=end)
    assert outcome(stream, cuts, kind=b"text/event-stream; charset=utf-8") == expected
    assert outcome(json.dumps(message).encode(), cuts, kind=b"application/json") == expected


@pytest.mark.parametrize(("status", "expected"), [(200, "done"), (202, "done"), (400, "failed"), (500, "failed")])
def test_what_cannot_be_read_goes_by_its_status(status: int, expected: str) -> None:
    long = json.dumps({**FAILED, "x": "a" * MOST_KEPT}).encode()
    for body in (b"", b"plain", b"{", b"[1]", long):
        assert outcome(body, [7], kind=b"application/json", status=status) == expected


async def test_a_call_that_its_client_gives_up_is_recorded(guarded: Callable[..., Any], issuer: Any) -> None:
    world = guarded()
    running = asyncio.Event()

    async def hang(*_: object) -> None:
        running.set()
        await asyncio.Event().wait()

    world.guard._app = hang
    task = asyncio.create_task(world.call("read", issuer.token()))
    await running.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [(report["outcome"], report["code"]) for report in issuer.reports] == [
        ("started", None),
        ("failed", "abandoned"),
    ]
