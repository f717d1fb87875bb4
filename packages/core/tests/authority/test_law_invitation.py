"""SEMANTICS, "Access grant", "Narrowing" (by invitation), "Binding", "Idempotency": a hand-off to another process."""

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority, Denied, IntegrityError, InvalidRequest, InvalidToken, Mode, Right, SessionEnded
from deputize.config import load
from deputize.model.request import HandOffRequest
from deputize.model.session import Edge
from deputize.testing import FakeClock
from deputize.wire.jws import peek, unverified_claims

CRM = "https://crm.example/mcp"
DESK = "https://researcher.example/a2a"
READ, WRITE = Right(CRM, "crm:read"), Right(CRM, "crm:write")

CONFIGURATION = """
version = 1
[authority]
trust_domain = "example.org"
[store]
url = "sqlite:deputize.db"
durability = "normal"
[limits]
depth_max = 2
children_max = 4
[resources.crm]
url = "https://crm.example/mcp"
scopes = ["crm:read", "crm:write", "crm:audit"]
binding = "dpop"
[resources.desk]
url = "https://researcher.example/a2a"
scopes = ["invoke"]
agent = "researcher"
[resources.bound-desk]
url = "https://researcher.example/bound"
scopes = ["call"]
agent = "researcher"
binding = "dpop"
chain = "outermost"
[agents.supervisor]
open = true
use = { desk = ["invoke"], bound-desk = ["call"], local = ["plan"] }
delegate = { crm = ["crm:read", "crm:write"] }
delegate_to = ["researcher"]
[agents.researcher]
open = true
use = { crm = ["crm:read", "crm:write"], desk = ["invoke"], local = ["search"] }
delegate = { crm = ["crm:read"] }
delegate_to = ["researcher", "writer"]
[agents.writer]
open = true
use = { crm = ["crm:read", "crm:write"], desk = ["invoke"] }
[[impersonation]]
agent = "supervisor"
user = "local|alice"
resource = "desk"
scopes = ["invoke"]
expires = 2099-01-01T00:00:00Z
reason = "INC-4711"
[policy]
files = ["extra.cedar"]
"""
POLICIES = """
@id("supervisor-may-appear")
permit (principal == Agent::"spiffe://example.org/agent/supervisor", action == Action::"impersonate", resource);
"""


class Firm:
    """Two processes' worth of authorities on one store; `here` invites, `there` redeems."""

    def __init__(self, kind: str, folder: Path, url: str | None) -> None:
        self.clock, self.kind, self.url = FakeClock(), kind, url
        self.path = folder / "deputize.toml"
        self.path.write_text(CONFIGURATION, encoding="utf-8")
        (folder / "extra.cedar").write_text(POLICIES, encoding="utf-8")
        self.here = self.open()
        self.there = self.here if kind == "memory" else self.open()

    def open(self) -> Authority:
        return Authority.open(self.path, store=self.url, clock=self.clock)

    def root(self, **options: Any) -> Any:
        return self.here.session(**{"user": "alice", "agent": "supervisor", **options})

    def invite(self, session: Any, *onward: Right, **options: Any) -> Any:
        at = options.pop("at", "desk")
        return session.access(at, ["call" if at == "bound-desk" else "invoke"], onward=onward or [READ], **options)

    def redeem(self, access: Any, **options: Any) -> Any:
        return self.there.redeem(access.reveal(), **{"agent": "researcher", **options})

    def policy(self, old: str, new: str) -> None:
        """Another policy over the same log, in both processes."""
        text = self.path.read_text(encoding="utf-8")
        assert old in text
        self.path.write_text(text.replace(old, new), encoding="utf-8")
        for authority in {self.here, self.there}:
            authority.engine.apply(load(str(self.path)))

    def sessions(self) -> int:
        """How many sessions the log tells of."""
        return len(self.here.audit.find(type="session.opened"))

    def close(self) -> None:
        self.there.close()
        self.here.close()


@pytest.fixture(params=["memory", "file", "postgres"])
def firm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firm]:
    url = {"memory": "sqlite::memory:", "file": None}.get(request.param)
    if request.param == "postgres":
        request.getfixturevalue("seed")
        url = request.getfixturevalue("database").url()
    made = Firm(request.param, tmp_path, url)
    yield made
    made.close()


def code_of(attempt: Any) -> str:
    with pytest.raises((InvalidRequest, Denied)) as refused:
        attempt()
    return refused.value.code


