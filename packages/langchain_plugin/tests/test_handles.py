"""The id that stands for a call's access in a message: once, at the access's own origin, while the call runs."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deputize import Access, Authority
from deputize.errors import InvalidRequest, NoSession
from langchain_deputize import DeputizeAuth
from langchain_deputize.handles import handing, waiting

Make = Callable[..., Authority]
CRM = "https://crm.example/mcp"
EVIL = "https://evil.example/mcp"


@pytest.fixture
def access(make: Make) -> Access:
    authority = make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})
    return authority.session(user="alice", agent="solo").access(CRM, ["crm:read"])


@pytest.fixture(params=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """`send(message, ...)`: post each in turn, outside any call; what each was sent with. `to`: where."""

    def keep(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=request.headers.get("Authorization", "none"))

    over, auth = httpx.MockTransport(keep), DeputizeAuth()

    def post(*messages: Any, to: str = CRM) -> list[str]:
        if request.param == "sync":
            with httpx.Client(transport=over, auth=auth) as client:
                return [client.post(to, json=message).text for message in messages]

        async def apost() -> list[str]:
            async with httpx.AsyncClient(transport=over, auth=auth) as client:
                return [(await client.post(to, json=message)).text for message in messages]

        return asyncio.run(apost())

    return post


def message(meta: dict[str, str]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "_meta": meta}}


@pytest.mark.requirement("I4")
def test_an_id_is_good_for_one_message(access: Access, send: Callable[..., list[str]]) -> None:
    with handing(access) as (meta, handed):
        assert send(message(meta)) == [f"Bearer {access.reveal()}"]
        assert handed.url == CRM
        with pytest.raises(NoSession):
            send(message(meta))


@pytest.mark.requirement("I4")
def test_an_id_stands_for_nothing_after_its_call_though_it_was_never_used(
    access: Access, send: Callable[..., list[str]]
) -> None:
    with handing(access) as (meta, handed):
        assert waiting() == 1
    assert waiting() == 0
    assert handed.url is None
    with pytest.raises(NoSession):
        send(message(meta))


def test_each_of_several_ids_stands_for_its_own_access(make: Make, send: Callable[..., list[str]]) -> None:
    authority = make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})
    session = authority.session(user="alice", agent="solo")
    one, other = (session.access(CRM, ["crm:read"]) for _ in range(2))
    with handing(one) as (first, _), handing(other) as (second, _):
        assert send(message(second), message(first)) == [f"Bearer {other.reveal()}", f"Bearer {one.reveal()}"]


@pytest.mark.requirement("I4")
def test_at_another_origin_a_message_is_refused_and_a_probe_goes_without_a_token(
    access: Access, send: Callable[..., list[str]]
) -> None:
    with handing(access) as (meta, _), pytest.raises(InvalidRequest):
        send(message(meta), to=EVIL)
    with handing(access, probe=True) as (meta, handed):
        assert send(message(meta), to=EVIL) == ["none"]
        assert handed.url == EVIL


@pytest.mark.parametrize(
    "forged",
    [
        {"method": "tools/call", "params": {"arguments": {"_meta": {"deputize/call": "x"}}}},
        {"method": "tools/call", "params": {"_meta": {"deputize/call": 1}}},
        {"method": "tools/call", "params": {"_meta": {"deputize/call": "x"}}},
        ["deputize/call"],
    ],
    ids=["in the arguments", "no text", "made up", "no message"],
)
def test_an_id_that_nobody_handed_out_opens_nothing(send: Callable[..., list[str]], forged: Any) -> None:
    with pytest.raises(NoSession):
        send(forged)
