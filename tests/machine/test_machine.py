"""One stateful machine for the invariants I1-I8, I10, I12-I14 and I16, over three kinds of store.

The oracle below knows the rules of SEMANTICS as plain tables and imports nothing that decides.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from deputize import Authority, DeputizeError, Mode
from deputize.audit.record import check, rec_claim
from deputize.authority.engine import Engine
from deputize.authority.joining import enroll
from deputize.authority.stores import store_of
from deputize.client.connect import connect
from deputize.client.engine import WORKLOAD
from deputize.client.evidence import Join
from deputize.config import load
from deputize.facade.audit_log import AuditLog
from deputize.keys.anchor import SeedAnchor
from deputize.model.limits import Limits
from deputize.model.request import AccessRequest
from deputize.model.revocation import Kind
from deputize.server.app import create_app
from deputize.testing import FakeClock, postgres
from deputize.wire import json_strict
from deputize.wire.base64url import decode_text

CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
RIGHTS = {(CRM, "read"), (CRM, "write"), (WIKI, "look")}
USE = {
    "boss": set(),
    "reader": {(CRM, "read"), (WIKI, "look")},
    "writer": {(CRM, "read"), (CRM, "write")},
    "self": {(WIKI, "look")},
}
HAND_ON = {
    "boss": {(CRM, "read"), (CRM, "write"), (WIKI, "look")},
    "reader": {(CRM, "read")},
    "writer": set(),
    "self": set(),
}
TO = {"boss": {"boss", "reader", "writer"}, "reader": {"writer", "reader"}, "writer": set(), "self": set()}
OPENS = {"boss", "reader", "self"}
DEPTH_MAX, CHILDREN_MAX, TREE_MAX = 4, 5, 9
CONFIGURATION = f"""
version = 1
[limits]
depth_max = {DEPTH_MAX}
children_max = {CHILDREN_MAX}
tree_max = {TREE_MAX}
[store]
url = "sqlite:deputize.db"
durability = "normal"
[resources.crm]
url = "{CRM}"
scopes = ["read", "write"]
binding = "dpop"
[resources.wiki]
url = "{WIKI}"
scopes = ["look"]
[agents.boss]
open = true
delegate = {{ crm = ["read", "write"], wiki = ["look"] }}
delegate_to = ["boss", "reader", "writer"]
[agents.reader]
open = true
use = {{ crm = ["read"], wiki = ["look"] }}
delegate = {{ crm = ["read"] }}
delegate_to = ["writer", "reader"]
[agents.writer]
use = {{ crm = ["read", "write"] }}
[agents.self]
open = true
use = {{ wiki = ["look"] }}
[policy]
files = ["link.cedar"]
"""
LINK = """@id("self-may-link")
permit (principal == Agent::"spiffe://local/agent/self", action == Action::"open", resource)
when { context.mode == "self" && context has from };"""


@dataclass
class Known:
    """What the oracle believes of a session."""

    sid: str
    parent: "Known | None"
    agent: str
    sub: str
    chain: list[str]
    rights: set[tuple[str, str]]
    created: float
    exp: float
    depth: int
    link: bool = False
    ended: bool = False
    children: int = 0
    size: int = 1  # of the tree; kept at the root
    handle: Any = None
    tokens: list["Issued"] = field(default_factory=list)

    @property
    def root(self) -> "Known":
        return self if self.parent is None else self.parent.root

    def line(self) -> list["Known"]:
        return [self] if self.parent is None else [*self.parent.line(), self]


@dataclass
class Issued:
    """A token that left."""

    token: str
    jti: str
    exp: float
    key: str | None = None
    revoked: bool = False


def said(token: str) -> dict[str, Any]:
    return json_strict.loads(decode_text(token.split(".")[1]))


def actors(act: Any) -> list[str]:
    return [] if act is None else [act["sub"].rsplit("/", 1)[1], *actors(act.get("act"))]


class Delegation(RuleBasedStateMachine):
    """Opens, hands on, uses, ends and attacks; after each step the invariants hold."""

    kind = "memory"
    database: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "deputize.toml"
        self.path.write_text(CONFIGURATION, encoding="utf-8")
        (self.path.parent / "link.cedar").write_text(LINK, encoding="utf-8")
        self.clock = FakeClock()
        self.newest = self.clock.now()  # the authority's time never goes back
        self.known: list[Known] = []
        self.leaves: list[bytes] = []
        self.suspended: set[str] = set()
        self.cut_off: dict[str, int] = {}  # user -> the second of its last revocation
        self.serial = 0
        self.authority = self.open()

    def open(self) -> Any:
        if self.kind == "replicas":
            return Pair(self.path, self.clock, self.database.url())
        store = "sqlite::memory:" if self.kind == "memory" else None
        return Authority.open(self.path, store=store, clock=self.clock)

    def teardown(self) -> None:
        self.authority.close()
        self.folder.cleanup()

    # --- what the oracle says

    def now(self) -> float:
        self.newest = max(self.newest, self.clock.now())
        return self.newest

    def dead(self, known: Known) -> bool:
        return any(k.ended or self.now() >= k.exp or k.agent in self.suspended for k in known.line())

    def usable(self) -> list[Known]:
        return [known for known in self.known if known.handle is not None]

    def expected(self, parent: Known | None, to: str, asked: set[tuple[str, str]] | None) -> set[tuple[str, str]]:
        mine = USE[to] | HAND_ON[to]
        wanted = mine if asked is None else asked
        if parent is None:
            return wanted & mine if to in OPENS else set()
        if to not in TO[parent.agent]:
            return set()
        allowed = wanted & mine & parent.rights & HAND_ON[parent.agent]
        subject = parent.sub
        return allowed if subject in {"local|alice", "local|bob"} else allowed & self.own(subject)

    @staticmethod
    def own(agent: str) -> set[tuple[str, str]]:
        return (USE[agent] | HAND_ON[agent]) if agent in OPENS else set()

    # --- rules

    @rule(
        user=st.sampled_from(["alice", "bob", None]),
        agent=st.sampled_from(sorted(USE)),
        asked=st.none() | st.sets(st.sampled_from(sorted(RIGHTS))),
        ttl=st.sampled_from([None, 30, 600]),
    )
    def open_root(self, user: str | None, agent: str, asked: Any, ttl: int | None) -> None:
        should = self.expected(None, agent, asked)
        sub = f"local|{user}" if user else agent
        options = {"scopes": sorted({s for _, s in asked}), "resources": sorted({r for r, _ in asked})} if asked else {}
        if asked is not None and not asked:
            options = {"scopes": []}
        handle = self.attempt(
            lambda: self.authority.session(
                user=user, agent=agent, mode=Mode.ON_BEHALF_OF if user else Mode.SELF, ttl=ttl, **options
            ),
            bool(should) and agent not in self.suspended and int(self.now()) > self.cut_off.get(sub, 0),
        )
        if handle is not None:
            self.keep(handle, None, agent, sub, [agent] if user else [], should)

    @precondition(lambda self: self.usable())
    @rule(
        data=st.data(),
        to=st.sampled_from(sorted(USE)),
        asked=st.none() | st.sets(st.sampled_from(sorted(RIGHTS)), min_size=1),
        ttl=st.sampled_from([None, None, 20, 3601]),
    )
    def hand_off(self, data: Any, to: str, asked: Any, ttl: int | None) -> None:
        self.try_hand_off(data.draw(st.sampled_from(self.usable())), to, asked, ttl)

    @precondition(lambda self: self.usable())
    @rule()
    def deepen(self) -> None:
        live = [known for known in self.usable() if not self.dead(known)]
        if live:
            deepest = max(live, key=lambda known: known.depth)
            self.try_hand_off(deepest, deepest.agent if deepest.agent in {"boss", "reader"} else "writer", None, None)

    @precondition(lambda self: self.usable())
    @rule(times=st.integers(2, 4))
    def fan_out(self, times: int) -> None:
        live = [known for known in self.usable() if not self.dead(known) and TO[known.agent]]
        if live:
            widest = max(live, key=lambda known: (known.children, known.root.size))
            for _ in range(times):
                self.try_hand_off(widest, "reader", None, None)

    def try_hand_off(self, parent: Known, to: str, asked: Any, ttl: int | None) -> None:
        left = parent.exp - int(self.now())
        should = self.expected(parent, to, asked)
        allowed = (
            bool(should)
            and not self.dead(parent)
            and to not in self.suspended
            and left >= 5
            and (ttl is None or ttl <= left)
            and parent.depth < DEPTH_MAX
            and parent.children < CHILDREN_MAX
            and parent.root.size < TREE_MAX
        )
        options: dict[str, Any] = {}
        if asked:
            options = {"scopes": sorted({s for _, s in asked}), "resources": sorted({r for r, _ in asked})}
        handle = self.attempt(lambda: parent.handle.delegate(to, ttl=ttl, **options), allowed)
        if handle is not None:
            chain = [to, *parent.chain]
            self.keep(handle, parent, to, parent.sub, chain, should)

    @precondition(lambda self: self.usable())
    @rule(data=st.data())
    def link(self, data: Any) -> None:
        parent = data.draw(st.sampled_from(self.usable()))
        allowed = (
            not self.dead(parent)
            and "self" not in self.suspended
            and parent.exp - int(self.now()) >= 5
            and parent.depth < DEPTH_MAX
            and parent.children < CHILDREN_MAX
            and parent.root.size < TREE_MAX
        )
        handle = self.attempt(lambda: parent.handle.delegate("self", mode=Mode.SELF), allowed)
        if handle is not None:
            known = self.keep(handle, parent, "self", "self", [], {(WIKI, "look")})
            known.link = True

    @precondition(lambda self: self.usable())
    @rule(data=st.data(), right=st.sampled_from(sorted(RIGHTS)), key=st.sampled_from([None, "same"]))
    def use(self, data: Any, right: tuple[str, str], key: str | None) -> None:
        known = data.draw(st.sampled_from(self.usable()))
        subject_may = known.sub.startswith("local|") or right in self.own(known.sub)
        allowed = (
            not self.dead(known)
            and right in known.rights
            and right in USE[known.agent]
            and subject_may
            and known.exp - int(self.now()) >= 5
        )
        key = f"{key}-{right[0]}-{right[1]}" if key else None
        # A repeat is the same token again while that one lives; a revoked one is not given again.
        given = [issued for issued in known.tokens if key is not None and issued.key == key and self.now() < issued.exp]
        allowed = allowed and not (given and given[-1].revoked)
        access = self.attempt(lambda: known.handle.access(right[0], [right[1]], key=key), allowed)
        if access is not None:
            token = access.reveal()
            claims = said(token)
            assert claims["aud"] == right[0]  # I6
            assert claims["scope"] == right[1]
            assert claims["exp"] <= known.exp  # I2
            assert actors(claims.get("act")) == known.chain  # I4: an access appends nothing
            assert claims["sub"].rsplit("/", 1)[-1] == known.sub  # I3
            earlier = [issued for issued in known.tokens if issued.jti == claims["jti"]]
            if not earlier:
                known.tokens.append(Issued(token, claims["jti"], claims["exp"], key))
            self.permitted_once(claims)

    @precondition(lambda self: self.usable())
    @rule(data=st.data(), tool=st.sampled_from(["read_it", "no_such_tool"]))
    def call_tool(self, data: Any, tool: str) -> None:
        known = data.draw(st.sampled_from(self.usable()))
        ran = False
        try:
            with known.handle.tool_call(tool):
                ran = True
        except DeputizeError as error:
            self.recorded(error)
        assert not ran  # neither name is registered for anybody

    @precondition(lambda self: len(self.usable()) > 1)
    @rule(data=st.data())
    def steal(self, data: Any) -> None:
        victim = data.draw(st.sampled_from(self.usable()))
        thief = data.draw(st.sampled_from(sorted(USE)))
        if thief in {victim.agent, *self.suspended} or self.dead(victim):
            return
        request = AccessRequest(subject_token=victim.handle._opened.token, resource="crm", scopes=frozenset({"read"}))
        self.attempt(lambda: self.authority.engine.access(f"spiffe://local/agent/{thief}", request), allowed=False)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), orderly=st.booleans())
    def end(self, data: Any, orderly: bool) -> None:
        known = data.draw(st.sampled_from(self.known))
        if orderly:
            if known.handle is not None:
                was_dead = self.dead(known)
                known.handle.close()
                known.ended = known.ended or not was_dead
            return
        self.authority.revoke(session=known.sid, reason="because")
        known.ended = True

    @precondition(lambda self: self.known)
    @rule(user=st.sampled_from(["alice", "bob"]))
    def revoke_user(self, user: str) -> None:
        self.authority.revoke(user=user, reason="because")
        for known in self.known:
            if known.parent is None and known.sub == f"local|{user}":
                known.ended = True
        self.cut_off[f"local|{user}"] = int(self.now())
        self.clock.advance(1)

    @precondition(lambda self: len(self.known) > 3 and not self.suspended)
    @rule(agent=st.sampled_from(["reader", "writer", "self"]))
    def suspend(self, agent: str) -> None:
        self.authority.revoke(agent=agent, reason="because")
        self.suspended.add(agent)

    @precondition(lambda self: any(known.tokens for known in self.known))
    @rule(data=st.data())
    def revoke_token(self, data: Any) -> None:
        issued = data.draw(st.sampled_from([issued for known in self.known for issued in known.tokens]))
        self.authority.revoke(token=issued.jti, reason="because")
        issued.revoked = True

    @rule(seconds=st.sampled_from([1, 7, 25, 70, 400]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)
        if self.kind == "replicas":
            self.authority.keep_identity()

    @rule(seconds=st.sampled_from([-50, -5, 3]))
    def clock_steps(self, seconds: int) -> None:
        newest = self.authority.engine.parts.now()
        self.newest = max(newest, self.clock.now())
        self.clock.step(seconds)
        # What was only seen on the clock and recorded by nothing may be forgotten; what was recorded may not.
        recorded = self.authority.engine.parts.store.read(lambda tx: tx.newest_time()) / 1000
        self.newest = max(recorded, self.clock.now())

    @precondition(lambda self: self.kind == "restarts")
    @rule()
    def restart(self) -> None:
        self.authority.close()
        self.authority = self.open()
        for known in self.known:
            known.handle = None

    # --- the plumbing of the rules

    def keep(
        self, handle: Any, parent: Known | None, agent: str, sub: str, chain: list[str], rights: set[tuple[str, str]]
    ) -> Known:
        held = {(right.resource, right.scope) for right in handle.rights}
        assert held == rights
        known = Known(
            handle.id,
            parent,
            agent,
            sub,
            chain,
            held,
            handle.node.created,
            handle.expires_at,
            handle.depth,
            handle=handle,
        )
        if parent is not None:
            parent.children += 1
            parent.root.size += 1
        self.known.append(known)
        self.permitted_once(said(handle.present()))
        return known

    def attempt(self, act: Any, allowed: bool) -> Any:
        """Do it; it succeeds exactly where the oracle says so, and a refusal is recorded."""
        before = len(self.authority.audit)
        try:
            result = act()
        except DeputizeError as error:
            refused = error
        else:
            assert allowed, "allowed what is to be refused"
            return result
        assert not allowed, f"refused what is allowed: {refused}"
        if self.stranger(refused):
            return None
        assert len(self.authority.audit) > before
        self.recorded(refused)
        return None

    def stranger(self, error: DeputizeError) -> bool:
        """Who is suspended authenticates at a server for nothing: a stranger, of whom there is no record."""
        unknown = self.kind == "replicas" and error.code == "invalid_client"
        assert not unknown or self.suspended
        return unknown

    def recorded(self, error: DeputizeError) -> None:
        """I16: by its reference, once, with the policy that refused."""
        if self.stranger(error):
            return
        assert error.reference is not None
        records = self.authority.audit.find(reference=error.reference)
        assert len(records) == 1
        assert records[0]["outcome"] == "denied"
        assert records[0]["policies"]

    def permitted_once(self, claims: dict[str, Any]) -> None:
        """I8: exactly one permit record, whose hash the token carries."""
        found = self.authority.engine.parts.store.read(lambda tx: tx.find(jti=claims["jti"]))
        permits = [record for record in found if record.type.startswith(("session.", "exchange."))]
        assert [rec_claim(record) for record in permits] == [claims["urn:deputize:ctx"]["rec"]]

    # --- what always holds

    @invariant()
    def the_tree_obeys(self) -> None:
        for known in self.known:
            assert known.depth <= DEPTH_MAX  # I5
            assert known.children <= CHILDREN_MAX
            if known.parent is None:
                assert known.size <= TREE_MAX
                continue
            assert known.exp <= known.parent.exp  # I2
            if not known.link:
                assert known.rights <= known.parent.rights  # I1
                assert known.sub == known.parent.sub  # I3
                assert known.chain == [known.agent, *known.parent.chain]  # I4

    @invariant()
    def dead_is_dead_and_live_is_live(self) -> None:
        """I7, I12: introspection agrees with the oracle for every token that ever left."""
        for known in self.known:
            dead = self.dead(known)
            for issued in known.tokens[-3:]:
                active = self.authority.introspect(issued.token).active
                assert active is not (dead or issued.revoked or self.now() >= issued.exp)

    @invariant()
    def the_log_only_grows(self) -> None:
        """I14: what was written stays as it was, and each record is what its leaf says."""
        store = self.authority.engine.parts.store
        size = store.read(lambda tx: tx.size())
        leaves = store.read(lambda tx: tx.leaves(0, size))
        assert leaves[: len(self.leaves)] == self.leaves
        for record in store.read(lambda tx: list(tx.records(start=len(self.leaves)))):
            check(record)
        self.leaves = leaves


class Turns(httpx.BaseTransport):
    """Each request to the next application: what stands before replicas does no other."""

    def __init__(self, apps: list[Any]) -> None:
        self.transports = [httpx.ASGITransport(app) for app in apps]
        self.turn = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.turn += 1
        sent = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        return asyncio.run(self.answer(self.transports[self.turn % len(self.transports)], sent))

    @staticmethod
    async def answer(transport: httpx.ASGITransport, request: httpx.Request) -> httpx.Response:
        answer = await transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


class Pair:
    """Two replicas over one database, and a client whose every request goes to the other one than the last.

    It looks like an `Authority`; what is looked at and cut off goes to a replica in turn.
    """

    def __init__(self, path: Path, clock: FakeClock, url: str) -> None:
        text = path.read_text(encoding="utf-8").replace("version = 1", ON_A_SERVER, 1)
        path.write_text(text, encoding="utf-8")
        anchor = SeedAnchor(bytes(range(32)))
        configuration = replace(load(str(path)), store_url=url)
        self.replicas = [
            Engine(configuration, store=store_of(configuration), clock=clock, anchor=anchor, follows=True)
            for _ in range(2)
        ]
        token = enroll(self.replicas[0].parts, "crew", by="test").token
        self.turns = Turns([create_app(replica) for replica in self.replicas])
        remote = connect(
            configuration.issuer,
            agents=(),
            attestor=Join(token),
            timeout=10,
            clock=clock,
            operator_token=lambda _: None,
            transport=self.turns,
        )
        self.remote = Authority.over(remote, clock=clock)
        self.turn = 0

    def next(self) -> Engine:
        self.turn += 1
        return self.replicas[self.turn % 2]

    @property
    def engine(self) -> Any:
        return SimpleNamespace(parts=self.next().parts, access=self.remote.engine.access)

    @property
    def audit(self) -> AuditLog:
        return AuditLog(self.next().parts)

    def session(self, **asked: Any) -> Any:
        return self.remote.session(**asked)

    def introspect(self, token: str) -> Any:
        one, other = (replica.introspect(token) for replica in self.replicas)
        assert one == other
        return one

    def revoke(self, *, reason: str, **target: str) -> None:
        ((kind, name),) = target.items()
        full = {"user": f"local|{name}", "agent": f"spiffe://local/agent/{name}"}.get(kind, name)
        self.next().revoke(Kind(kind), full, reason=reason)

    def keep_identity(self) -> None:
        """What a thread of the client does in time, by a clock that goes on by itself."""
        self.remote.engine.identity(WORKLOAD)

    def close(self) -> None:
        self.remote.close()
        for replica in self.replicas:
            replica.close()


ON_A_SERVER = """version = 1
[authority]
issuer = "http://127.0.0.1:8400"
users = "unrestricted"
[[attestation]]
method = "join"
workload = "crew"
agents = ["boss", "reader", "writer", "self"]
"""


def machine(kind: str, database: Any = None) -> type[Delegation]:
    return type(f"Delegation_{kind}", (Delegation,), {"kind": kind, "database": database})


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    with postgres() as running:
        yield running


@pytest.mark.requirement("I7")
@pytest.mark.requirement("I8")
@pytest.mark.requirement("I12")
@pytest.mark.requirement("I15")
def test_no_sequence_of_steps_over_two_replicas_breaks_an_invariant(database: Any) -> None:
    run_state_machine_as_test(machine("replicas", database), settings=bounds(20, 30))


@pytest.mark.deep
def test_no_long_sequence_of_steps_over_two_replicas_breaks_an_invariant(database: Any) -> None:
    run_state_machine_as_test(machine("replicas", database), settings=bounds(200, 50))


@pytest.mark.requirement("I1")
@pytest.mark.requirement("I2")
@pytest.mark.requirement("I3")
@pytest.mark.requirement("I4")
@pytest.mark.requirement("I5")
@pytest.mark.requirement("I6")
@pytest.mark.requirement("I7")
@pytest.mark.requirement("I8")
@pytest.mark.requirement("I10")
@pytest.mark.requirement("I12")
@pytest.mark.requirement("I14")
@pytest.mark.requirement("I16")
@pytest.mark.parametrize("kind", ["memory", "file", "restarts"])
def test_no_sequence_of_steps_breaks_an_invariant(kind: str) -> None:
    run_state_machine_as_test(machine(kind), settings=bounds(200, 30))


@pytest.mark.deep
@pytest.mark.parametrize("kind", ["memory", "file", "restarts"])
def test_no_long_sequence_of_steps_breaks_an_invariant(kind: str) -> None:
    run_state_machine_as_test(machine(kind), settings=bounds(2000, 60))


def bounds(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )


def test_the_machine_starts_from_the_limits_that_it_claims() -> None:
    defaults = Limits()
    assert (defaults.depth_max, defaults.children_max, defaults.tree_max) == (4, 1000, 10_000)
