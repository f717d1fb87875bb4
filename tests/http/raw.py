"""A client by hand: forms, assertions and proofs put together here, sent as they are. Nothing of `deputize.client`.

Every piece can be replaced by a wrong one, which is what the attacks do.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import orjson

from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.config import load
from deputize.keys.anchor import anchor_from_environment
from deputize.system import SystemClock
from deputize.testing.serving import free_port
from deputize.wire import jws
from deputize.wire.alg import LocalKey, generate
from deputize.wire.dpop import proof as dpop_proof

EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
KIND: Final = "urn:ietf:params:oauth:token-type:"
OURS: Final = "urn:deputize:params:oauth:token-type:"
SESSION: Final = OURS + "session"
ASSERTED: Final = OURS + "subject-assertion"
ACCESS: Final = KIND + "access_token"
JWT: Final = KIND + "jwt"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FORM: Final = "application/x-www-form-urlencoded"
STRANGERS: Final = "authentication.failed"
CRM, WIKI, LOCAL = "https://crm.example/mcp", "https://wiki.example/mcp", "urn:deputize:tools"
AGENT: Final = "spiffe://example.org/agent/"
CONFIGURATION: Final = """
version = 1
[authority]
issuer = "http://127.0.0.1:{port}"
trust_domain = "example.org"
users = "unrestricted"
[store]
url = "{store}"
durability = "normal"
[limits]
children_max = 8
[policy]
files = ["extra.cedar"]
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write"]
binding = "dpop"
introspection = ["crm-server"]
[resources.crm.tools]
read_customers = ["crm:read"]
[resources.wiki]
url = "https://wiki.example/mcp"
scopes = ["wiki:read"]
introspection = ["wiki-server"]
[agents.boss]
open = true
delegate = {{ crm = ["crm:read", "crm:write"], local = ["search"] }}
use = {{ local = ["plan"], wiki = ["wiki:read"] }}
delegate_to = ["boss", "reader", "writer"]
[agents.reader]
open = true
use = {{ crm = ["crm:read"], local = ["search"] }}
delegate = {{ crm = ["crm:read"] }}
delegate_to = ["reader"]
[agents.writer]
open = true
use = {{ crm = ["crm:read", "crm:write"] }}
[agents.loner]
open = true
use = {{ wiki = ["wiki:read"] }}
[[impersonation]]
agent = "writer"
user = "local|alice"
resource = "crm"
scopes = ["crm:read"]
expires = 2099-01-01T00:00:00Z
reason = "nightly report"
[[attestation]]
method = "join"
workload = "churn"
agents = ["boss", "reader", "writer"]
[[attestation]]
method = "join"
workload = "other"
agents = ["loner", "reader"]
[[attestation]]
method = "join"
workload = "crm-server"
agents = []
[[attestation]]
method = "join"
workload = "wiki-server"
agents = []
{more}
"""
POLICY: Final = """
@id("writer-as-alice")
permit (principal == Agent::"spiffe://example.org/agent/writer", action == Action::"impersonate", resource)
when { context.user == User::"local|alice" };
"""
Fields = Mapping[str, str | None] | Sequence[tuple[str, str]]


def now() -> float:
    """Seconds since the epoch."""
    return SystemClock().now()


@dataclass
class World:
    """A server in its own process, and a look into its store from this one."""

    base: str
    config: Path
    engine: Engine
    process: "subprocess.Popen[bytes]"
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=20, trust_env=False))
    bases: list[str] = field(default_factory=list)
    others: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        folder: Path,
        store: str = "sqlite:deputize.db",
        more: str | Callable[[int], str] = "",
        at: int | None = None,
        sources: Path | None = None,
    ) -> "World":
        """Start the server over a store. `more` of its configuration may depend on its issuer's port.

        `at`: it listens there, and something else at its issuer's address. `sources`: of the library that it runs.
        """
        port = free_port()
        config = folder / "deputize.toml"
        told = more if isinstance(more, str) else more(port)
        config.write_text(CONFIGURATION.format(port=port, store=store, more=told), encoding="utf-8")
        (folder / "extra.cedar").write_text(POLICY, encoding="utf-8")
        process = start(config, at or port, sources)
        configuration = load(config)
        anchor = anchor_from_environment(os.environ)
        engine = Engine(configuration, store=store_of(configuration), clock=SystemClock(), anchor=anchor, follows=True)
        base = f"http://127.0.0.1:{port}"
        return cls(base=base, config=config, engine=engine, process=process, bases=[base])

    def another(self) -> str:
        """Another process over the same store and issuer; where it listens."""
        port = free_port()
        self.others.append(start(self.config, port))
        self.bases.append(f"http://127.0.0.1:{port}")
        return self.bases[-1]

    def restart(self, *, killed: bool = False) -> None:
        """The server's process ends, in order or not, and another takes its place over the same store."""
        before = self.process
        if killed:
            before.kill()
        for pipe in (before.stdin, before.stdout):
            if pipe is not None:
                pipe.close()
        before.wait(20)
        self.process = start(self.config, int(self.base.rpartition(":")[2]))

    def end(self) -> None:
        """Stop the processes."""
        self.http.close()
        self.engine.close()
        for process in (self.process, *self.others):
            if process.stdin is not None:
                process.stdin.close()
            process.wait(20)
            if process.stdout is not None:
                process.stdout.close()

    def size(self) -> int:
        """How many records the log has."""
        return self.engine.parts.store.read(lambda tx: tx.size())

    def since(self, size: int) -> list[dict[str, Any]]:
        """The bodies of the records from number `size` on, less the count of strangers, kept once a minute."""
        found = self.engine.parts.store.read(lambda tx: list(tx.records(start=size)))
        return [{**orjson.loads(one.body or b"{}"), "type": one.type} for one in found if one.type != STRANGERS]

    def signed(self, typ: str, claims: Mapping[str, object]) -> str:
        """Signed by the authority's own key, whatever it says: what no attacker has, to test one rule alone."""
        return jws.sign(typ, claims, self.engine.parts.keys.signer(now()))

    def enrolled(self, workload: str) -> dict[str, str]:
        """The form by which it joins, once."""
        token = enroll(self.engine.parts, workload, by="test").token
        return {"grant_type": "urn:deputize:params:oauth:grant-type:join", "join_token": token}

    def workload(self, name: str) -> "Party":
        """Joined under a fresh key."""
        key = generate()
        party = Party(world=self, key=key, identity="", sub="")
        answer = party.send("/token", self.enrolled(name), credentials=())
        assert answer.status_code == 200, answer.text
        return replace(party, identity=answer.json()["access_token"], sub=f"spiffe://example.org/workload/{name}")


