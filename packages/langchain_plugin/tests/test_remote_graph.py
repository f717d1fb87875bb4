"""A remote agent gets a token for it with every request, and nothing of the caller's secrets."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_sync_client

from deputize import Authority, Right
from deputize.errors import ConfigurationError, InvalidRequest, NoSession
from langchain_deputize import DeputizeCallbackHandler, DeputizeRemoteGraph

CRM = "https://crm.example/mcp"
READ = Right(CRM, "crm:read")
CANARY = "canary-4711"
SECRETS = {"access_token": CANARY, "__hidden": CANARY, "nested": {"key": [CANARY]}, "thread_id": "t1"}
Invoke = Callable[..., Any]


class Peer(ThreadingHTTPServer):
    """LangGraph's server API, as far as a run needs it: writes down what it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen: list[tuple[str, str | None, str]] = []  # method and path, Authorization, body


class _Answers(BaseHTTPRequestHandler):
    server: Peer

    def _answer(self, kind: str, body: bytes) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.server.seen.append((f"{self.command} {self.path}", self.headers.get("Authorization"), sent))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        said = {"messages": [{"type": "ai", "content": "found it", "id": "1"}]}
        self._answer("text/event-stream", f"event: values\ndata: {json.dumps(said)}\n\n".encode())

    def do_GET(self) -> None:
        self._answer("application/json", b'{"nodes": [], "edges": []}')

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def peer() -> Iterator[Peer]:
    with Peer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def authority(peer: Peer, tmp_path: Path) -> Iterator[Authority]:
    file = tmp_path / "deputize.toml"
    file.write_text(
        f"""
        version = 1
        [authority]
        users = "unrestricted"
        [store]
        url = "sqlite::memory:"
        [resources.crm]
        url = "{CRM}"
        scopes = ["crm:read"]
        [resources.desk]
        url = "{peer.url}/desk"
        scopes = ["ask"]
        agent = "researcher"
        [agents.boss]
        open = true
        use = {{ desk = ["ask"] }}
        delegate = {{ crm = ["crm:read"], desk = ["ask"] }}
        delegate_to = ["researcher", "writer"]
        [agents.writer]
        use = {{ desk = ["ask"] }}
        delegate = {{ crm = ["crm:read"] }}
        delegate_to = ["researcher"]
        [agents.researcher]
        use = {{ crm = ["crm:read"] }}
        """,
        encoding="utf-8",
    )
    with Authority.open(file) as opened:
        yield opened


def graph_with(remote: RemoteGraph) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("peer", remote)
    graph.add_edge(START, "peer")
    return graph.compile()


@pytest.mark.requirement("I4")
def test_a_remote_node_gets_a_fresh_token_for_its_audience_and_no_secret(
    authority: Authority, peer: Peer, invoke: Invoke
) -> None:
    remote = DeputizeRemoteGraph("desk", url=peer.url, resource="desk", scopes=["ask"], onward=[READ])
    graph = graph_with(remote)
    config = {"configurable": dict(SECRETS), "metadata": {"key": CANARY}}
    with authority.session(user="alice", agent="boss") as session:
        for _ in range(2):
            invoke(graph, **config)
        child = authority.redeem(str(peer.seen[1][1]).partition(" ")[2], agent="researcher", task="look")
        assert child.root == session.id
        assert child.rights == {READ}
    assert [path for path, _, _ in peer.seen] == ["POST /threads/t1/runs/stream"] * 2
    tokens = [authorization for _, authorization, _ in peer.seen]
    assert all(str(token).startswith("Bearer ") for token in tokens)
    assert tokens[0] != tokens[1]
    assert CANARY not in json.dumps(peer.seen)
    body = json.loads(peer.seen[0][2])
    assert set(body["config"]) <= {"configurable", "recursion_limit", "tags"}
    assert set(body["config"].get("configurable", {})) <= {"checkpoint_id", "checkpoint_ns", "checkpoint_map"}
    noted = [row["detail"] for row in authority.audit.find(session=session.id) if row["type"] == "handoff.announced"]
    assert [set(detail) for detail in noted] == [{"to", "jti"}] * 2
    assert {detail["to"] for detail in noted} == {"researcher"}