@pytest.mark.requirement("I1", "I2", "I3", "I4")
def test_an_invitation_opens_a_child_in_the_other_process(firm: Any) -> None:
    root = firm.root()
    access = firm.invite(root, READ, WRITE)
    child = firm.redeem(access, task="look up")
    node = child.node
    assert child.rights == {READ, WRITE} <= root.rights
    assert (node.kind, node.parent, node.txn, node.sub) == (Edge.CHILD, root.id, root.id, "local|alice")
    assert node.chain == (firm.there.agent_id("researcher"), *root.chain)
    assert node.exp <= root.node.exp
    assert node.depth == 1
    assert child.access("crm", ["crm:read"]).scopes == {"crm:read"}


def test_the_hops_table_holds_for_a_remote_hand_off(firm: Any) -> None:
    access = firm.invite(firm.root())
    invited = unverified_claims(access.reveal())
    supervisor, researcher = firm.here.agent_id("supervisor"), firm.here.agent_id("researcher")
    assert peek(access.reveal()).typ == "at+jwt"
    assert (invited["aud"], invited["client_id"], invited["act"]["sub"]) == (DESK, supervisor, supervisor)
    child = firm.redeem(access)
    told = unverified_claims(child.present())
    assert (told["client_id"], told["sub"]) == (researcher, "local|alice")
    assert (told["act"]["sub"], told["act"]["act"]["sub"]) == (researcher, supervisor)
    assert told["cnf"]["jkt"] == firm.there.engine.identity(researcher).client.jkt
    used = unverified_claims(child.access("crm", ["crm:read"]).reveal())
    assert (used["client_id"], used["act"]["sub"], used["aud"]) == (researcher, researcher, CRM)


def test_what_is_onward_is_not_in_the_token(firm: Any) -> None:
    claims = str(unverified_claims(firm.invite(firm.root()).reveal()))
    assert "crm:read" not in claims
    assert "onward" not in claims


def test_a_key_bound_invitation_that_tells_one_actor_is_redeemed_alike(firm: Any) -> None:
    access = firm.invite(firm.root(), at="bound-desk")
    assert access.bound
    assert firm.redeem(access).rights == {READ}


def test_an_agent_on_its_own_behalf_invites_as_itself(firm: Any) -> None:
    root = firm.here.session(agent="supervisor", mode=Mode.SELF)
    child = firm.redeem(firm.invite(root))
    assert child.subject == root.agent
    assert child.chain == (firm.here.agent_id("researcher"),)


@pytest.mark.requirement("I1")
def test_onward_wider_than_the_ceiling_is_refused_and_nothing_is_issued(firm: Any) -> None:
    root = firm.root(scopes=["invoke", "crm:read"])
    assert code_of(lambda: firm.invite(root, READ, WRITE)) == "access_denied"
    record = firm.here.audit.find(type="exchange.denied")[-1]
    assert "session-ceiling" in record["policies"]
    assert not firm.here.audit.find(type="exchange.permitted")


def test_each_right_that_is_onward_is_decided_by_delegate_when_issued_and_recorded(firm: Any) -> None:
    root = firm.root()
    firm.invite(root, READ, WRITE)
    detail = firm.here.audit.find(type="exchange.permitted")[-1]["detail"]
    asked = {
        (d["action"], d["scope"], d["context"].get("to")) for d in detail["decisions"] if d["action"] == "delegate"
    }
    to = firm.here.agent_id("researcher")
    assert asked == {("delegate", "crm:read", to), ("delegate", "crm:write", to)}
    assert detail["onward"] == [[CRM, "crm:read"], [CRM, "crm:write"]]
    assert detail["to"] == to


def test_without_delegate_to_the_agent_there_is_no_invitation(firm: Any) -> None:
    writer = firm.here.session(user="alice", agent="writer")
    assert code_of(lambda: firm.invite(writer, READ)) == "access_denied"
    assert not firm.here.audit.find(type="exchange.permitted")


def test_onward_is_empty_unless_it_is_said(firm: Any) -> None:
    access = firm.root().access("desk", ["invoke"])
    assert access.onward == frozenset()
    assert code_of(lambda: firm.redeem(access)) == "no_invitation"
    assert firm.sessions() == 1


def test_an_unregistered_right_and_a_resource_without_an_agent_take_nothing_onward(firm: Any) -> None:
    root = firm.root()
    assert code_of(lambda: firm.invite(root, Right(CRM, "crm:nothing"))) == "invalid_scope"
    child = root.delegate("researcher")
    assert code_of(lambda: child.access("crm", ["crm:read"], onward=[READ])) == "invalid_target"


def test_a_stolen_invitation_is_refused_to_every_other_agent(firm: Any) -> None:
    access = firm.invite(firm.root())
    for thief in ("writer", "supervisor"):
        assert code_of(lambda thief=thief: firm.redeem(access, agent=thief)) == "wrong_presenter"
    assert firm.sessions() == 1
    refusals = firm.here.audit.find(type="handoff.denied")
    assert [record["code"] for record in refusals] == ["wrong_presenter"] * 2
    assert firm.redeem(access).rights == {READ}


