"""I15: embedded and remote, sync and async behave alike. Every test runs over every form of the authority."""

import asyncio
from typing import Any

import pytest

from deputize import Mode
from deputize.errors import Denied, DeputizeError
from deputize.runtime import report_rejections, verifier_for
from deputize.wire.jws import unverified_claims

pytestmark = pytest.mark.requirement("I15")

CRM, PAYROLL, LOCAL = "https://crm.example/mcp", "https://payroll.example/mcp", "urn:deputize:tools"
AGENT = "spiffe://example.org/agent/"


async def refused(step: Any) -> DeputizeError:
    with pytest.raises(DeputizeError) as caught:
        await step
    return caught.value


def policy_of(error: DeputizeError) -> str | None:
    assert isinstance(error, Denied)
    return error.denial.policy


def scopes(session: Any) -> list[str]:
    return sorted(right.scope for right in session.rights)


async def test_a_user_starts_a_session_with_what_the_registry_lists(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor", task="Q3")
    assert scopes(session) == ["crm:read", "crm:write", "pay:read", "tool:plan", "tool:search"]
    assert (session.subject, session.agent, session.mode) == ("local|alice", f"{AGENT}supervisor", Mode.ON_BEHALF_OF)
    assert (session.depth, session.chain, session.state) == (0, (f"{AGENT}supervisor",), "open")
    assert session.root == session.id
    assert session.expires_at == place.clock.now() + 3600


async def test_the_log_is_asked_by_the_names_that_people_use(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(session, "researcher")
    await place.session(user="bob", agent="supervisor")
    opened = [record["sid"] for record in place.log.find(user="alice", type="session.opened")]
    assert opened == [session.id, child.id]
    assert {record["agent"] for record in place.log.find(agent="supervisor")} == {f"{AGENT}supervisor"}
    assert {child.id, session.id} <= {record["sid"] for record in place.log.find(session=session.id)}
    assert place.log.find(user="local|alice") == place.log.find(user="alice")


async def test_scopes_that_are_asked_for_narrow_the_session(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor", scopes=["crm:read", "search"])
    assert scopes(session) == ["crm:read", "tool:search"]


async def test_an_agent_starts_on_its_own_behalf(place: Any) -> None:
    session = await place.session(agent="auditor", mode=Mode.SELF)
    assert (session.subject, session.mode, session.chain) == (f"{AGENT}auditor", Mode.SELF, ())
    told = await place.introspect((await place.access(session, "crm", ["crm:read"])).reveal())
    assert (told.sub, told.client_id, told.chain) == (f"{AGENT}auditor", f"{AGENT}auditor", ())


async def test_an_agent_that_may_not_start_is_refused_and_recorded(place: Any) -> None:
    error = await refused(place.session(user="alice", agent="writer"))
    assert error.code == "invalid_scope"
    (record,) = place.log.find(type="session.denied")
    assert record["reference"] == error.reference
    assert place.log.find(type="session.opened") == []


async def test_an_unknown_agent_is_refused(place: Any) -> None:
    error = await refused(place.session(user="alice", agent="resercher"))
    assert error.code == "unknown_agent"


async def test_what_is_handed_on_shrinks_and_the_chain_grows(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(root, "researcher", task="find")
    assert scopes(child) == ["crm:read", "tool:search"]
    assert child.chain == (f"{AGENT}researcher", f"{AGENT}supervisor")
    assert (child.subject, child.root, child.depth) == ("local|alice", root.id, 1)
    grandchild = await place.delegate(child, "writer")
    assert scopes(grandchild) == ["crm:read"]
    assert grandchild.chain == (f"{AGENT}writer", f"{AGENT}researcher", f"{AGENT}supervisor")
    assert grandchild.expires_at <= child.expires_at <= root.expires_at


async def test_what_fell_out_is_told_with_what_dropped_it(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor", scopes=["crm:read"])
    child = await place.delegate(root, "writer", scopes=["crm:read", "crm:write"])
    assert [(right.scope, why) for right, why in child.narrowed] == [("crm:write", "parent-ceiling")]


async def test_a_hand_off_to_somebody_who_is_not_named_is_refused(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    assert (await refused(place.delegate(root, "auditor"))).code == "invalid_scope"
    assert (await refused(place.delegate(root, "nobody"))).code == "unknown_agent"
    assert {record["type"] for record in place.log.find(outcome="denied")} == {"handoff.denied"}


async def test_depth_and_children_are_bounded(place: Any) -> None:
    session = await place.session(user="alice", agent="researcher")
    for _ in range(3):
        session = await place.delegate(session, "researcher", scopes=["crm:read"])
    assert (await refused(place.delegate(session, "researcher", scopes=["crm:read"]))).code == "depth_exceeded"
    root = await place.session(user="bob", agent="researcher")
    for _ in range(5):
        await place.delegate(root, "writer", scopes=["crm:read"])
    assert (await refused(place.delegate(root, "writer", scopes=["crm:read"]))).code == "too_many_children"


async def test_access_is_for_one_resource_and_one_operation(place: Any) -> None:
    child = await place.delegate(await place.session(user="alice", agent="supervisor"), "researcher")
    access = await place.access(child, "crm", ["crm:read"], tool="read_customers")
    claims = unverified_claims(access.reveal())
    assert (claims["aud"], claims["scope"], claims["sub"]) == (CRM, "crm:read", "local|alice")
    assert claims["client_id"] == f"{AGENT}researcher"
    assert claims["act"] == {
        "sub": f"{AGENT}researcher",
        "sub_profile": "ai_agent",
        "act": {"sub": f"{AGENT}supervisor"},
    }
    assert "cnf" not in claims
    assert not access.bound
    assert access.expires_at == place.clock.now() + 60


async def test_a_bound_token_is_bound_to_the_key_of_the_agent_that_asks(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    access = await place.access(session, "payroll", ["pay:read"])
    assert access.bound
    key = place.authority.engine.identity(f"{AGENT}supervisor").client.jkt
    assert unverified_claims(access.reveal())["cnf"] == {"jkt": key}


async def test_access_beyond_the_ceiling_or_by_policy_is_refused_and_recorded(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(root, "writer")
    ceiling = await refused(place.access(child, "payroll", ["pay:write"]))
    assert ceiling.code == "invalid_scope"
    by_rule = await refused(place.access(child, "crm", ["crm:write"], tool="drop_table"))
    assert (by_rule.code, policy_of(by_rule)) == ("access_denied", "no-writes-at-night")
    by_nobody = await refused(place.access(root, "crm", ["crm:read"]))
    assert (by_nobody.code, policy_of(by_nobody)) == ("access_denied", "default-deny")
    found = place.log.find(type="exchange.denied")
    assert [record["reference"] for record in found] == [ceiling.reference, by_rule.reference, by_nobody.reference]
    assert place.log.find(type="exchange.permitted") == []


async def test_a_tool_call_is_permitted_before_its_body_and_told_of_after_it(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    ran: list[str] = []
    await place.call(session, "plan", lambda call: ran.append(call.policies[0]), args={"n": 1}, call_id="c1")
    assert ran == ["agent.supervisor.use"]
    started, finished = place.log.find(root=session.id, tool="plan")
    assert (started["type"], started["outcome"]) == ("tool.started", "permitted")
    assert (finished["type"], finished["call_id"]) == ("tool.finished", "c1")
    assert len(started["detail"]["arguments_digest"]) == 32


async def test_a_refused_tool_call_runs_nothing(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    ran: list[Any] = []
    error = await refused(place.call(session, "search", ran.append))
    assert error.code == "access_denied"
    assert ran == []
    assert [record["type"] for record in place.log.find(tool="search")] == ["tool.denied"]


async def test_a_tool_that_fails_is_recorded_as_failed_and_its_error_goes_on(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")

    def fails(call: Any) -> None:
        raise ValueError("canary of the exception's text")

    with pytest.raises(ValueError):
        await place.call(session, "plan", fails)
    last = place.log.find(tool="plan")[-1]
    assert (last["type"], last["detail"]) == ("tool.failed", {"error": "ValueError"})


async def test_a_tool_that_waits_is_recorded_as_suspended_and_is_one_call_when_it_goes_on(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")

    def waits(call: Any) -> None:
        call.suspend()
        raise ValueError("how a framework suspends")

    with pytest.raises(ValueError):
        await place.call(session, "plan", waits, call_id="c1")
    last = place.log.find(tool="plan")[-1]
    assert (last["type"], last["outcome"], last.get("detail")) == ("tool.suspended", "noted", None)
    assert [(call.tool, call.outcome) for call in session.tree().calls] == [("plan", "suspended")]
    await place.call(session, "plan", call_id="c2")
    await place.call(session, "plan", call_id="c1")
    assert [(call.call_id, call.outcome) for call in session.tree().calls] == [("c1", "done"), ("c2", "done")]


async def test_a_frameworks_own_tool_runs_by_its_list(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    await place.call(session, "write_todos")
    assert place.log.find(tool="write_todos")[0]["policies"] == ["registry.framework-tools"]


async def test_closing_ends_everything_below(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(root, "researcher")
    token = (await place.access(child, "crm", ["crm:read"])).reveal()
    assert (await place.introspect(token)).active
    await place.close(root)
    assert (root.state, child.state) == ("closed", "closed")
    assert not (await place.introspect(token)).active
    assert (await refused(place.access(child, "crm", ["crm:read"]))).code == "session_closed"
    assert (await refused(place.delegate(child, "writer"))).code == "session_closed"
    assert (await refused(place.call(child, "search"))).code == "session_closed"
    await place.close(root)


async def test_revoking_ends_everything_below_and_nothing_beside(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    left, right = await place.delegate(root, "researcher"), await place.delegate(root, "writer")
    token = (await place.access(left, "crm", ["crm:read"])).reveal()
    done = await place.revoke(left, "looks odd")
    assert (done.kind, done.target, done.sessions) == ("session", left.id, 1)
    assert (root.state, left.state, right.state) == ("open", "revoked", "open")
    assert not (await place.introspect(token)).active
    assert (await refused(place.access(left, "crm", ["crm:read"]))).code == "session_revoked"
    await place.access(right, "crm", ["crm:read"])


async def test_a_session_expires_and_takes_its_children_along(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor", ttl=600)
    child = await place.delegate(root, "researcher")
    place.clock.advance(601)
    assert (root.state, child.state) == ("expired", "expired")
    assert (await refused(place.access(child, "crm", ["crm:read"]))).code == "session_expired"


async def test_a_session_goes_on_past_the_life_of_its_token(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(root, "researcher")
    for _ in range(5):
        place.clock.advance(500)
        await place.access(child, "crm", ["crm:read"])
    assert child.state == "open"


async def test_lifetimes_above_a_limit_are_refused_and_omitted_ones_are_cut(place: Any) -> None:
    assert (await refused(place.session(user="alice", agent="supervisor", ttl=10**6))).code == "ttl_too_long"
    root = await place.session(user="alice", agent="supervisor", ttl=100)
    assert (await refused(place.delegate(root, "researcher", ttl=200))).code == "ttl_too_long"
    assert (await place.delegate(root, "researcher")).expires_at == root.expires_at


async def test_a_key_gives_the_same_session_again(place: Any) -> None:
    first = await place.session(user="alice", agent="supervisor", key="thread-1")
    again = await place.session(user="alice", agent="supervisor", key="thread-1")
    assert again.id == first.id
    other = await place.session(user="bob", agent="supervisor", key="thread-1")
    assert other.id != first.id
    error = await refused(place.session(user="alice", agent="supervisor", key="thread-1", scopes=["crm:read"]))
    assert error.code == "idempotency_mismatch"
    child = await place.delegate(first, "researcher", key="call-1")
    assert (await place.delegate(first, "researcher", key="call-1")).id == child.id


async def test_an_expired_root_is_continued_by_a_new_one_that_is_linked_to_it(place: Any) -> None:
    asked = {"user": "alice", "agent": "supervisor"}
    old = await place.session(**asked, key="thread-1", ttl=600)
    live = await place.session(**asked)
    place.clock.advance(601)
    error = await refused(place.session(**asked, key="thread-1"))
    assert (error.code, error.denial.session) == ("session_expired", old.id)
    assert (await refused(place.session(**asked, continues=live.id))).code == "invalid_request"
    assert (await refused(place.session(user="bob", agent="supervisor", continues=old.id))).code == "invalid_request"
    new = await place.session(**asked, key="thread-1b", continues=old.id)
    assert (new.id, new.reissued, old.state) == (new.id, False, "expired")
    assert place.log.find(session=new.id)[0]["detail"]["continues"] == old.id
    again = await place.session(**asked, key="thread-1b", continues=old.id)
    assert (again.id, again.reissued) == (new.id, True)
    child = await place.delegate(new, "researcher")
    for _ in range(3):  # past the life of its first token
        place.clock.advance(500)
        await place.access(child, "crm", ["crm:read"])


async def test_a_root_that_was_cut_off_is_not_continued(place: Any) -> None:
    cut = await place.session(user="alice", agent="supervisor", key="thread-1", ttl=600)
    await place.revoke(cut, "looks odd")
    place.clock.advance(601)
    error = await refused(place.session(user="alice", agent="supervisor", key="thread-1"))
    assert (error.code, error.denial.session) == ("session_revoked", cut.id)
    error = await refused(place.session(user="alice", agent="supervisor", continues=cut.id))
    assert error.code == "invalid_request"


async def test_a_key_gives_the_same_access_again(place: Any) -> None:
    child = await place.delegate(await place.session(user="alice", agent="supervisor"), "researcher")
    first = await place.access(child, "crm", ["crm:read"], key="k")
    again = await place.access(child, "crm", ["crm:read"], key="k")
    assert unverified_claims(first.reveal()) == unverified_claims(again.reveal())
    assert len(place.log.find(type="exchange.permitted")) == 1


async def test_a_link_is_the_agents_own_and_hangs_in_the_tree(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    link = await place.delegate(root, "researcher", mode=Mode.SELF, scopes=["crm:read"])
    assert (link.subject, link.chain, link.root) == (f"{AGENT}researcher", (), root.id)
    assert (await refused(place.delegate(root, "writer", mode=Mode.SELF))).code == "invalid_scope"
    await place.revoke(root, "end")
    assert link.state == "revoked"


async def test_impersonation_needs_grant_policy_and_reason_and_is_told_by_introspection_alone(place: Any) -> None:
    writer = await place.delegate(await place.session(user="alice", agent="supervisor"), "writer")
    asked = {"mode": Mode.IMPERSONATION, "reason": "INC-4711"}
    access = await place.access(writer, "crm", ["crm:read"], **asked)
    claims = unverified_claims(access.reveal())
    assert (claims["sub"], claims["client_id"]) == ("local|alice", f"{AGENT}writer")
    assert "act" not in claims
    told = await place.introspect(access.reveal())
    assert told.chain == (f"{AGENT}writer", f"{AGENT}supervisor")
    researcher = await place.delegate(await place.session(user="alice", agent="supervisor"), "researcher")
    assert (await refused(place.access(researcher, "crm", ["crm:read"], **asked))).code == "access_denied"


async def test_the_tree_shows_who_did_what(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(root, "researcher")
    await place.call(root, "plan")
    await place.call(child, "search")
    await refused(place.call(child, "plan"))
    tree = (await place.tree(root)).to_dict()
    assert (tree["agent"], tree["state"], tree["subject"]) == ("supervisor", "open", "local|alice")
    assert [call["outcome"] for call in tree["calls"]] == ["done"]
    (below,) = tree["children"]
    assert [(call["tool"], call["outcome"]) for call in below["calls"]] == [("search", "done"), ("plan", "denied")]


async def test_a_user_and_an_agent_can_be_cut_off(place: Any) -> None:
    mine = await place.session(user="alice", agent="supervisor")
    other = await place.session(user="bob", agent="researcher")
    place.engine.revoke(_kind("user"), "local|alice", reason="left")
    assert (mine.state, other.state) == ("revoked", "open")
    place.engine.revoke(_kind("agent"), f"{AGENT}researcher", reason="odd")
    assert other.state == "revoked"
    error = await refused(place.session(user="carol", agent="researcher"))
    assert error.code in {"agent_suspended", "invalid_client"}  # who authenticates nobody is told nothing else


async def test_a_session_whose_agent_was_suspended_can_still_be_closed_and_tells_its_state(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    child = await place.delegate(session, "researcher")
    place.engine.revoke(_kind("agent"), f"{AGENT}researcher", reason="odd")
    place.authority.engine.renew_identities()
    assert child.state == "revoked"
    error = await refused(place.call(child, "search"))
    assert error.code in {"session_revoked", "agent_suspended", "invalid_client"}
    await place.close(child)
    await place.close(session)
    assert session.state == "closed"


async def test_what_is_malformed_is_refused_alike(place: Any) -> None:
    session = await place.session(user="alice", agent="supervisor")
    for step, code in (
        (place.session(user="http://alice", agent="supervisor"), "invalid_request"),
        (place.session(agent="supervisor"), "invalid_request"),
        (place.session(user="alice", agent="supervisor", scopes=[]), "invalid_scope"),
        (place.session(user="alice", agent="supervisor", ttl=-1), "invalid_ttl"),
        (place.session(user="alice", agent="supervisor", task="x" * 5000), "invalid_request"),
        (place.access(session, "crm", []), "invalid_scope"),
        (place.access(session, "nowhere", ["crm:read"]), "invalid_target"),
        (place.access(session, "local", ["tool:plan"]), "invalid_target"),
        (place.access(session, "crm", ["crm:none"]), "invalid_scope"),
        (place.call(session, "x" * 200), "invalid_request"),
    ):
        assert (await refused(step)).code == code
    assert session.state == "open"


async def test_the_log_holds_the_same_records_in_the_same_order(place: Any) -> None:
    root = await place.session(user="alice", agent="supervisor", task="Q3")
    child = await place.delegate(root, "researcher")
    await place.call(child, "search", call_id="1")
    await place.access(child, "crm", ["crm:read"], tool="read_customers")
    await refused(place.access(child, "crm", ["crm:write"]))
    await place.close(child)
    await place.close(root)
    kinds = [record["type"] for record in place.log.find(root=root.id)]
    assert kinds == [
        "session.opened",
        "session.opened",
        "tool.started",
        "tool.finished",
        "exchange.permitted",
        "exchange.denied",
        "session.closed",
        "session.closed",
    ]
    assert place.log.verify().ok
    who = {(record["agent"], record["sub"]) for record in place.log.find(root=root.id)}
    assert who == {(f"{AGENT}supervisor", "local|alice"), (f"{AGENT}researcher", "local|alice")}


async def test_a_resource_server_verifies_without_asking_and_refuses_what_was_revoked(place: Any) -> None:
    child = await place.delegate(await place.session(user="alice", agent="supervisor"), "researcher")
    token = (await place.access(child, "crm", ["crm:read"])).reveal()
    verifier = verifier_for(place.authority, CRM)
    caller = verifier.verify(token, scopes=["crm:read"])
    assert (caller.subject, caller.session, caller.root) == ("local|alice", child.id, child.root)
    assert caller.chain == (f"{AGENT}researcher", f"{AGENT}supervisor")
    place.authority.record_call(
        sid=caller.session,
        txn=caller.root,
        tool="read_customers",
        outcome="started",
        resource=CRM,
        sub=caller.subject,
        agent=caller.agent,
        jti=caller.jti,
    )
    (told,) = place.log.find(type="resource.call_started")
    assert (told["agent"], told["tool"], told["chain"]) == (caller.agent, "read_customers", list(caller.chain))
    report_rejections(place.authority, resource=CRM, code="invalid_token", client="192.0.2.1", count=3)
    assert place.log.find(type="resource.rejected")[0]["detail"]["count"] == 3
    await place.revoke(child, "odd")

    def answer() -> str:
        try:
            verifier.verify(token)
        except DeputizeError as error:
            return error.code
        return "taken"

    async with asyncio.timeout(10):
        while (code := await asyncio.to_thread(answer)) == "taken":
            pass
    assert code == "token_revoked"


def _kind(name: str) -> Any:
    from deputize.model.revocation import Kind

    return Kind(name)
