"""The check of every request: who calls, whether they may, and why not."""

import dataclasses
from typing import Any

import pytest

from deputize.model.failure import ConfigurationError, Denied, DeputizeError, InvalidRequest, InvalidToken
from deputize.model.revocation import Kind, RevocationEntry
from deputize.model.session import Mode
from deputize.model.token import TokenContext
from deputize.verifier import Caller, MemoryKeys, Replays, Verifier
from deputize.wire import alg, base64url, json_strict, jws

AGENT = "spiffe://example.org/agent/"
ISSUER = "https://sts.example"
RESOURCE = "https://crm.example/mcp"


def code_of(call: Any, *arguments: Any, **named: Any) -> Any:
    with pytest.raises(DeputizeError) as caught:
        call(*arguments, **named)
    return caught.value.code


def entry(kind: str, name: str, at: int = 0, **more: Any) -> Any:
    return RevocationEntry(kind=kind, id=name, at=at, until=2**40, **more)


def test_a_caller_is_told_apart_by_subject_and_outermost_actor(verifier: Any, world: Any) -> None:
    assert verifier.verify(world.token()) == Caller(
        issuer=ISSUER,
        resource=RESOURCE,
        subject="okta|alice",
        agent=AGENT + "researcher",
        chain=(AGENT + "researcher", AGENT + "supervisor"),
        client_id=AGENT + "researcher",
        session="S" * 16,
        root="T" * 16,
        mode=Mode.ON_BEHALF_OF,
        scopes=frozenset({"crm:read", "crm:write"}),
        jti="j" * 22,
        expires_at=world.now + 300.0,
        bound=False,
    )


def test_the_agent_of_each_mode_is_the_one_who_acts(verifier: Any, world: Any) -> None:
    agent = AGENT + "writer"
    own = TokenContext(mode="self", path=(), rec="R" * 43)
    caller = verifier.verify(world.token(sub=agent, client_id=agent, chain=(), context=own))
    assert (caller.agent, caller.mode) == (agent, Mode.SELF)
    other = TokenContext(mode="impersonation", path=(), rec="R" * 43)
    caller = verifier.verify(world.token(client_id=agent, chain=(), context=other, jti="k" * 22))
    assert (caller.subject, caller.agent, caller.mode) == ("okta|alice", agent, Mode.IMPERSONATION)


@pytest.mark.requirement("JW-04")
@pytest.mark.parametrize(
    ("issuer", "resource", "more"),
    [
        ("", RESOURCE, {}),
        (ISSUER, "", {}),
        (None, RESOURCE, {}),
        (ISSUER, None, {}),
        (ISSUER, RESOURCE, {"keys": None}),
        (ISSUER, RESOURCE, {"leeway": -1}),
        (ISSUER, RESOURCE, {"leeway": 61}),
        (ISSUER, RESOURCE, {"leeway": float("nan")}),
        (ISSUER, RESOURCE, {"cache": -1}),
    ],
)
def test_a_verifier_that_would_check_less_is_not_built(issuer: Any, resource: str, more: Any) -> None:
    with pytest.raises(ConfigurationError):
        Verifier(issuer, resource, **{"keys": MemoryKeys(), **more})