def start(config: Path, port: int, sources: Path | None = None) -> "subprocess.Popen[bytes]":
    """The server, listening."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("served.py")), str(config), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ if sources is None else {**os.environ, "PYTHONPATH": str(sources)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@dataclass(frozen=True)
class Party:
    """Somebody with a key and an identity over it. `at` is where requests go, if not to the issuer's own address."""

    world: World = field(repr=False)
    key: LocalKey
    identity: str = field(repr=False)
    sub: str
    at: str | None = None

    def agent(self, name: str, key: LocalKey | None = None) -> "Party":
        """An agent that this workload hosts, under a key of its own."""
        key = key or generate()
        fields = {
            "grant_type": EXCHANGE,
            "subject_token": self.identity,
            "subject_token_type": JWT,
            "requested_token_type": JWT,
            "audience": name,
        }
        answer = self.send("/token", fields, prover=key)
        assert answer.status_code == 200, answer.text
        return replace(self, key=key, identity=answer.json()["access_token"], sub=AGENT + name)

    def assertion(self, *, typ: str | None = "client-authentication+jwt", **changed: object) -> str:
        """A client assertion; a claim that is `None` is left out."""
        at = int(now())
        claims: dict[str, object] = {
            "iss": self.sub,
            "sub": self.sub,
            "aud": self.world.base,
            "jti": os.urandom(12).hex(),
            "iat": at,
            "exp": at + 60,
            **changed,
        }
        header = {"alg": self.key.alg, "typ": typ} if typ else {"alg": self.key.alg}
        return jws.sign_with(header, {k: v for k, v in claims.items() if v is not None}, self.key)

    def credentials(self, **changed: object) -> list[tuple[str, str]]:
        """The fields that authenticate this party."""
        return [
            ("client_assertion_type", ASSERTION),
            ("client_assertion", self.assertion(**changed)),
            ("deputize_identity", self.identity),
        ]

    def proof(
        self,
        path: str,
        method: str = "POST",
        *,
        token: str | None = None,
        key: LocalKey | None = None,
        jti: str | None = None,
        at: float | None = None,
    ) -> str:
        """A DPoP proof for one request."""
        at = now() if at is None else at
        return dpop_proof(key or self.key, htm=method, htu=self.world.base + path, now=at, access_token=token, jti=jti)

    def send(
        self,
        path: str,
        fields: Fields,
        *,
        credentials: Iterable[tuple[str, str]] | None = None,
        prover: LocalKey | None = None,
        proofs: Sequence[str] | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> httpx.Response:
        """A form. `credentials` and `proofs` replace the true ones; empty: none."""
        items = list(fields.items()) if isinstance(fields, Mapping) else list(fields)
        items = [(name, value) for name, value in items if value is not None]
        items += self.credentials() if credentials is None else list(credentials)
        shown = [self.proof(path, key=prover)] if proofs is None else list(proofs)
        sent = [("Content-Type", FORM), *(("DPoP", one) for one in shown), *headers]
        return self.post(path, urlencode(items).encode(), sent)

    def post(self, path: str, body: bytes, headers: Sequence[tuple[str, str]]) -> httpx.Response:
        """These bytes under these headers."""
        return self.world.http.request("POST", (self.at or self.world.base) + path, content=body, headers=list(headers))

    def hold(
        self,
        path: str,
        token: str,
        body: object | None = None,
        *,
        method: str | None = None,
        scheme: str = "DPoP",
        proofs: Sequence[str] | None = None,
    ) -> httpx.Response:
        """A request that speaks for a session."""
        method = method or ("GET" if body is None else "POST")
        shown = [self.proof(path, method, token=token)] if proofs is None else list(proofs)
        headers = [("Authorization", f"{scheme} {token}"), *(("DPoP", one) for one in shown)]
        content = b""
        if body is not None:
            content = body if isinstance(body, bytes) else orjson.dumps(body)
            headers.append(("Content-Type", "application/json"))
        url = (self.at or self.world.base) + path
        return self.world.http.request(method, url, content=content, headers=headers)

    def names(self, user: str, **changed: object) -> str:
        """A subject assertion of this agent."""
        return self.assertion(typ="vnd.deputize.subject+jwt", sub=user, **changed)

    def root(self, user: str = "local|alice", rights: str | None = None, **more: str | None) -> str:
        """A session token for a user."""
        answer = self.try_root(user, rights, **more)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def try_root(self, user: str = "local|alice", rights: str | None = None, **more: str | None) -> httpx.Response:
        """The request that starts a session."""
        return self.send("/token", self.root_fields(user, rights, **more))

    def root_fields(self, user: str = "local|alice", rights: str | None = None, **more: str | None) -> dict[str, Any]:
        """Its fields."""
        return {
            "grant_type": EXCHANGE,
            "subject_token": self.names(user),
            "subject_token_type": ASSERTED,
            "requested_token_type": SESSION,
            "authorization_details": rights or details({CRM: ["crm:read", "crm:write"], LOCAL: ["tool:search"]}),
            **more,
        }

    def child_fields(self, token: str, actor: "Party", **more: str | None) -> dict[str, Any]:
        """A hand-off."""
        return {
            "grant_type": EXCHANGE,
            "subject_token": token,
            "subject_token_type": SESSION,
            "actor_token": actor.identity,
            "actor_token_type": JWT,
            "requested_token_type": SESSION,
            "authorization_details": details({CRM: ["crm:read"], LOCAL: ["tool:search"]}),
            **more,
        }

    def child(self, token: str, actor: "Party", **more: str | None) -> str:
        """A child's session token."""
        answer = self.send("/token", self.child_fields(token, actor, **more), prover=actor.key)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def access_fields(self, token: str, **more: str | None) -> dict[str, Any]:
        """An access."""
        return {
            "grant_type": EXCHANGE,
            "subject_token": token,
            "subject_token_type": SESSION,
            "requested_token_type": ACCESS,
            "resource": CRM,
            "scope": "crm:read",
            **more,
        }

    def access(self, token: str, **more: str | None) -> str:
        """An access token."""
        answer = self.send("/token", self.access_fields(token, **more))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def introspect(self, token: str) -> dict[str, Any]:
        """What this client is told of a token."""
        answer = self.send("/introspect", {"token": token}, proofs=())
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told


def raw_root() -> dict[str, str]:
    """The form of a session of the boss's own."""
    return {"grant_type": "client_credentials", "resource": LOCAL, "scope": "tool:plan"}


def details(rights: Mapping[str, Sequence[str]]) -> str:
    """Rights as a form says them."""
    return orjson.dumps(
        [{"type": "urn:deputize:rights", "locations": [at], "actions": list(scopes)} for at, scopes in rights.items()]
    ).decode()


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    return jws.unverified_claims(token)


@dataclass
class Cast:
    """Those who take part."""

    world: World
    churn: Party
    boss: Party
    reader: Party
    writer: Party
    other: Party
    loner: Party
    crm: Party
    wiki: Party

    @classmethod
    def of(cls, world: World) -> "Cast":
        """Everybody joined and named."""
        churn, other = world.workload("churn"), world.workload("other")
        return cls(
            world=world,
            churn=churn,
            boss=churn.agent("boss"),
            reader=churn.agent("reader"),
            writer=churn.agent("writer"),
            other=other,
            loner=other.agent("loner"),
            crm=world.workload("crm-server"),
            wiki=world.workload("wiki-server"),
        )

    def refused(
        self,
        answer: httpx.Response,
        size: int,
        *,
        status: int = 400,
        error: str = "invalid_request",
        by: Party | None = None,
        code: str | None = None,
    ) -> dict[str, Any]:
        """A refusal that gave nothing, changed nothing, and left one record where `by` was authenticated (I16)."""
        assert (answer.status_code, answer.json().get("error")) == (status, error), answer.text
        assert "access_token" not in answer.json()
        assert answer.headers["Cache-Control"] == "no-store"
        records = self.world.since(size)
        assert [one["outcome"] for one in records] == ["denied"] * (by is not None), (answer.text, records)
        if by is None:
            assert answer.json() == {"error": error}
        else:
            assert records[0]["agent"] == by.sub
            assert records[0]["reference"] == answer.json()["reference"]
            assert records[0]["code"] == answer.json()["code"]
            assert code in {None, records[0]["code"]}, records
        return records[0] if records else {}
