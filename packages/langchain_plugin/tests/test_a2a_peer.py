"""An agent behind A2A (1.0, the official SDK) gets a token for it with each message, and none in the message."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.tools import BaseTool, tool

from deputize import Authority, NoSession
from deputize.runtime import verifier_for
from langchain_deputize import DeputizeAuth, DeputizeMiddleware
from langchain_deputize.testing import ScriptedModel, calls

if TYPE_CHECKING:
    from deputize.verifier import Caller

client = pytest.importorskip("a2a.client")
types = pytest.importorskip("a2a.types")


class Peer(ThreadingHTTPServer):
    """The JSON-RPC binding of A2A, as far as one message needs it. Refuses whom the verifier refuses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}/a2a"
        self.verifier: Any = None
        self.callers: list[Caller] = []
        self.bodies: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: Peer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.bodies.append(body)
        asked = json.loads(body)
        shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.server.callers.append(self.server.verifier.verify(shown, scopes=("ask",)))
        told = {"message": {"messageId": "m2", "role": "ROLE_AGENT", "parts": [{"text": "July"}]}}
        answer = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def peer() -> Iterator[Peer]:
    server = Peer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def asking(peer: Peer) -> BaseTool:
    """What a user writes: the A2A client over an httpx client with our auth."""
    interface = types.a2a_pb2.AgentInterface(url=peer.url, protocol_binding="JSONRPC", protocol_version="1.0")
    card = types.a2a_pb2.AgentCard(name="desk", description="d", version="1", supported_interfaces=[interface])

    @tool
    async def ask_desk(question: str) -> str:
        """Ask the desk of another house."""
        part = types.a2a_pb2.Part(text=question)
        message = types.a2a_pb2.Message(message_id="m1", role=types.a2a_pb2.Role.ROLE_USER, parts=[part])
        async with httpx.AsyncClient(auth=DeputizeAuth(), trust_env=False) as http:
            made = client.ClientFactory(client.ClientConfig(streaming=False, httpx_client=http)).create(card)
            answers = [answer async for answer in made.send_message(types.a2a_pb2.SendMessageRequest(message=message))]
        return str(answers[-1].message.parts[0].text)

    return ask_desk


def house(peer: Peer) -> Authority:
    return Authority(agents={"boss": ["ask"]}, resources={peer.url: ["ask"]})


def test_each_message_carries_a_token_for_the_peer_and_of_its_own_call(peer: Peer) -> None:
    turn = calls(*(("ask_desk", {"question": f"q{number}"}, f"c{number}") for number in range(3)))
    ask = asking(peer)
    with house(peer) as authority:
        peer.verifier = verifier_for(authority, peer.url)
        from langchain_deputize import secure_tool  # beside what it guards

        placed = secure_tool(ask, resource=peer.url, scopes=["ask"])
        boss = create_agent(
            ScriptedModel(steps=[turn, "done"]), [placed], name="boss", middleware=[DeputizeMiddleware()]
        )

        async def main() -> Any:
            async with await authority.asession(user="alice", agent="boss"):
                return await boss.ainvoke({"messages": [("user", "go")]})

        result = asyncio.run(main())
    assert [message.content for message in result["messages"] if message.type == "tool"] == ["July"] * 3
    assert {(caller.subject, caller.agent.rpartition("/")[2]) for caller in peer.callers} == {("local|alice", "boss")}
    assert len({caller.jti for caller in peer.callers}) == 3
    assert all("eyJ" not in body and "token" not in body.lower() for body in peer.bodies)


def test_outside_a_guarded_call_nothing_is_sent(peer: Peer) -> None:
    with house(peer) as authority, authority.session(user="alice", agent="boss"), pytest.raises(NoSession):
        asyncio.run(asking(peer).coroutine(question="q"))  # type: ignore[attr-defined]  # made by @tool
    assert peer.bodies == []