@pytest.mark.parametrize("cache", [0, 4096])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://other.example"}, "wrong_issuer"),
        ({"iss": ISSUER + "/"}, "wrong_issuer"),
        ({"aud": "https://other.example"}, "wrong_audience"),
        ({"aud": RESOURCE + "/"}, "wrong_audience"),
        ({"exp": 0}, "token_expired"),
        ({"iat": 2**40, "exp": 2**41}, "not_yet_valid"),
        ({"scope": ["crm:read"]}, "malformed_token"),
        ({"urn:deputize:ctx": {}}, "malformed_token"),
        ({"cnf": {"x5t#S256": "A"}}, "unknown_confirmation"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_with_its_reason(world: Any, cache: int, changes: Any, code: str) -> None:
    verifier = world.verifier(cache=cache)
    for _ in range(2):
        assert code_of(verifier.verify, world.raw(changes)) == code


def test_a_token_of_another_authority_without_our_context_is_not_taken(verifier: Any, world: Any) -> None:
    token = world.raw({"urn:deputize:ctx": None})
    assert code_of(verifier.verify, token) == "malformed_token"


@pytest.mark.parametrize("kind", ["session", "identity", "proof"])
@pytest.mark.requirement("JW-03")
def test_no_other_token_of_ours_is_access(verifier: Any, world: Any, kind: str) -> None:
    typ = {"session": "vnd.deputize.session+jwt", "identity": "wit+jwt", "proof": "dpop+jwt"}[kind]
    claims = json_strict.loads(base64url.decode(world.token().split(".")[1].encode()))
    assert code_of(verifier.verify, jws.sign(typ, claims, world.key)) == "wrong_type"


def test_missing_scopes_are_a_denial_that_says_what_is_enough(verifier: Any, world: Any) -> None:
    with pytest.raises(Denied) as caught:
        verifier.verify(world.token(scope=("crm:read",)), scopes=["crm:write", "crm:read"])
    denial = caught.value.denial
    assert (caught.value.code, denial.code) == ("insufficient_scope", "insufficient_scope")
    assert denial.asked == f"crm:read crm:write at {RESOURCE}"
    assert "alice" not in str(caught.value)
    assert verifier.verify(world.token(), scopes={"crm:write"})


def test_an_expired_token_is_refused_also_where_it_was_verified_before(world: Any) -> None:
    verifier = world.verifier(leeway=5)
    token = world.token(exp=world.now + 10)
    assert verifier.verify(token)
    world.clock.advance(14.9)
    assert verifier.verify(token)
    world.clock.advance(0.1)
    assert code_of(verifier.verify, token) == "token_expired"
    assert code_of(verifier.verify, token) == "token_expired"


def test_the_cache_is_bounded_and_keyed_by_the_whole_token(world: Any) -> None:
    verifier = world.verifier(cache=3)
    tokens = [world.token(jti=f"{number:022}") for number in range(10)]
    for token in tokens * 2:
        assert verifier.verify(token).jti == verifier.verify(token).jti
    assert len(verifier._verified) == 3
    spoilt = tokens[-1][:-2] + ("AA" if not tokens[-1].endswith("AA") else "BB")
    assert code_of(verifier.verify, spoilt) in {"malformed_token", "invalid_signature"}


def test_refused_tokens_are_not_remembered(world: Any) -> None:
    verifier = world.verifier()
    for number in range(20):
        assert code_of(verifier.verify, f"a.b.{number}") == "malformed_token"
    assert len(verifier._verified) == 0


def test_a_key_that_is_unknown_or_was_retired_before_the_token_is_refused(world: Any) -> None:
    token = world.token()
    assert code_of(world.verifier(keys=MemoryKeys()).verify, token) == "unknown_key"
    retired = MemoryKeys([world.key.public.until(world.now - 1)])
    assert code_of(world.verifier(keys=retired).verify, token) == "key_retired"
    serving = MemoryKeys([world.key.public.until(world.now)])
    assert world.verifier(keys=serving).verify(token)


@pytest.mark.requirement("JW-02")
def test_the_same_kid_at_another_issuer_is_another_key(world: Any) -> None:
    mallory = alg.generate()
    impostor = alg.VerifyingKey(world.key.kid, "ES256", mallory.public.key)
    assert code_of(world.verifier(keys=MemoryKeys([impostor])).verify, world.token()) == "invalid_signature"


CAUSES = [
    entry(Kind.SESSION, "S" * 16),
    entry(Kind.SESSION, "T" * 16),
    entry(Kind.SESSION, "P" * 16),
    entry(Kind.CLOSE, "Q" * 16),
    entry(Kind.TOKEN, "j" * 22),
    entry(Kind.AGENT, AGENT + "researcher"),
    entry(Kind.USER, "okta|alice"),
    entry(Kind.USER, "okta|alice", before=2**40),
]


@pytest.mark.requirement("I7")
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.kind.value}-{cause.id[-6:]}")
@pytest.mark.parametrize("cache", [0, 16])
def test_any_cause_kills_a_token_that_was_good_a_moment_ago(world: Any, cause: Any, cache: int) -> None:
    verifier, token = world.verifier(cache=cache), world.token()
    assert verifier.verify(token)
    world.revocations.add(cause)
    assert code_of(verifier.verify, token) == "token_revoked"


@pytest.mark.requirement("I7")
def test_a_revoked_key_kills_what_it_signed(world: Any) -> None:
    verifier, token = world.verifier(), world.token()
    assert verifier.verify(token)
    world.revocations.add(entry(Kind.KEY, world.key.kid))
    assert code_of(verifier.verify, token) == "token_revoked"


@pytest.mark.parametrize(
    "cause",
    [
        entry(Kind.SESSION, "Z" * 16),
        entry(Kind.TOKEN, "S" * 16),
        entry(Kind.AGENT, AGENT + "supervisor"),
        entry(Kind.AGENT, AGENT + "research"),
        entry(Kind.USER, "okta|alic"),
        entry(Kind.USER, "okta|alice", before=1_749_999_999),
        entry(Kind.AGENT, AGENT + "researcher", before=1_749_999_999),
        entry(Kind.KEY, "another"),
    ],
    ids=lambda cause: f"{cause.kind.value}-{cause.id[-6:]}-{cause.before}",
)
def test_what_was_revoked_elsewhere_kills_nothing_here(world: Any, cause: Any) -> None:
    world.revocations.add(cause)
    assert world.verifier().verify(world.token())


