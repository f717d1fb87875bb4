"""No order of operations gets more than was there: scopes, lifetimes, modes, keys, stolen grants."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deputize import Mode, Right
from deputize.authority import access, opening
from deputize.model.decision import Narrowing
from deputize.model.failure import DeputizeError
from deputize.wire import jws, token_exchange

AGENT = "spiffe://example.org/agent/"
CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
READ, WRITE = Right(CRM, "crm:read"), Right(CRM, "crm:write")


def crm(session: Any) -> set[str]:
    return {right.scope for right in session.rights if right.resource == CRM}


@pytest.mark.requirement("A-06")
@pytest.mark.requirement("I1")
def test_what_a_child_gave_up_does_not_come_back_to_it_or_below(firm: Any, broken: Any, code_of: Any) -> None:
    root = firm.root(scopes=["crm:read"], resources=["crm"])

    def generous(panel: Any, parent: Any, to: str, requested: Any, **_: Any) -> Any:
        return Narrowing(frozenset(requested))

    with broken(opening, "narrow_child", generous):
        assert WRITE in root.delegate("writer").rights
    assert crm(root.delegate("writer")) == {"crm:read"}
    assert code_of(lambda: root.delegate("writer", scopes=["crm:write"], resources=["crm"])) == "invalid_scope"
    below = root.delegate("reader").delegate("writer")
    assert crm(below) == {"crm:read"}
    assert code_of(lambda: below.access("crm", ["crm:write"])) == "access_denied"


@pytest.mark.requirement("A-06")
@pytest.mark.requirement("TX-12")
def test_asking_again_and_again_is_no_step_up(firm: Any, broken: Any, code_of: Any) -> None:
    """A refused scope joins nothing: neither the next request, nor the session, nor a new token of it."""
    child = firm.root(scopes=["crm:read"], resources=["crm"]).delegate("writer")
    genuine = access.permit_use

    def stepping_up(case: Any, node: Any, right: Any, **more: Any) -> None:
        genuine(case, replace(node, ceiling=node.ceiling | {right}), right, **more)

    with broken(access, "permit_use", stepping_up):
        assert child.access("crm", ["crm:read", "crm:write"]).scopes == {"crm:read", "crm:write"}
    for scopes in (["crm:write"], ["crm:read", "crm:write"], ["crm:write", "crm:read"]):
        assert code_of(lambda scopes=scopes: child.access("crm", scopes)) == "access_denied"
        assert child.access("crm", ["crm:read"]).scopes == {"crm:read"}
    firm.clock.advance(880)  # the session token is minted again
    assert crm(child) == {"crm:read"}
    assert code_of(lambda: child.access("crm", ["crm:write"])) == "access_denied"


@pytest.mark.requirement("A-06")
@pytest.mark.requirement("TT-02")
@pytest.mark.parametrize(
    "scopes",
    [
        [],
        [""],
        ["crm:read crm:write"],
        ["crm:read", ""],
        ["crm:read\tcrm:write"],
        ["*"],
        ["crm:*"],
        ["CRM:READ"],
        [" "],
    ],
)
def test_a_missing_empty_or_joined_scope_never_means_more(firm: Any, code_of: Any, scopes: list[str]) -> None:
    child = firm.root().delegate("writer")
    before = len(firm.records(type="exchange.permitted"))
    assert code_of(lambda: child.access("crm", scopes)) == "invalid_scope"
    assert code_of(lambda: firm.access("writer", child.present(), scopes=frozenset(scopes))) == "invalid_scope"
    assert len(firm.records(type="exchange.permitted")) == before


@pytest.mark.requirement("TT-02")
@pytest.mark.requirement("AT-06")
def test_a_right_that_nobody_registered_is_refused_also_beside_one_that_is(firm: Any, code_of: Any) -> None:
    """Asked for as a server would be, not through the library's own check of names."""
    root = firm.root()
    token, actor = root.present(), firm.identity("reader")
    for unknown in (Right(CRM, "crm:all"), Right("https://elsewhere.example", "crm:read"), Right("", "")):
        asked = frozenset({READ, unknown})
        opening_request = replace(root._request, requested=asked, key="k")
        handing_on = {"to": "reader", "requested": asked}
        before = len(firm.records(type="session.opened"))
        assert code_of(lambda r=opening_request: firm.engine.open_root(AGENT + "boss", r)) == "invalid_scope"
        assert code_of(lambda h=handing_on: firm.hand_off("boss", token, actor, **h)) == "invalid_scope"
        assert len(firm.records(type="session.opened")) == before


