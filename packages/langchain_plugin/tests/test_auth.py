import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import httpx2
import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import tool

from deputize import Authority
from deputize.errors import ConfigurationError, InvalidRequest, NoSession
from langchain_deputize import DeputizeAuth, current_access, current_session, secure_tool
from langchain_deputize.testing import ScriptedModel

Make = Callable[..., Authority]
CRM = "https://crm.example/mcp"


@pytest.fixture
def authority(make: Make) -> Authority:
    return make(agents={"solo": ["crm:read"]}, resources={CRM: ["crm:read"]})


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text=request.headers.get("Authorization", "none"))


def test_a_request_of_a_tool_carries_the_access_of_its_own_call(authority: Authority) -> None:
    auth = DeputizeAuth()

    @tool
    def read() -> str:
        """Read twice."""
        with httpx.Client(transport=httpx.MockTransport(answer), auth=auth) as client:
            return f"{client.get(CRM + '/a').text} {client.post(CRM).text}"

    @tool
    async def aread() -> str:
        """Read twice."""
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=auth) as client:
            return f"{(await client.get(CRM + '/a')).text} {(await client.post(CRM)).text}"

    with authority.session(user="alice", agent="solo"):
        said = secure_tool(read, scopes=["crm:read"], resource=CRM).invoke({}).split(" ")
        asaid = asyncio.run(secure_tool(aread, scopes=["crm:read"], resource=CRM).ainvoke({})).split(" ")
    assert said[0] == asaid[0] == "Bearer"
    assert said[1] == said[3] != asaid[1] == asaid[3]
    assert authority.introspect(said[1]).active is False  # the session has ended


def test_a_token_goes_to_its_own_origin_alone(authority: Authority) -> None:
    sent: list[httpx.Request] = []

    def keep(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    @tool
    def read(url: str) -> str:
        """Read where the model says."""
        with httpx.Client(transport=httpx.MockTransport(keep), auth=DeputizeAuth()) as client:
            return client.get(url).text

    guarded = secure_tool(read, scopes=["crm:read"], resource=CRM)
    with authority.session(user="alice", agent="solo"):
        for url in ("https://evil.example/mcp", "http://crm.example/mcp", "https://crm.example:444/mcp"):
            with pytest.raises(InvalidRequest):
                guarded.invoke({"url": url})
    assert sent == []


def test_a_redirect_elsewhere_takes_no_token_along(authority: Authority) -> None:
    seen: list[tuple[str, bool]] = []

    def redirect(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.host, "Authorization" in request.headers))
        if request.url.host == "crm.example":
            return httpx.Response(302, headers={"Location": "https://evil.example/"})
        return httpx.Response(200)

    @tool
    def read() -> str:
        """Follow."""
        with httpx.Client(
            transport=httpx.MockTransport(redirect), auth=DeputizeAuth(), follow_redirects=True
        ) as client:
            return client.get(CRM).text

    with authority.session(user="alice", agent="solo"):
        secure_tool(read, scopes=["crm:read"], resource=CRM).invoke({})
    assert seen == [("crm.example", True), ("evil.example", False)]


def test_outside_a_tool_call_nothing_is_sent(authority: Authority) -> None:
    client = httpx.Client(transport=httpx.MockTransport(answer), auth=DeputizeAuth())
    with client, authority.session(user="alice", agent="solo"), pytest.raises(NoSession):
        client.get(CRM)


@pytest.mark.requirement("I4")
def test_an_agent_gets_no_access_of_the_call_that_runs_it(make: Make) -> None:
    refused: list[str] = []

    class Peeks(AgentMiddleware[Any, Any, Any]):
        def before_model(self, *_: object) -> None:
            with httpx.Client(transport=httpx.MockTransport(answer), auth=DeputizeAuth()) as client:
                for ask in (lambda: current_access(CRM), lambda: client.get(CRM)):
                    with pytest.raises(NoSession):
                        ask()
                    refused.append(current_session().name)

    research = create_agent(ScriptedModel(steps=["done"]), [], name="research", middleware=[Peeks()])

    @tool
    def read() -> str:
        """Read, and ask another agent."""
        research.invoke({"messages": [("user", "?")]})
        return str(sorted(current_access().scopes))

    authority = make(
        agents={"boss": ["crm:read"], "research": ["crm:read"]},
        resources={CRM: ["crm:read"]},
        delegations={"boss": ["research"]},
    )
    with authority.session(user="alice", agent="boss"):
        assert secure_tool(read, scopes=["crm:read"], resource=CRM).invoke({}) == "['crm:read']"
    assert refused == ["research", "research"]


