"""What introspection tells: what the token says, while it holds, and nothing otherwise (RFC 7662 §2.2)."""

from typing import Any

import pytest

from deputize.authority.introspection import INACTIVE
from deputize.wire import access_token, jws
from deputize.wire.alg import generate

CRM, WIKI = "https://crm.example/mcp", "https://wiki.example/mcp"
TYP = "at+jwt"


def claims(world: Any, token: str, typ: str = TYP) -> dict[str, Any]:
    return jws.verify(token, typ=typ, key_for=world.authority.engine.parts.keys.verifying)


def chain_of(act: dict[str, Any] | None) -> tuple[str, ...]:
    return () if act is None else (act["sub"], *chain_of(act.get("act")))


@pytest.mark.requirement("IN-05")
@pytest.mark.requirement("TX-20")
def test_introspection_tells_what_the_token_says(world: Any) -> None:
    root = world.root()
    last = root.delegate("researcher").delegate("writer")
    wide = root.delegate("writer").access("crm", ["crm:write", "crm:read"])
    for token in (last.access("crm", ["crm:read"]).reveal(), wide.reveal()):
        said, told = claims(world, token), world.authority.introspect(token)
        assert told.active
        for name in ("iss", "sub", "aud", "client_id", "sid", "txn", "jti", "iat", "exp"):
            assert getattr(told, name) == said[name], name
        assert told.chain == chain_of(said["act"])
        assert " ".join(told.scope) == said["scope"]
        assert told.jkt == said["cnf"]["jkt"]
    said, told = claims(world, last.present(), "vnd.deputize.session+jwt"), world.authority.introspect(last.present())
    assert (told.chain, told.sub, told.jkt) == (chain_of(said["act"]), said["sub"], said["cnf"]["jkt"])


@pytest.mark.requirement("IN-03")
@pytest.mark.parametrize(
    "changed",
    [
        {"aud": WIKI},
        {"sid": "A" * 16},
        {"jti": "A" * 16},
        {"exp": 1},
        {"iat": 9_999_999_999},
        {"iss": "https://sts.example"},
    ],
    ids=repr,
)
def test_a_token_that_our_own_key_signed_is_inactive_where_the_store_knows_it_otherwise(
    world: Any, changed: dict[str, Any]
) -> None:
    token = world.root().delegate("researcher").access("crm", ["crm:read"]).reveal()
    signer = world.authority.engine.parts.keys.signer()
    said = claims(world, token)
    assert world.authority.introspect(jws.sign(TYP, said, signer)).active
    assert world.authority.introspect(jws.sign(TYP, {**said, **changed}, signer)) == INACTIVE


@pytest.mark.requirement("IN-03")
def test_a_token_of_a_key_that_is_not_ours_is_inactive(world: Any) -> None:
    token = world.root().delegate("researcher").access("crm", ["crm:read"]).reveal()
    ours = world.authority.engine.parts.keys.signer().kid
    stranger = generate()
    for kid in (stranger.kid, ours):
        stranger.kid = kid
        assert world.authority.introspect(jws.sign(TYP, claims(world, token), stranger)) == INACTIVE


@pytest.mark.requirement("AT-06")
@pytest.mark.requirement("RI-02")
def test_a_token_is_for_one_resource_and_says_only_what_that_resource_knows(world: Any) -> None:
    last = world.root().delegate("writer")
    registry = world.authority.registry
    for scopes in (["crm:read"], ["crm:write"], ["crm:read", "crm:write"]):
        said = claims(world, last.access("crm", scopes).reveal())
        assert said["aud"] == CRM
        assert set(said["scope"].split(" ")) == set(scopes) <= registry.resource("crm").scopes
        decoded = access_token.decode(
            last.access("crm", scopes).reveal(),
            issuer=said["iss"],
            audience=CRM,
            key_for=world.authority.engine.parts.keys.verifying,
            now=world.clock.now(),
            leeway=0,
        )
        assert decoded.aud == CRM


@pytest.mark.requirement("BCP-01")
def test_by_default_a_session_is_bound_to_a_key_and_a_tools_token_to_its_resource_and_scopes(world: Any) -> None:
    root = world.root()
    child = root.delegate("writer")
    for session in (root, child):
        said = claims(world, session.present(), "vnd.deputize.session+jwt")
        assert said["cnf"]["jkt"] == world.authority.engine.identity(session.agent).key.kid
    with child.tool_call("read_customers") as call:
        said = claims(world, call.access().reveal())
    assert (said["aud"], said["scope"]) == (CRM, "crm:read")


@pytest.mark.requirement("DP-10")
def test_a_bound_token_is_of_the_type_dpop_and_any_other_a_bearer(world: Any) -> None:
    bound = world.root().delegate("researcher").access("crm", ["crm:read"])
    assert claims(world, bound.reveal())["cnf"]["jkt"]
    assert bound.headers("GET", CRM)["Authorization"] == f"DPoP {bound.reveal()}"
    with world.authority.session(user="alice", agent="loner") as session:
        bearer = session.access("wiki", ["wiki:read"])
    assert "cnf" not in claims(world, bearer.reveal())
    assert bearer.headers("GET", WIKI) == {"Authorization": f"Bearer {bearer.reveal()}"}