@pytest.mark.requirement("A-06")
@pytest.mark.requirement("TX-01")
@pytest.mark.parametrize(
    "more",
    [
        [("scope", "")],
        [("scope", "crm:read crm:read")],
        [("scope", "crm:read  crm:write")],
        [("scope", "crm:read"), ("scope", "crm:write")],
        [("scope", "crm:read"), ("scope", "")],
        [("scope", "crm:read"), ("resource", WIKI)],
        [("scope", "crm:read"), ("audience", "wiki")],
        [("scope", "crm:read"), ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token")],
        [("scope", "crm:read"), ("deputize_mode", "everything")],
        [("scope", "crm:read"), ("subject_token", "another")],
    ],
)
def test_a_form_that_says_a_thing_twice_or_not_at_all_is_refused(code_of: Any, more: list[tuple[str, str]]) -> None:
    form = [
        ("grant_type", token_exchange.GRANT_TYPE),
        ("subject_token", "t"),
        ("subject_token_type", token_exchange.SESSION),
        ("resource", CRM),
    ]
    assert token_exchange.parse_form([*form, ("scope", "crm:read")]).scope == ("crm:read",)
    assert code_of(lambda: token_exchange.parse_form([*form, *more]))


@pytest.mark.requirement("I1")
@pytest.mark.requirement("I2")
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["boss", "reader", "writer"]),
            st.none() | st.sets(st.sampled_from(["crm:read", "crm:write"])),
            st.sampled_from([None, None, 10, 60, 4000]),
        ),
        max_size=5,
    )
)
def test_no_chain_of_hand_offs_holds_more_or_lasts_longer_than_the_one_above(firm: Any, steps: Any) -> None:
    session = firm.root()
    for to, scopes, ttl in steps:
        options = {} if scopes is None else {"scopes": sorted(scopes), "resources": ["crm"]}
        try:
            child = session.delegate(to, ttl=ttl, **options)
        except DeputizeError:
            continue
        assert child.rights <= session.rights
        assert child.expires_at <= session.expires_at
        assert scopes is None or crm(child) <= scopes
        session = child


@pytest.mark.requirement("A-08")
def test_a_session_on_somebodys_behalf_gives_no_token_of_the_agents_own(firm: Any, code_of: Any) -> None:
    child = firm.root().delegate("reader")
    before = len(firm.records(type="exchange.permitted"))
    assert code_of(lambda: child.access("crm", ["crm:read"], mode=Mode.SELF)) == "invalid_request"
    assert len(firm.records(type="exchange.permitted")) == before
    with firm.authority.session(agent="reader", mode=Mode.SELF) as own:
        assert own.access("crm", ["crm:read"], mode=Mode.SELF)


@pytest.mark.requirement("A-08")
@pytest.mark.requirement("I3")
def test_impersonation_falls_back_to_nothing_and_hands_nothing_on(firm: Any, code_of: Any) -> None:
    reader = firm.root().delegate("reader")
    before = len(firm.records(type="exchange.permitted"))
    for options in ({"user": "bob"}, {"user": None}, {"reason": ""}, {"reason": None}, {"reason": "x" * 257}):
        given_options = {"mode": Mode.IMPERSONATION, "reason": "INC-4711", **options}
        assert code_of(lambda given_options=given_options: reader.access("crm", ["crm:read"], **given_options))
    assert len(firm.records(type="exchange.permitted")) == before
    writer = firm.root().delegate("writer")
    token = writer.access("crm", ["crm:read"], mode=Mode.IMPERSONATION, reason="INC-4711").reveal()
    assert "act" not in jws.verify(token, typ="at+jwt", key_for=firm.engine.parts.keys.verifying)
    assert code_of(lambda: firm.access("writer", token)) == "wrong_type"
    bob = firm.root(user="bob").delegate("writer")
    for user in (None, "alice"):
        impersonate = {"mode": Mode.IMPERSONATION, "reason": "INC-4711", "user": user}
        assert code_of(lambda impersonate=impersonate: bob.access("crm", ["crm:read"], **impersonate))