def test_a_token_for_a_resource_server_is_no_invitation_to_anybody(firm: Any) -> None:
    access = firm.root().delegate("researcher").access("crm", ["crm:read"])
    assert code_of(lambda: firm.redeem(access)) == "no_invitation"
    assert firm.sessions() == 2


def test_a_session_token_is_no_invitation(firm: Any) -> None:
    root = firm.root()
    with pytest.raises(InvalidToken):
        firm.there.redeem(root.present(), agent="researcher")
    assert firm.sessions() == 1


def test_an_impersonation_neither_invites_nor_is_an_invitation(firm: Any) -> None:
    root = firm.root()
    appear = {"mode": Mode.IMPERSONATION, "reason": "INC-4711"}
    assert code_of(lambda: firm.invite(root, **appear)) == "invalid_request"
    access = root.access("desk", ["invoke"], **appear)
    assert code_of(lambda: firm.redeem(access)) == "no_invitation"
    assert firm.sessions() == 1


@pytest.mark.requirement("I7", "I12")
@pytest.mark.parametrize("target", ["session", "user", "agent", "token", "key", "closed"])
def test_after_revoke_no_redemption_and_no_repeat_succeeds(firm: Any, target: str) -> None:
    root = firm.root()
    access, spent = firm.invite(root), firm.invite(root)
    child = firm.redeem(spent)
    if target == "closed":
        root.close()
    else:
        kid = peek(access.reveal()).kid
        name = {"session": root.id, "user": "alice", "agent": "supervisor", "token": access.id, "key": kid}[target]
        firm.here.revoke(**{target: name}, reason="stolen")
        if target == "token":
            firm.here.revoke(token=spent.id, reason="stolen")
    opened = firm.sessions()
    for attempt in (access, spent):
        with pytest.raises((InvalidRequest, SessionEnded)):
            firm.redeem(attempt)
    assert firm.sessions() == opened
    assert child.state == ("open" if target in {"token", "key"} else "closed" if target == "closed" else "revoked")


def test_an_invitation_that_lapsed_opens_nothing(firm: Any) -> None:
    access = firm.invite(firm.root())
    firm.clock.advance(61)
    assert code_of(lambda: firm.redeem(access)) == "token_expired"
    assert firm.sessions() == 1


def test_a_repeat_after_the_invitation_lapsed_gives_the_same_session_and_no_more(firm: Any) -> None:
    access = firm.invite(firm.root())
    child = firm.redeem(access)
    firm.clock.advance(900)
    assert unverified_claims(child.present())["exp"] > firm.clock.now()
    assert child.access("crm", ["crm:read"])
    assert code_of(lambda: firm.redeem(access, key="another")) == "token_expired"
    assert firm.sessions() == 2


@pytest.mark.requirement("I2", "I7")
def test_the_child_ends_with_the_session_that_invited(firm: Any) -> None:
    root = firm.root(ttl=100)
    child = firm.redeem(firm.invite(root))
    assert child.node.exp <= root.node.exp
    assert code_of(lambda: firm.redeem(firm.invite(root), ttl=200)) == "ttl_too_long"
    firm.clock.advance(100)
    assert child.state == "expired"
    with pytest.raises(SessionEnded):
        child.access("crm", ["crm:read"])


def test_policy_decides_again_at_redemption(firm: Any) -> None:
    access = firm.invite(firm.root(), READ, WRITE)
    firm.policy('delegate = { crm = ["crm:read", "crm:write"] }', 'delegate = { crm = ["crm:read"] }')
    child = firm.redeem(access, scopes=["crm:read", "crm:write"])
    assert child.rights == {READ}
    assert child.narrowed == ((WRITE, "default-deny"),)


@pytest.mark.requirement("I1")
def test_a_policy_that_widened_since_widens_no_invitation(firm: Any) -> None:
    root = firm.root(scopes=["invoke", "crm:read"])
    access = firm.invite(root, READ)
    child = firm.redeem(access)
    firm.policy(
        'delegate = { crm = ["crm:read", "crm:write"] }', 'delegate = { crm = ["crm:read", "crm:write", "crm:audit"] }'
    )
    again = firm.redeem(access)
    assert again.rights == child.rights == {READ}
    assert code_of(lambda: firm.redeem(access, key="2", scopes=["crm:write"])) == "invalid_scope"
    assert code_of(lambda: child.access("crm", ["crm:write"])) == "access_denied"