def test_httpx2_takes_it_as_its_own(authority: Authority) -> None:
    auth = DeputizeAuth()

    def answer2(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=request.headers.get("Authorization", "none"))

    @tool
    def read() -> str:
        """Read."""
        with httpx2.Client(transport=httpx2.MockTransport(answer2), auth=auth) as client:
            return client.get(CRM).text

    @tool
    async def aread() -> str:
        """Read."""
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer2), auth=auth) as client:
            with pytest.raises(InvalidRequest):
                await client.get("https://evil.example/")
            return (await client.post(CRM, json={"n": 1})).text

    with authority.session(user="alice", agent="solo"):
        said = secure_tool(read, scopes=["crm:read"], resource=CRM).invoke({})
        asaid = asyncio.run(secure_tool(aread, scopes=["crm:read"], resource=CRM).ainvoke({}))
    assert said.startswith("Bearer ")
    assert asaid.startswith("Bearer ")
    assert said != asaid


MESSAGES = [
    ({"json": {"jsonrpc": "2.0", "id": 1, "method": "initialize"}}, True),
    ({"json": {"jsonrpc": "2.0", "method": "notifications/initialized"}}, True),
    ({"json": {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}}, True),
    ({"json": {"jsonrpc": "2.0", "id": 3, "result": {}}}, True),
    ({"json": {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "tools/list"}}}, False),
    ({"json": {"jsonrpc": "2.0", "id": 3, "method": "resources/read"}}, False),
    ({"json": [{"jsonrpc": "2.0", "id": 3, "method": "tools/list"}]}, False),
    ({"json": {"n": 1}}, False),
    ({"content": b"{", "headers": {"Content-Type": "application/json"}}, False),
    ({"content": b'{"method": "tools/list"}'}, False),
]


@pytest.mark.requirement("I4")
@pytest.mark.parametrize("sending", ["sync", "async"])
def test_outside_a_tool_call_only_what_lists_carries_a_token_of_the_session(authority: Authority, sending: str) -> None:
    sent: list[httpx.Request] = []

    def keep(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, text=request.headers["Authorization"])

    auth = DeputizeAuth(CRM, discovery=["crm:read"])
    over = httpx.MockTransport(keep)

    def post(**what: Any) -> str:
        if sending == "sync":
            with httpx.Client(transport=over, auth=auth) as client:
                return client.post(CRM, **what).text

        async def apost() -> str:
            async with httpx.AsyncClient(transport=over, auth=auth) as client:
                return (await client.post(CRM, **what)).text

        return asyncio.run(apost())

    with authority.session(user="alice", agent="solo"):
        listed = [post(**what) for what, lists in MESSAGES if lists]
        for what, lists in MESSAGES:
            if not lists:
                with pytest.raises(NoSession):
                    post(**what)
        with httpx.Client(transport=over, auth=auth) as client:
            opened = client.get(CRM, headers={"Accept": "text/event-stream"}).text
            ended = client.delete(CRM, headers={"Mcp-Session-Id": "1"}).text
            for ask in (client.get, client.delete):
                with pytest.raises(NoSession):
                    ask(CRM)
    assert len(sent) == len(listed) + 2
    assert {*listed, opened, ended} == {listed[0]}  # one token serves until it is about to expire
    with pytest.raises(NoSession):
        post(**MESSAGES[0][0])
    assert len(sent) == len(listed) + 2


def test_after_the_session_a_token_that_is_at_hand_lists_nothing_more(authority: Authority) -> None:
    auth = DeputizeAuth(CRM, discovery=["crm:read"])
    with httpx.Client(transport=httpx.MockTransport(answer), auth=auth) as client:
        session = authority.session(user="alice", agent="solo")
        with session:
            client.post(CRM, **MESSAGES[0][0])
        with pytest.raises(NoSession):
            client.post(CRM, **MESSAGES[0][0])


@pytest.mark.parametrize("wrong", [{"discovery": ["crm:read"]}, {"resource": CRM, "discovery": "crm:read"}])
def test_discovery_needs_a_resource_and_a_list(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DeputizeAuth(**wrong)