@pytest.mark.requirement("A-08")
@pytest.mark.requirement("DP-08")
def test_a_bound_resource_never_gets_a_bearer(firm: Any, broken: Any, code_of: Any) -> None:
    from deputize.runtime import verifier_for
    from deputize.verifier import Verifier

    held = firm.root().delegate("reader").access("crm", ["crm:read"])
    assert held.bound
    assert set(held.headers("GET", CRM)) == {"Authorization", "DPoP"}
    verifier = verifier_for(firm.authority, CRM)
    with broken(Verifier, "_check_binding", lambda *_: None):
        assert verifier.verify(held.reveal())
    for binding in ("bearer", "dpop", "optional"):
        headers = {"Authorization": f"Bearer {held.reveal()}"}
        assert code_of(lambda b=binding, h=headers: verifier.verify(h, binding=b)) == "wrong_binding"


# --- may_act


@pytest.mark.requirement("A-07")
@pytest.mark.requirement("TX-19")
def test_may_act_lets_the_named_agent_act_and_nobody_else(firm: Any, broken: Any, code_of: Any) -> None:
    root = firm.root()
    token = firm.forged(root, may_act=AGENT + "reader")
    writer = firm.identity("writer")
    from deputize.wire import session_token

    with broken(session_token, "may_act", lambda *_: None):
        assert firm.hand_off("boss", token, writer, "writer").node.agent == AGENT + "writer"
    firm.engine.forget_inputs()
    assert code_of(lambda: firm.hand_off("boss", token, writer, "writer")) == "may_act"
    child = firm.hand_off("boss", token, firm.identity("reader"), "reader")
    assert "may_act" not in jws.verify(
        child.token, typ="vnd.deputize.session+jwt", key_for=firm.engine.parts.keys.verifying
    )


@pytest.mark.requirement("A-07")
def test_may_act_permits_nothing_that_policy_does_not(firm: Any, code_of: Any) -> None:
    reader = firm.root().delegate("reader")
    token = firm.forged(reader, may_act=AGENT + "boss")
    assert code_of(lambda: firm.hand_off("reader", token, firm.identity("boss"), "boss")) == "invalid_scope"


@pytest.mark.requirement("A-07")
@pytest.mark.requirement("TX-19")
@pytest.mark.parametrize(
    "stated",
    [
        None,
        True,
        1,
        "",
        AGENT + "writer",
        [],
        [{"sub": AGENT + "writer"}],
        {},
        {"iss": "http://127.0.0.1:8400"},
        {"sub": [AGENT + "writer"]},
        {"sub": None},
        {"sub": ""},
        {"sub": AGENT + "writer", "iss": "https://elsewhere.example"},
        {"sub": AGENT + "writer", "iss": None},
        {"sub": AGENT + "writer", "email": "w@example.org"},
        {"sub": AGENT + "writer ", "iss": "http://127.0.0.1:8400"},
        {"sub": AGENT + "write"},
        {"sub": AGENT.upper() + "writer"},
    ],
    ids=repr,
)
def test_a_may_act_that_does_not_name_the_actor_exactly_denies_it(firm: Any, code_of: Any, stated: Any) -> None:
    root = firm.root()
    keys = firm.engine.parts.keys
    said = jws.verify(root.present(), typ="vnd.deputize.session+jwt", key_for=keys.verifying)
    token = jws.sign("vnd.deputize.session+jwt", {**said, "may_act": stated}, keys.signer())
    before = len(firm.records(type="session.opened"))
    code = code_of(lambda: firm.hand_off("boss", token, firm.identity("writer"), "writer"))
    assert code in {"malformed_token", "may_act"}
    assert len(firm.records(type="session.opened")) == before


# --- keys of repeats


