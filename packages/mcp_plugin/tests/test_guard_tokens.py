"""Tokens that the guard takes, and the many that it doesn't."""

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deputize import Authority
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.token import ACCESS_TYP, IdentityClaims, SessionClaims
from deputize.wire import identity_token, jws, session_token
from deputize.wire.alg import generate
from deputize_mcp import AgentGuard
from deputize_mcp.www_authenticate import Challenge, read_challenges

Guarded = Any
Issuer = Any
OTHER = "https://other.example/mcp"
SESSION_ID = "S" * 16


def challenge(answer: Any) -> Challenge:
    [found] = read_challenges(answer.headers.get_list("www-authenticate"))
    return found


async def test_a_valid_token_reaches_the_tool_and_stays_outside(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    answer = await world.call("read", issuer.token())
    assert answer.status_code == 200
    [(scope, body)] = world.application.seen
    assert json.loads(body)["params"]["name"] == "read"
    assert not {b"authorization", b"dpop"} & {name for name, _ in scope["headers"]}
    assert scope["deputize.caller"].subject == "local|alice"


def _expired(issuer: Issuer) -> str:
    return issuer.token(iat=issuer.now - 100, exp=issuer.now - 10)


def _without(issuer: Issuer, *names: str, **changed: Any) -> str:
    claims = json.loads(_payload(issuer.token()))
    kept = {name: value for name, value in {**claims, **changed}.items() if name not in names}
    return jws.sign(ACCESS_TYP, kept, issuer.key)


def _payload(token: str) -> bytes:
    import base64

    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _unsigned(issuer: Issuer) -> str:
    return issuer.forged({"alg": "none", "typ": ACCESS_TYP, "kid": issuer.key.kid}, issuer.token(), b"")


def _public_key_as_secret(issuer: Issuer) -> str:
    token = issuer.token()
    secret = json.dumps(issuer.key.public_jwk()).encode()
    header = {"alg": "HS256", "typ": ACCESS_TYP, "kid": issuer.key.kid}
    signed = issuer.forged(header, token, b"").rpartition(".")[0]
    return issuer.forged(header, token, hmac.digest(secret, signed.encode(), hashlib.sha256))


def _identity(issuer: Issuer) -> str:
    now = issuer.now
    claims = IdentityClaims(
        iss=issuer.issuer,
        sub="spiffe://local/agent/researcher",
        jti="j" * 16,
        iat=now,
        exp=now + 60,
        jwk=issuer.agent_key.public_jwk(),
    )
    return identity_token.encode(claims, issuer.key)


def _session(issuer: Issuer) -> str:
    now = issuer.now
    access = issuer.claims()
    claims = SessionClaims(
        iss=issuer.issuer,
        sub=access.sub,
        client_id=access.client_id,
        chain=access.chain,
        jti="j" * 16,
        iat=now,
        exp=now + 60,
        sid=access.sid,
        txn=access.txn,
        jkt=issuer.agent_key.kid,
        context=access.context,
    )
    return session_token.encode(claims, issuer.key)


def _foreign_key(issuer: Issuer) -> str:
    stranger = type(issuer)(agent_key=issuer.agent_key)
    return stranger.token()


def _tampered(issuer: Issuer) -> str:
    head, payload, tail = issuer.token().split(".")
    more = issuer.token(["crm:read", "crm:write"]).split(".")[1]
    return f"{head}.{more}.{tail}" if payload != more else ""


ATTACKS = {
    "of another resource": lambda i: i.token(aud=OTHER),
    "of this resource with a slash more": lambda i: i.token(aud="https://crm.example/mcp/"),
    "of another issuer": lambda i: i.token(iss="https://evil.example"),
    "expired": _expired,
    "without an end": lambda i: _without(i, "exp"),
    "not valid yet": lambda i: _without(i, nbf=i.now + 3600),
    "from the future": lambda i: _without(i, iat=i.now + 3600, exp=i.now + 3660),
    "without a name of its own": lambda i: _without(i, "jti"),
    "without a client": lambda i: _without(i, "client_id"),
    "of type JWT": lambda i: jws.sign("JWT", json.loads(_payload(i.token())), i.key),
    "unsigned": _unsigned,
    "signed by HMAC with the public key": _public_key_as_secret,
    "by a key that is not served": _foreign_key,
    "tampered with": _tampered,
    "that is an identity": _identity,
    "that is a session token": _session,
    "that is no token": lambda _: "nonsense",
    "that is empty": lambda _: "",
    "that is enormous": lambda _: "a" * 20_000,
}


@pytest.mark.requirement("MC-04")
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_is_refused(attack: str, guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    answer = await world.call("read", ATTACKS[attack](issuer))
    assert answer.status_code == 401
    assert challenge(answer).error == "invalid_token"
    assert challenge(answer).parameters["resource_metadata"].endswith("/.well-known/oauth-protected-resource/mcp")
    assert world.reached == 0


async def test_one_audience_of_several_is_enough(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    several = _without(issuer, aud=[OTHER, "https://crm.example/mcp"])
    assert (await world.call("read", several)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Basic YTpi")],
        [("authorization", "Bearer")],
        [],
    ],
)
async def test_no_token_is_no_error_but_a_challenge(
    headers: list[tuple[str, str]], guarded: Callable[..., Guarded]
) -> None:
    world = guarded(base_scopes=["crm:base"])
    answer = await world.send_raw(b"{}", headers)
    assert answer.status_code == 401
    assert world.reached == 0
    if headers != [("authorization", "Bearer")]:
        assert challenge(answer).error is None
        assert challenge(answer).scopes == {"crm:base"}


async def test_a_token_in_the_query_is_none(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    answer = await world.send_raw(b"{}", [], path=f"/mcp?access_token={issuer.token()}")
    assert answer.status_code == 401
    assert challenge(answer).error is None


async def test_two_authorization_headers_are_malformed(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded()
    pair = [("authorization", f"Bearer {issuer.token()}"), ("authorization", "Bearer x")]
    assert (await world.send_raw(b"{}", pair)).status_code == 400
    assert world.reached == 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.SESSION, SESSION_ID),
        (Kind.SESSION, "T" * 16),
        (Kind.CLOSE, SESSION_ID),
        (Kind.USER, "local|alice"),
        (Kind.AGENT, "spiffe://local/agent/researcher"),
    ],
)
@pytest.mark.requirement("I7")
async def test_what_is_revoked_is_refused_though_the_token_was_good_before(
    kind: Kind, name: str, guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    token = issuer.token()
    assert (await world.call("read", token)).status_code == 200
    now = issuer.now
    issuer.revocations.add(RevocationEntry(kind=kind, id=name, at=now, until=now + 3600))
    refused = await world.call("read", token)
    assert (refused.status_code, challenge(refused).error) == (401, "invalid_token")


@pytest.mark.requirement("I7")
async def test_revocations_that_are_too_old_to_be_believed_stop_everything(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded()
    issuer.revocations.bound = -1.0
    answer = await world.call("read", issuer.token())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert world.reached == 0


@pytest.mark.requirement("I7")
async def test_a_session_that_another_process_revokes_is_refused_within_the_bound_of_the_file(
    tmp_path: Path, toml: Callable[..., Path], application: Any, call_of: Callable[..., Any]
) -> None:
    import httpx

    path = toml(tmp_path, url="https://crm.example/mcp")
    with Authority.open(path) as authority:
        guard = AgentGuard(
            application, authority=str(path), resource="https://crm.example/mcp", tools={"read": ["crm:read"]}
        )
        session = authority.session(agent="supervisor", user="alice")
        child = session.delegate("researcher")
        headers = child.access("crm", ["crm:read"]).headers("POST", "https://crm.example/mcp")
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=guard), base_url="https://crm.example"
        ) as client:
            before = await client.post("/mcp", json=call_of("read"), headers=headers)
            authority.revoke(session=session.id, reason="stolen laptop")
            after = await client.post("/mcp", json=call_of("read"), headers=headers)
    assert (before.status_code, after.status_code) == (200, 401)
    assert len(application.seen) == 1


# ---- DPoP


@pytest.mark.requirement("DP-07")
async def test_a_bound_token_with_its_proof_is_taken_and_neither_reaches_the_application(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(binding="dpop")
    token = issuer.bound_token()
    answer = await world.call("read", None, authorization=f"DPoP {token}", dpop=issuer.proof(token))
    assert answer.status_code == 200
    [(scope, _)] = world.application.seen
    assert not {b"authorization", b"dpop"} & {name for name, _ in scope["headers"]}
    assert scope["deputize.caller"].bound


@pytest.mark.requirement("DP-08")
@pytest.mark.parametrize("binding", ["bearer", "dpop", "optional"])
async def test_a_bound_token_is_never_taken_as_a_bearer(
    binding: str, guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(binding=binding)
    token = issuer.bound_token()
    plain = await world.call("read", token)
    with_proof = await world.call("read", token, dpop=issuer.proof(token))
    assert (plain.status_code, with_proof.status_code) == (401, 401)
    assert world.reached == 0


async def test_where_tokens_have_to_be_bound_a_bearer_is_refused(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(binding="dpop")
    assert (await world.call("read", issuer.token())).status_code == 401
    assert (await guarded(binding="optional").call("read", issuer.token())).status_code == 200


PROOFS: dict[str, Callable[[Issuer, str], str]] = {
    "by the thief's own key": lambda i, t: i.proof(t, key=generate()),
    "of another method": lambda i, t: i.proof(t, htm="GET"),
    "of another URL": lambda i, t: i.proof(t, htu="https://crm.example/other"),
    "of another host": lambda i, t: i.proof(t, htu="https://evil.example/mcp"),
    "of another token": lambda i, _: i.proof("other"),
    "too old": lambda i, t: i.proof(t, now=i.now - 120),
    "from the future": lambda i, t: i.proof(t, now=i.now + 120),
    "that is no proof": lambda *_: "nonsense",
}


@pytest.mark.requirement("DP-04")
@pytest.mark.requirement("DP-05")
@pytest.mark.requirement("DP-07")
@pytest.mark.requirement("DP-12")
@pytest.mark.parametrize("attack", PROOFS)
async def test_a_proof_is_refused(attack: str, guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded(binding="dpop")
    token = issuer.bound_token()
    answer = await world.call("read", None, authorization=f"DPoP {token}", dpop=PROOFS[attack](issuer, token))
    assert answer.status_code == 401
    assert (challenge(answer).scheme, challenge(answer).error) == ("dpop", "invalid_dpop_proof")
    assert world.reached == 0


@pytest.mark.requirement("DP-01")
async def test_one_proof_and_not_two(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded(binding="dpop")
    token = issuer.bound_token()
    twice = [("dpop", issuer.proof(token)), ("dpop", issuer.proof(token))]
    answer = await world.send_raw(b"{}", [("authorization", f"DPoP {token}"), *twice])
    none = await world.send_raw(b"{}", [("authorization", f"DPoP {token}")])
    assert (answer.status_code, none.status_code) == (400, 401)
    assert world.reached == 0


@pytest.mark.requirement("DP-06")
async def test_a_proof_is_good_once(guarded: Callable[..., Guarded], issuer: Issuer) -> None:
    world = guarded(binding="dpop")
    token = issuer.bound_token()
    headers = {"authorization": f"DPoP {token}", "dpop": issuer.proof(token)}
    first = await world.call("read", None, **headers)
    again = await world.call("read", None, **headers)
    assert (first.status_code, again.status_code) == (200, 401)
    assert challenge(again).error == "invalid_dpop_proof"


@pytest.mark.requirement("DP-04")
async def test_behind_a_proxy_the_external_url_counts_and_no_forwarded_host(
    guarded: Callable[..., Guarded], issuer: Issuer
) -> None:
    world = guarded(binding="dpop", external_url="https://gateway.example/crm")
    token = issuer.bound_token()

    async def status(htu: str) -> int:
        answer = await world.call(
            "read",
            None,
            authorization=f"DPoP {token}",
            dpop=issuer.proof(token, htu=htu),
            **{"x-forwarded-host": "evil.example", "host": "evil.example"},
        )
        return int(answer.status_code)

    assert await status("https://gateway.example/crm") == 200
    assert await status("https://evil.example/mcp") == 401
    assert await status("https://crm.example/mcp") == 401


async def test_a_dpop_resource_says_so_in_challenge_and_metadata(guarded: Callable[..., Guarded]) -> None:
    world = guarded(binding="dpop")
    refused = await world.call("read", None)
    metadata = await world.send(None, method="GET", path="/.well-known/oauth-protected-resource")
    assert challenge(refused).scheme == "dpop"
    assert "ES256" in challenge(refused).parameters["algs"].split()
    assert metadata.json()["dpop_bound_access_tokens_required"] is True
    both = await guarded(binding="optional").call("read", None)
    assert {found.scheme for found in read_challenges(both.headers.get_list("www-authenticate"))} == {
        "bearer",
        "dpop",
    }
