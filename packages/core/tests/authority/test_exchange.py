"""The steps of the exchange, each attacked: who presents, which token, which session."""

import base64
from typing import Any

import pytest

from deputize import InvalidRequest, InvalidToken
from deputize.model.request import AccessRequest, HandOffRequest

RESEARCHER = "spiffe://example.org/agent/researcher"
SUPERVISOR = "spiffe://example.org/agent/supervisor"
WRITER = "spiffe://example.org/agent/writer"


def access_of(token: str) -> AccessRequest:
    return AccessRequest(subject_token=token, resource="crm", scopes=frozenset({"crm:read"}))


def code_of(attempt: Any) -> str:
    with pytest.raises(InvalidRequest) as refused:
        attempt()
    return refused.value.code


@pytest.mark.requirement("A-01")
def test_a_session_token_is_worth_nothing_to_anybody_but_its_holder(world: Any) -> None:
    child = world.root().delegate("researcher")
    engine = world.authority.engine
    for thief in (SUPERVISOR, WRITER):
        assert code_of(lambda thief=thief: engine.access(thief, access_of(child.present()))) == "wrong_presenter"
    refused = world.authority.audit.find(type="exchange.denied")
    assert [record["code"] for record in refused] == ["wrong_presenter"] * 2


@pytest.mark.requirement("A-09")
@pytest.mark.requirement("TX-06")
def test_only_a_session_token_is_a_subject_and_only_an_identity_an_actor(world: Any) -> None:
    root = world.root()
    child = root.delegate("researcher")
    engine = world.authority.engine
    access = child.access("crm", ["crm:read"]).reveal()
    identity = engine.identity(RESEARCHER).token
    session = root.present()
    for wrong in (access, identity, "", "a.b.c", "null", session[:-2]):
        assert code_of(lambda wrong=wrong: engine.access(RESEARCHER, access_of(wrong)))
    for wrong in (access, session, child.present(), ""):
        request = HandOffRequest(subject_token=session, actor_token=wrong, to="researcher")
        assert code_of(lambda request=request: engine.hand_off(SUPERVISOR, request))
    request = HandOffRequest(subject_token=session, actor_token=engine.identity(WRITER).token, to="researcher")
    assert code_of(lambda: engine.hand_off(SUPERVISOR, request)) == "wrong_actor"


@pytest.mark.requirement("A-01")
def test_a_session_token_that_was_altered_is_refused_whatever_was_altered(world: Any) -> None:
    child = world.root().delegate("researcher")
    head, body, signature = child.present().split(".")
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for old, new in ((b"researcher", b"supervisor"), (b"local|alice", b"local|mallo"), (b'"exp":1', b'"exp":9')):
        changed = base64.urlsafe_b64encode(raw.replace(old, new, 1)).rstrip(b"=").decode()
        forged = f"{head}.{changed}.{signature}"
        code = code_of(lambda forged=forged: world.authority.engine.access(RESEARCHER, access_of(forged)))
        assert code == "invalid_signature"


def test_a_session_token_of_another_authority_is_refused(world: Any, tmp_path: Any) -> None:
    from deputize import Authority

    with Authority(agents={"researcher": ["search"]}, clock=world.clock) as other:
        token = other.session(user="alice", agent="researcher").present()
        assert code_of(lambda: world.authority.engine.access(RESEARCHER, access_of(token)))


@pytest.mark.requirement("TT-04")
@pytest.mark.requirement("I8")
def test_every_token_has_exactly_one_permit_record_whose_hash_it_carries(world: Any) -> None:
    from deputize.audit.record import rec_claim
    from deputize.wire import json_strict
    from deputize.wire.base64url import decode_text

    child = world.root().delegate("researcher")
    tokens = [child.access("crm", ["crm:read"]).reveal() for _ in range(3)] + [child.present()]
    store = world.authority.engine.parts.store
    for token in tokens:
        said = json_strict.loads(decode_text(token.split(".")[1]))
        records = store.read(lambda tx, jti=said["jti"]: tx.find(jti=jti))
        assert [rec_claim(record) for record in records] == [said["urn:deputize:ctx"]["rec"]]


@pytest.mark.requirement("I16")
def test_every_refusal_of_an_authenticated_caller_is_recorded_with_what_refused_it(world: Any) -> None:
    child = world.root().delegate("researcher")
    engine = world.authority.engine
    before = len(world.authority.audit)
    attempts = [
        lambda: engine.access(SUPERVISOR, access_of(child.present())),
        lambda: child.access("crm", ["crm:write"]),
        lambda: child.access("nowhere", ["crm:read"]),
        lambda: child.delegate("nobody"),
        lambda: child.tool_call("drop_table").start(),
        lambda: child.access("crm", []),
    ]
    for attempt in attempts:
        with pytest.raises(Exception) as refused:  # whichever of ours
            attempt()
        records = world.authority.audit.find(reference=refused.value.reference)
        assert len(records) == 1
        assert records[0]["outcome"] == "denied"
        assert records[0]["policies"]
    assert len(world.authority.audit) == before + len(attempts)


def test_tools_of_the_own_process_take_no_token(world: Any) -> None:
    child = world.root().delegate("researcher")
    assert code_of(lambda: child.access("local", ["tool:search"])) == "invalid_target"


def test_onward_is_refused_while_no_agent_stands_behind_a_resource(world: Any) -> None:
    child = world.root().delegate("researcher")
    assert code_of(lambda: child.access("crm", ["crm:read"], onward=list(child.rights))) == "invalid_target"


@pytest.mark.requirement("BCP-04")
def test_suspicious_names_are_refused_as_users(world: Any) -> None:
    for name in (
        "spiffe://example.org/agent/researcher",
        "https://evil.example",
        "a b",
        "",
        "x\n",
        "a|",
        "é",
        "a" * 201,
    ):
        assert code_of(lambda name=name: world.root(user=name)) == "invalid_request"


def test_an_error_from_the_outside_is_one_of_ours(world: Any) -> None:
    from deputize import DeputizeError

    root = world.root()
    for attempt in (
        lambda: root.delegate("x" * 100_000),
        lambda: root.delegate("\ud800"),
        lambda: root.access("\x00", ["crm:read"]),
        lambda: root.access("crm", ["\ud800"]),
        lambda: root.tool_call("\ud800" * 3).start(),
        lambda: root.tool_call("").start(),
        lambda: world.root(task="t" * 5000),
    ):
        with pytest.raises(DeputizeError):
            attempt()


def test_a_bad_token_says_which_check_failed_and_never_what_it_said(world: Any) -> None:
    child = world.root().delegate("researcher")
    token = child.present()
    with pytest.raises(InvalidToken) as refused:
        world.authority.engine.access(SUPERVISOR, access_of(token))
    assert token not in str(refused.value)
    assert "alice" not in str(refused.value)