@pytest.mark.requirement("A-06")
def test_a_key_is_nobody_elses_whoever_knows_it(firm: Any, broken: Any) -> None:
    """Other agent, other tree, other user, other operation: each is another row, and gets its own."""
    root, again = firm.root(key="k"), firm.root(key="k", user="bob")
    other = firm.authority.session(agent="reader", user="alice", key="k")
    child, cousin = root.delegate("reader", key="k"), again.delegate("reader", key="k")
    below = child.delegate("writer", key="k")
    sessions = [root, again, other, child, cousin, below]
    assert len({session.id for session in sessions}) == len(sessions)
    tokens = [session.access("crm", ["crm:read"], key="k").id for session in (other, child, cousin, below)]
    assert len(set(tokens)) == len(tokens)
    with broken(opening, "key_digest", lambda *given: given[3]):
        shared = firm.root(key="shared", user="carol")
        mine = firm.engine.open_root(AGENT + "boss", shared._request)
        assert mine.node.sid == shared.id


@pytest.mark.requirement("A-06")
@pytest.mark.parametrize(
    "change",
    [
        {"to": "writer"},
        {"scopes": ["crm:read"], "resources": ["crm"]},
        {"task": "another"},
        {"mode": Mode.SELF, "to": "loner"},
    ],
    ids=repr,
)
def test_a_key_with_other_parameters_returns_nothing(firm: Any, broken: Any, code_of: Any, change: Any) -> None:
    root = firm.root()
    first = root.delegate("reader", key="k", task="one")
    options = {"to": "reader", "task": "one", "key": "k", **change}
    with broken(opening, "recall", lambda tx, key, _: tx.remembered(key)):
        try:
            assert root.delegate(**options).id == first.id
        except DeputizeError as error:  # another agent's session is not given out all the same
            assert error.code == "integrity_error"  # noqa: PT017  # which of the two holds is the case's
            assert {"to"} & change.keys()
    before = len(firm.records(type="session.reissued"))
    assert code_of(lambda: root.delegate(**options)) == "idempotency_mismatch"
    assert len(firm.records(type="session.reissued")) == before


def test_a_key_does_not_bring_an_ended_session_back(firm: Any, broken: Any, code_of: Any) -> None:
    root = firm.root()
    child = root.delegate("reader", key="k")
    child.close()
    with broken(opening, "require_session", lambda *_, **__: None):
        assert root.delegate("reader", key="k").id == child.id
    for _ in range(2):
        assert code_of(lambda: root.delegate("reader", key="k")) == "session_closed"
    root.close()
    assert code_of(lambda: root.delegate("reader", key="k")) == "session_closed"


@pytest.mark.requirement("I7")
@pytest.mark.requirement("TT-03")
def test_a_key_does_not_bring_a_revoked_token_back(firm: Any, broken: Any, code_of: Any) -> None:
    child = firm.root().delegate("reader")
    first = child.access("crm", ["crm:read"], key="k")
    firm.authority.revoke(token=first.id, reason="leaked")
    with broken(access, "grant_killed", lambda *_: False):
        assert child.access("crm", ["crm:read"], key="k").id == first.id
    assert code_of(lambda: child.access("crm", ["crm:read"], key="k")) == "token_revoked"
    assert firm.authority.introspect(child.access("crm", ["crm:read"], key="k2").reveal()).active


@pytest.mark.requirement("I7")
@pytest.mark.requirement("I13")
def test_who_is_cut_off_is_not_impersonated_by_what_was_issued_before(firm: Any, code_of: Any) -> None:
    """No root of alice stands above a session in which the writer acts for itself: the token names her alone."""
    from deputize.runtime import verifier_for

    with firm.authority.session(agent="writer", mode=Mode.SELF) as own:
        as_alice = {"mode": Mode.IMPERSONATION, "user": "alice", "reason": "INC-4711"}
        held = own.access("crm", ["crm:read"], key="k", **as_alice)
        verifier = verifier_for(firm.authority, CRM)
        firm.authority.revoke(user="alice", reason="left")
        assert not firm.authority.introspect(held.reveal()).active
        headers = held.headers("GET", CRM)
        check = {"method": "GET", "url": CRM, "binding": "dpop"}
        assert code_of(lambda: verifier.verify(headers, **check)) == "token_revoked"
        assert code_of(lambda: own.access("crm", ["crm:read"], key="k", **as_alice)) == "token_revoked"