class Feed:
    """A source that has not heard for `seconds`."""

    bound = 10.0

    def __init__(self, view: Any, seconds: int) -> None:
        self._view = view
        self.seconds = seconds

    def view(self) -> Any:
        return self._view

    def age(self) -> Any:
        return self.seconds


@pytest.mark.requirement("I7")
@pytest.mark.parametrize(
    ("age", "fine"), [(0, True), (10, True), (10.01, False), (float("inf"), False), (float("nan"), False)]
)
def test_a_feed_that_is_staler_than_its_bound_refuses_everything(world: Any, age: Any, fine: Any) -> None:
    feed = Feed(world.revocations.view(), age)
    verifier = world.verifier(revocations=feed)
    if fine:
        assert verifier.verify(world.token())
    else:
        assert code_of(verifier.verify, world.token()) == "stale_revocations"


def test_without_a_feed_a_token_is_good_until_it_expires(world: Any) -> None:
    world.revocations.add(entry(Kind.SESSION, "S" * 16))
    assert world.verifier(revocations=None).verify(world.token())


@pytest.mark.parametrize(
    "headers",
    [
        lambda t: {"Authorization": f"Bearer {t}"},
        lambda t: {"authorization": f"bearer {t}"},
        lambda t: [("Host", "x"), ("AUTHORIZATION", f"BEARER  {t}")],
        lambda t: [(b"authorization", b"Bearer " + t.encode())],
        lambda t: iter([(b"authorization", b"Bearer " + t.encode())]),
    ],
)
def test_a_bearer_is_found_in_headers_of_any_kind(verifier: Any, world: Any, headers: Any) -> None:
    assert verifier.verify(headers(world.token())).subject == "okta|alice"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        [],
        {"Authorization": ""},
        {"Authorization": "Basic YTpi"},
        {"X-Authorization": "Bearer x"},
        {"Authorization": "token"},
    ],
)
def test_a_request_without_a_token_is_told_so(verifier: Any, headers: Any) -> None:
    assert code_of(verifier.verify, headers) == "missing_token"


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer a b", "Bearer é", "Bearer a,b", "DPoP ", "Bearer Bearer x"]
)
def test_a_header_that_holds_no_token_is_refused(verifier: Any, value: Any) -> None:
    with pytest.raises(InvalidToken):
        verifier.verify({"Authorization": value})


@pytest.mark.requirement("DP-01")
def test_two_authorization_headers_or_two_proofs_are_refused(verifier: Any, world: Any) -> None:
    token = world.bound()
    proof = world.proof(token)
    twice = [("Authorization", f"Bearer {world.token()}"), ("authorization", f"Bearer {token}")]
    assert code_of(verifier.verify, twice) == "invalid_request"
    proofs = [("Authorization", f"DPoP {token}"), ("DPoP", proof), ("dpop", proof)]
    request = {"method": "POST", "url": RESOURCE, "binding": "dpop"}
    assert code_of(verifier.verify, proofs, **request) == "invalid_request"
    listed = [("Authorization", f"DPoP {token}"), ("DPoP", f"{proof}, {proof}")]
    assert code_of(verifier.verify, listed, **request) == "invalid_dpop_proof"
    assert (
        code_of(verifier.verify, [("Authorization", f"DPoP {token}"), ("DPoP", proof)], proof=proof)
        == "invalid_request"
    )


@pytest.mark.requirement("JW-05")
def test_a_huge_token_is_refused_before_it_is_hashed(verifier: Any) -> None:
    assert code_of(verifier.verify, "a" * 20_000_000) == "token_too_large"


def dpop_headers(token: str, proof: str) -> Any:
    return [(b"authorization", b"DPoP " + token.encode()), (b"dpop", proof.encode())]


@pytest.mark.parametrize("binding", ["dpop", "optional"])
@pytest.mark.requirement("DP-07")
def test_a_bound_token_with_its_proof_is_taken_once(verifier: Any, world: Any, binding: Any) -> None:
    token = world.bound()
    proof = world.proof(token)
    request = {"method": "POST", "url": RESOURCE + "?q=1", "binding": binding}
    assert verifier.verify(dpop_headers(token, proof), **request).bound
    assert code_of(verifier.verify, dpop_headers(token, proof), **request) == "invalid_dpop_proof"
    assert verifier.verify(token, proof=world.proof(token), **request).bound


@pytest.mark.requirement("DP-08")
@pytest.mark.parametrize("binding", ["bearer", "dpop", "optional"])
def test_a_bound_token_is_never_taken_as_a_bearer(verifier: Any, world: Any, binding: Any) -> None:
    token = world.bound()
    request = {"method": "POST", "url": RESOURCE, "binding": binding}
    assert code_of(verifier.verify, {"Authorization": f"Bearer {token}"}, **request) == "wrong_binding"
    assert code_of(verifier.verify, token, **request) == "wrong_binding"
    both = [("Authorization", f"Bearer {token}"), ("DPoP", world.proof(token))]
    assert code_of(verifier.verify, both, **request) == "wrong_binding"