def test_only_what_is_asked_for_is_opened(firm: Any) -> None:
    access = firm.invite(firm.root(), READ, WRITE)
    assert firm.redeem(access, scopes=["crm:write"]).rights == {WRITE}
    assert code_of(lambda: firm.redeem(access, scopes=["crm:read"])) == "idempotency_mismatch"
    assert code_of(lambda: firm.redeem(access, scopes=["crm:nothing"])) in {"invalid_scope", "invalid_request"}


def test_redeeming_again_is_the_same_session_with_a_new_token(firm: Any) -> None:
    access = firm.invite(firm.root())
    child = firm.redeem(access)
    first = child._opened.token
    again = firm.redeem(access)
    assert again.id == child.id
    assert [r["type"] for r in firm.here.audit if r.get("sid") == child.id] == ["session.opened", "session.reissued"]
    assert firm.there.introspect(first).active
    assert firm.redeem(access, key="second").id != child.id


@pytest.mark.requirement("I5")
def test_redemptions_count_as_children_and_as_depth(firm: Any) -> None:
    root = firm.root()
    access = firm.invite(root)
    for number in range(4):
        firm.redeem(access, key=str(number))
    assert code_of(lambda: firm.redeem(access, key="5")) == "too_many_children"
    assert code_of(lambda: root.delegate("researcher")) == "too_many_children"
    deep = firm.here.session(user="alice", agent="supervisor").delegate("researcher", scopes=["crm:read", "invoke"])
    assert deep.depth == 1


@pytest.mark.requirement("I5")
def test_an_invitation_from_the_deepest_session_is_refused_before_it_is_issued(firm: Any) -> None:
    top = firm.here.session(user="alice", agent="researcher")
    one = top.delegate("researcher", scopes=["crm:read"])
    last = one.delegate("researcher", scopes=["crm:read"])
    assert last.depth == 2
    assert code_of(lambda: firm.invite(last, READ)) in {"access_denied", "depth_exceeded"}
    firm.policy("depth_max = 2", "depth_max = 0")
    assert code_of(lambda: firm.invite(firm.root())) == "depth_exceeded"


def test_the_depth_limit_of_now_holds_at_redemption(firm: Any) -> None:
    access = firm.invite(firm.root())
    firm.policy("depth_max = 2", "depth_max = 0")
    assert code_of(lambda: firm.redeem(access)) == "depth_exceeded"
    assert firm.sessions() == 1


def test_the_invited_child_hands_on_like_any_other(firm: Any) -> None:
    child = firm.redeem(firm.invite(firm.root()))
    grandchild = child.delegate("writer", scopes=["crm:read"])
    names = [agent.rpartition("/")[2] for agent in grandchild.chain]
    assert names == ["writer", "researcher", "supervisor"]


def test_an_invitation_is_no_subject_for_access_or_for_a_hand_off_of_its_own_process(firm: Any) -> None:
    access = firm.invite(firm.root())
    engine = firm.there.engine
    researcher = firm.there.agent_id("researcher")
    stolen = HandOffRequest(subject_token=access.reveal(), actor_token=engine.identity(researcher).token, to=researcher)
    with pytest.raises(InvalidToken):
        engine.hand_off(firm.there.agent_id("supervisor"), stolen)
    assert firm.sessions() == 1


def test_the_same_invitation_is_issued_again_by_its_key_and_other_rights_are_a_mismatch(firm: Any) -> None:
    root = firm.root()
    first = firm.invite(root, READ, key="k")
    assert firm.invite(root, READ, key="k").id == first.id
    assert code_of(lambda: firm.invite(root, READ, WRITE, key="k")) == "idempotency_mismatch"


def test_an_agent_that_is_suspended_redeems_nothing(firm: Any) -> None:
    access = firm.invite(firm.root())
    firm.here.revoke(agent="researcher", reason="owned")
    assert code_of(lambda: firm.redeem(access)) == "agent_suspended"
    assert firm.sessions() == 1


def test_a_tampered_grant_opens_nothing(tmp_path: Path) -> None:
    firm = Firm("file", tmp_path, None)
    access = firm.invite(firm.root(), READ)
    with sqlite3.connect(tmp_path / "deputize.db", isolation_level=None) as db:
        db.execute("update grants set leaf = 0 where jti = ?", (access.id,))
    db.close()
    with pytest.raises(IntegrityError):
        firm.redeem(access)
    assert firm.sessions() == 1
    firm.close()


@pytest.mark.requirement("I15")
def test_sync_and_async_redeem_alike(firm: Any) -> None:
    access = firm.invite(firm.root())
    child = asyncio.run(firm.there.aredeem(access.reveal(), agent="researcher", task="look"))
    assert child.rights == {READ}
    assert code_of(lambda: asyncio.run(firm.there.aredeem(access.reveal(), agent="writer"))) == "wrong_presenter"