@pytest.mark.requirement("I4")
def test_the_token_is_of_the_agent_whose_node_it_is(authority: Authority, peer: Peer, invoke: Invoke) -> None:
    remote = DeputizeRemoteGraph("desk", url=peer.url, resource="desk", scopes=["ask"])
    handler = DeputizeCallbackHandler(agents={"peer": "writer"})
    with authority.session(user="alice", agent="boss"):
        invoke(graph_with(remote), callbacks=[handler])
    issued = [
        row for row in authority.audit if row["type"] == "exchange.permitted" and row["resource"].endswith("desk")
    ]
    assert [str(row["agent"]).rpartition("/")[2] for row in issued] == ["writer"]


def test_what_only_asks_for_the_graph_carries_a_token_that_opens_nothing(authority: Authority, peer: Peer) -> None:
    remote = DeputizeRemoteGraph("desk", url=peer.url, resource="desk", scopes=["ask"], onward=[READ])
    with authority.session(user="alice", agent="boss"):
        remote.get_graph()
        asyncio.run(remote.aget_graph())
        for _, authorization, _ in peer.seen:
            with pytest.raises(InvalidRequest):
                authority.redeem(str(authorization).partition(" ")[2], agent="researcher")
    assert len(peer.seen) == 2
    assert not [row for row in authority.audit if row["type"] == "handoff.announced"]


def test_without_a_session_nothing_is_sent(authority: Authority, peer: Peer, invoke: Invoke) -> None:
    remote = DeputizeRemoteGraph("desk", url=peer.url, resource="desk", scopes=["ask"])
    with pytest.raises(NoSession):
        invoke(graph_with(remote))
    assert peer.seen == []


@pytest.mark.requirement("I4")
def test_a_server_elsewhere_gets_no_token(authority: Authority, invoke: Invoke) -> None:
    with Peer() as evil:
        remote = DeputizeRemoteGraph("desk", url=evil.url, resource="desk", scopes=["ask"])
        with authority.session(user="alice", agent="boss"), pytest.raises(InvalidRequest):
            invoke(graph_with(remote))
        assert evil.seen == []


def test_a_copy_with_another_config_keeps_its_token(authority: Authority, peer: Peer) -> None:
    remote = DeputizeRemoteGraph("desk", url=peer.url, resource="desk", scopes=["ask"])
    config: Any = {"configurable": {"secret": CANARY}, "metadata": {"secret": CANARY}}
    with authority.session(user="alice", agent="boss"):
        remote.with_config(config).invoke({"messages": []})
    assert str(peer.seen[0][1]).startswith("Bearer ")
    assert CANARY not in json.dumps(peer.seen)


@pytest.mark.parametrize("wrong", [{"scopes": "ask"}, {"scopes": ["ask"], "distributed_tracing": True}])
def test_what_would_send_more_than_the_token_is_refused(peer: Peer, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        DeputizeRemoteGraph("desk", url=peer.url, resource="desk", **wrong)


def test_a_client_with_an_auth_of_its_own_is_refused(peer: Peer) -> None:
    client = get_sync_client(url=peer.url)
    client.http.client.auth = httpx.BasicAuth("a", "b")
    with pytest.raises(ConfigurationError):
        DeputizeRemoteGraph("desk", sync_client=client, resource="desk", scopes=["ask"])


def test_fact_a_plain_remote_graph_sends_the_secrets_of_its_config_and_no_token(peer: Peer, invoke: Invoke) -> None:
    invoke(graph_with(RemoteGraph("desk", url=peer.url)), configurable=dict(SECRETS))
    assert CANARY in peer.seen[0][2]
    assert peer.seen[0][1] is None
