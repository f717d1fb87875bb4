"""An invitation over HTTP: invited in one process, redeemed in another, under that process's own identity."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deputize import Denied, InvalidRequest, Mode, Right, SessionEnded
from deputize.client.http import Sending, fields
from deputize.model.revocation import Kind
from deputize.wire import terms
from deputize.wire import token_exchange as tx
from deputize.wire.jws import unverified_claims
from deputize.wire.terms import Terms
from deputize.wire.thumbprint import thumbprint

READ, WRITE = Right("https://crm.example/mcp", "crm:read"), Right("https://crm.example/mcp", "crm:write")


def code_of(attempt: Any) -> str:
    with pytest.raises((InvalidRequest, Denied)) as refused:
        attempt()
    return refused.value.code


def invite(session: Any, *onward: Right) -> Any:
    return session.access("desk", ["invoke"], onward=onward or [READ])


def opened(place: Any) -> int:
    return len(place.engine.parts.store.read(lambda tx: list(tx.find(type="session.opened", limit=100))))


def spawned(place: Any, invitation: str, agent: str, workload: str) -> Any:
    told = {"url": place.url, "join": place.join(workload), "invitation": invitation, "agent": agent}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "redeemer.py")],
        input=json.dumps(told),
        encoding="utf-8",
        capture_output=True,
        check=True,
        timeout=60,
    )
    return json.loads(done.stdout)


@pytest.mark.requirement("I4")
def test_another_process_redeems_under_its_own_identity(place: Any, front: Any) -> None:
    with front.session(agent="supervisor", user="alice", task="q3") as root:
        access = invite(root, READ, WRITE)
        assert access.onward == {READ, WRITE}
        said = spawned(place, access.reveal(), "researcher", "back")
        assert said["parent"] == root.id
        assert said["subject"] == "local|alice"
        assert said["rights"] == [str(READ)]
        assert [agent.rpartition("/")[2] for agent in said["chain"]] == ["researcher", "supervisor"]
        assert said["active"]
        assert said["sid"] in str(root.tree().to_dict())


def test_a_process_that_stole_it_redeems_nothing(place: Any, front: Any) -> None:
    with front.session(agent="supervisor", user="alice") as root:
        said = spawned(place, invite(root).reveal(), "writer", "front")
    assert said == {"code": "wrong_presenter"}
    assert opened(place) == 1


@pytest.mark.requirement("I15")
def test_sync_and_async_redeem_alike_over_http(place: Any, front: Any, back: Any) -> None:
    root = front.session(agent="supervisor", user="alice")
    access = invite(root)
    child = back.redeem(access.reveal(), agent="researcher")
    again = asyncio.run(back.aredeem(access.reveal(), agent="researcher"))
    assert again.id == child.id
    told = unverified_claims(child.present())
    identity = back.engine.identity(back.agent_id("researcher"))
    assert told["client_id"] == identity.client.agent
    assert told["cnf"]["jkt"] == thumbprint(identity.key.public_jwk())
    assert opened(place) == 2


@pytest.mark.requirement("I7")
def test_after_revoke_nothing_is_redeemed_and_nothing_repeated_over_http(place: Any, front: Any, back: Any) -> None:
    root = front.session(agent="supervisor", user="alice")
    fresh, spent = invite(root), invite(root)
    child = back.redeem(spent.reveal(), agent="researcher")
    place.engine.revoke(Kind.SESSION, root.id, reason="stolen")
    for access in (fresh, spent):
        with pytest.raises(SessionEnded):
            back.redeem(access.reveal(), agent="researcher")
    with pytest.raises(SessionEnded):
        child.access("crm", ["crm:read"])
    assert opened(place) == 2


def test_an_invitation_without_anything_onward_is_none_over_http(place: Any, front: Any, back: Any) -> None:
    root = front.session(agent="supervisor", user="alice")
    access = root.access("desk", ["invoke"])
    assert code_of(lambda: back.redeem(access.reveal(), agent="researcher")) == "no_invitation"
    assert opened(place) == 1


def raw(client: Any, name: str, token: str, *, key: Any = None, continues: str | None = None, **form: Any) -> bytes:
    """A redemption as the endpoint takes it, with something in it that our client never sends."""
    engine = client.engine
    identity = engine.identity(client.agent_id(name))
    request = tx.TokenExchangeRequest(
        subject_token=token, subject_token_type=tx.ACCESS_TOKEN, requested_token_type=tx.SESSION, **form
    )
    said = terms.build(Terms(rights=frozenset({READ}), continues=continues))
    items = fields(tx.build_form(request), said, engine._credentials(identity))
    sending = Sending(method="POST", path="/token", asked="raw", items=items, key=key or identity.key)
    answer: bytes = engine._connection.send(sending)
    return answer


def test_an_actor_of_another_tree_is_not_spliced_in(place: Any, front: Any, back: Any) -> None:
    access = invite(front.session(agent="supervisor", user="alice"))
    other = front.session(agent="writer", user="bob")
    actors = (
        front.engine.identity(front.agent_id("writer")).token,
        back.engine.identity(back.agent_id("researcher")).token,
        other.present(),
    )
    for actor in actors:
        with pytest.raises(InvalidRequest):
            raw(back, "researcher", access.reveal(), actor_token=actor, actor_token_type=tx.JWT)
    with pytest.raises(InvalidRequest):
        raw(back, "researcher", access.reveal(), mode=Mode.SELF)
    with pytest.raises(InvalidRequest):
        raw(back, "researcher", access.reveal(), continues=other.id)
    assert opened(place) == 2
    assert raw(back, "researcher", access.reveal())


def test_the_child_is_bound_to_the_redeemers_own_proved_key(place: Any, front: Any, back: Any) -> None:
    access = invite(front.session(agent="supervisor", user="alice"))
    other = front.engine.identity(front.agent_id("writer")).key
    assert code_of(lambda: raw(back, "researcher", access.reveal(), key=other)) == "invalid_dpop_proof"
    assert opened(place) == 1