@pytest.mark.requirement("DP-08")
def test_a_scheme_binds_nothing_that_the_token_does_not(verifier: Any, world: Any) -> None:
    token = world.token()
    request = {"method": "POST", "url": RESOURCE}
    for binding in ("optional", "bearer", "dpop"):
        headers = dpop_headers(token, world.proof(token))
        assert code_of(verifier.verify, headers, binding=binding, **request) == "wrong_binding"
    beside = [("Authorization", f"Bearer {token}"), ("DPoP", world.proof(token))]
    assert not verifier.verify(beside, binding="optional", **request).bound


@pytest.mark.requirement("DP-08")
def test_a_server_that_checks_no_proofs_takes_no_bound_token(verifier: Any, world: Any) -> None:
    token = world.bound()
    headers = dpop_headers(token, world.proof(token))
    assert code_of(verifier.verify, headers, method="POST", url=RESOURCE, binding="bearer") == "wrong_binding"


@pytest.mark.requirement("DP-12")
@pytest.mark.parametrize(
    "spoil",
    [
        {"htm": "GET"},
        {"htu": "https://other.example/mcp"},
        {"access_token": "another"},
        {"access_token": None},
        {"now": 0},
        {"key": alg.generate()},
    ],
    ids=lambda spoil: next(iter(spoil)),
)
def test_a_proof_of_something_else_is_refused(verifier: Any, world: Any, spoil: Any) -> None:
    token = world.bound()
    proof = world.proof(token, **spoil)
    found = code_of(verifier.verify, dpop_headers(token, proof), method="POST", url=RESOURCE, binding="dpop")
    assert found == "invalid_dpop_proof"


def test_a_bound_token_without_a_proof_is_refused(verifier: Any, world: Any) -> None:
    headers = {"Authorization": f"DPoP {world.bound()}"}
    assert code_of(verifier.verify, headers, method="POST", url=RESOURCE, binding="dpop") == "invalid_dpop_proof"


def test_a_proof_cannot_be_checked_without_knowing_the_request(verifier: Any, world: Any) -> None:
    token = world.bound()
    assert code_of(verifier.verify, token, proof=world.proof(token), binding="dpop") == "configuration_error"


@pytest.mark.requirement("DP-06")
def test_proofs_are_spent_where_the_caller_says(verifier: Any, world: Any) -> None:
    spent = []
    token = world.bound()
    request = {"method": "POST", "url": RESOURCE, "binding": "dpop"}
    verifier.verify(token, proof=world.proof(token), spend=lambda *proof: spent.append(proof) is None, **request)
    assert len(spent) == 1
    assert (
        code_of(verifier.verify, token, proof=world.proof(token), spend=lambda *_: False, **request)
        == "invalid_dpop_proof"
    )


@pytest.mark.requirement("DP-06")
def test_a_full_memory_of_proofs_refuses_rather_than_forgets(world: Any) -> None:
    replays = Replays(world.clock, size=2)
    assert [replays.spend(name, world.now + 60) for name in ("a", "a", "b", "c", "a")] == [
        True,
        False,
        True,
        False,
        False,
    ]
    world.clock.advance(61)
    assert [replays.spend(name, world.now + 60) for name in ("c", "a", "b")] == [True, True, False]


def test_a_caller_cannot_be_changed(verifier: Any, world: Any) -> None:
    caller = verifier.verify(world.token())
    with pytest.raises(dataclasses.FrozenInstanceError):
        caller.subject = "okta|admin"
    assert verifier.verify(world.token()).subject == "okta|alice"


def test_a_caller_without_an_authority_gets_no_onward_access(verifier: Any, world: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        verifier.verify(world.token()).access("https://next.example", ["a"])
    assert caught.value.code == "no_onward_access"


def test_an_authority_may_stand_behind_a_caller(verifier: Any, world: Any) -> None:
    asked = []
    caller = verifier.verify(world.token()).with_provider(lambda *request: asked.append(request), task="report")
    caller.access("https://next.example", ["a", "a"])
    assert asked == [(caller, "https://next.example", frozenset({"a"}))]
    assert caller.task == "report"
    assert verifier.verify(world.token()).provider is None


@pytest.mark.requirement("I9")
def test_no_token_is_in_what_a_caller_or_a_refusal_shows(verifier: Any, world: Any) -> None:
    token = world.token()
    assert token[-20:] not in repr(verifier.verify(token))
    with pytest.raises(DeputizeError) as caught:
        verifier.verify(token[:-8] + "AAAAAAAA")
    assert token[:20] not in repr(caught.value)
