"""Identity, session and access tokens: what comes back, what must be there, how large they are."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deputize.model.failure import InvalidToken
from deputize.model.token import AccessClaims, TokenContext
from deputize.wire import access_token, jws

KINDS = ["identity", "session", "access"]
REQUIRED = {
    "identity": ["iss", "sub", "jti", "iat", "exp", "cnf"],
    "session": ["iss", "aud", "sub", "client_id", "jti", "iat", "exp", "sid", "txn", "cnf", "urn:deputize:ctx", "act"],
    "access": [
        "iss", "aud", "sub", "client_id", "jti", "iat", "exp", "sid", "txn", "scope", "urn:deputize:ctx", "act",
    ],
}  # fmt: skip
TEXT_CLAIMS = ["sub", "jti", "client_id", "sid", "txn", "scope"]
NOT_TEXT = [None, 1, True, ["a"], {"a": 1}, ""]


def code_of(call: Any, *arguments: Any, **named: Any) -> Any:
    with pytest.raises(InvalidToken) as caught:
        call(*arguments, **named)
    return caught.value.code


def altered(issuer: Any, kind: str, **changes: Any) -> Any:
    """A correctly signed token of `kind` with other claims; None drops one."""
    typ, read, claims = issuer.token_slots()[kind]
    claims = {**claims, **changes}
    kept = {name: value for name, value in claims.items() if value is not DROP}
    return read, jws.sign(typ, kept, issuer.key)


DROP = object()


def test_each_kind_comes_back_as_it_was_made(issuer: Any) -> None:
    access = issuer.access_claims(jkt=issuer.holder.kid)
    assert issuer.read_access(access_token.encode(access, issuer.key)) == access
    assert issuer.read_access(issuer.access()) == issuer.access_claims()
    assert issuer.read_session(issuer.session()) == issuer.session_claims()
    assert issuer.read_identity(issuer.identity()) == issuer.identity_claims()


def test_self_mode_has_no_actor(issuer: Any, claims_of: Any) -> None:
    own = {"chain": (), "sub": "spiffe://example.org/agent/a", "client_id": "spiffe://example.org/agent/a"}
    context = TokenContext(mode="self", path=(), rec="R" * 43)
    token = issuer.access(**own, context=context)
    assert "act" not in claims_of(token)
    assert issuer.read_access(token).chain == ()
    assert issuer.read_access(token).context == context


@pytest.mark.requirement("TX-16")
@pytest.mark.requirement("TX-15")
def test_act_nests_the_current_actor_outside_and_the_oldest_inside(issuer: Any, claims_of: Any) -> None:
    act = claims_of(issuer.access(chain=("d", "c", "b", "a")))["act"]
    assert act == {
        "sub": "d",
        "sub_profile": "ai_agent",
        "act": {"sub": "c", "act": {"sub": "b", "act": {"sub": "a"}}},
    }


@pytest.mark.requirement("TX-18")
def test_the_claims_of_an_access_token_are_the_registered_ones_and_one_of_ours(issuer: Any, claims_of: Any) -> None:
    assert claims_of(issuer.access(jkt=issuer.holder.kid)) == {
        "iss": issuer.iss,
        "aud": issuer.resource,
        "sub": "okta|alice",
        "client_id": "spiffe://example.org/agent/researcher",
        "act": {
            "sub": "spiffe://example.org/agent/researcher",
            "sub_profile": "ai_agent",
            "act": {"sub": "spiffe://example.org/agent/supervisor"},
        },
        "scope": "crm:read crm:write",
        "jti": "j" * 22,
        "iat": issuer.now,
        "exp": issuer.now + 300,
        "sid": "S" * 16,
        "txn": "T" * 16,
        "cnf": {"jkt": issuer.holder.kid},
        "urn:deputize:ctx": {"mode": "on_behalf_of", "path": "P" * 16, "rec": "R" * 43},
    }


@pytest.mark.requirement("AT-03")
@pytest.mark.requirement("WL-04")
@pytest.mark.parametrize(("kind", "claim"), [(kind, claim) for kind in KINDS for claim in REQUIRED[kind]])
def test_a_token_without_a_required_claim_is_refused(issuer: Any, kind: str, claim: str) -> None:
    read, token = altered(issuer, kind, **{claim: DROP})
    expected = {"iss": "wrong_issuer", "aud": "wrong_audience"}.get(claim, "malformed_token")
    if (kind, claim) == ("session", "cnf"):
        expected = "unknown_confirmation"
    assert code_of(read, token) == expected


@pytest.mark.parametrize("wrong", NOT_TEXT)
@pytest.mark.parametrize(("kind", "claim"), [(k, c) for k in KINDS for c in TEXT_CLAIMS if c in REQUIRED[k]])
@pytest.mark.requirement("TX-18")
def test_a_claim_that_is_no_text_is_refused(issuer: Any, kind: str, claim: str, wrong: Any) -> None:
    read, token = altered(issuer, kind, **{claim: wrong})
    assert code_of(read, token) == "malformed_token"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("claim", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("wrong", ["9999999999", True, False, None, [], {}, "", "nan"])
def test_a_time_that_is_no_number_is_refused(issuer: Any, kind: str, claim: str, wrong: Any) -> None:
    read, token = altered(issuer, kind, **{claim: wrong})
    assert code_of(read, token) == "malformed_token"


@pytest.mark.parametrize("kind", KINDS)
def test_times_may_be_fractions_and_are_rounded_down(issuer: Any, kind: str) -> None:
    read, token = altered(issuer, kind, exp=issuer.now + 10.9, iat=issuer.now - 0.5)
    claims = read(token)
    assert (claims.iat, claims.exp) == (issuer.now - 1, issuer.now + 10)


@pytest.mark.requirement("AT-08")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leeway", [0, 5])
def test_validity_ends_and_begins_at_its_bounds_exactly(issuer: Any, kind: str, leeway: int) -> None:
    read, token = altered(issuer, kind, iat=issuer.now, nbf=issuer.now + 10, exp=issuer.now + 100)
    for now, code in (
        (issuer.now + 9.99 - leeway, "not_yet_valid"),
        (issuer.now + 10 - leeway, None),
        (issuer.now + 99.99 + leeway, None),
        (issuer.now + 100 + leeway, "token_expired"),
        (issuer.now + 1e12, "token_expired"),
    ):
        if code is None:
            assert read(token, now=now, leeway=leeway)
        else:
            assert code_of(read, token, now=now, leeway=leeway) == code


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_from_the_future_is_not_valid_yet(issuer: Any, kind: str) -> None:
    read, token = altered(issuer, kind, iat=issuer.now + 6, exp=issuer.now + 100)
    assert code_of(read, token, leeway=5) == "not_yet_valid"
    read, token = altered(issuer, kind, iat=issuer.now + 5, exp=issuer.now + 100)
    assert read(token, leeway=5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_issued_after_its_key_was_retired_is_refused(issuer: Any, kind: str) -> None:
    read, token = altered(issuer, kind)
    for until, code in ((issuer.now, None), (issuer.now - 1, "key_retired")):
        key = issuer.key.public.until(until)
        if code is None:
            assert read(token, key_for=lambda _, k=key: k)
        else:
            assert code_of(read, token, key_for=lambda _, k=key: k) == code


@pytest.mark.requirement("AT-08")
@pytest.mark.requirement("JW-04")
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=25)
def test_the_issuer_is_compared_whole(issuer: Any, kind: str, data: Any) -> None:
    near = st.one_of(
        st.integers(0, len(issuer.iss) - 1).map(lambda end: issuer.iss[:end]),
        st.text(min_size=1, max_size=3).map(lambda tail: issuer.iss + tail),
        st.text(min_size=1, max_size=3).map(lambda head: head + issuer.iss),
        st.sampled_from([issuer.iss + "/", issuer.iss.upper(), issuer.iss.title(), [issuer.iss], None, 0]),
    )
    read, token = altered(issuer, kind, iss=data.draw(near))
    assert code_of(read, token) == "wrong_issuer"


@pytest.mark.requirement("JW-04")
@pytest.mark.parametrize("kind", ["session", "access"])
@given(data=st.data())
@settings(max_examples=25)
def test_the_audience_is_compared_whole(issuer: Any, kind: str, data: Any) -> None:
    ours = {"session": issuer.iss, "access": issuer.resource}[kind]
    near = st.one_of(
        st.integers(0, len(ours) - 1).map(lambda end: ours[:end]),
        st.text(min_size=1, max_size=3).map(lambda tail: ours + tail),
        st.sampled_from([ours + "/", ours.upper(), [], [ours + "/"], {"aud": ours}, None, 1, [[ours]], [ours, 7]]),
    )
    read, token = altered(issuer, kind, aud=data.draw(near))
    assert code_of(read, token) == "wrong_audience"


def test_an_access_token_for_several_is_taken_where_one_of_them_is_asked_for(issuer: Any) -> None:
    read, token = altered(issuer, "access", aud=["https://other.example", issuer.resource])
    assert read(token).aud == issuer.resource


def test_a_session_token_is_for_the_authority_alone(issuer: Any) -> None:
    read, token = altered(issuer, "session", aud=[issuer.iss])
    assert code_of(read, token) == "wrong_audience"


def test_an_identity_is_for_no_audience(issuer: Any) -> None:
    read, token = altered(issuer, "identity", aud=issuer.iss)
    assert code_of(read, token) == "malformed_token"


def test_the_authority_may_read_access_for_anybody_but_only_for_one(issuer: Any) -> None:
    assert issuer.read_access(issuer.access(), audience=None).aud == issuer.resource
    _, token = altered(issuer, "access", aud=[issuer.resource])
    assert code_of(issuer.read_access, token, audience=None) == "malformed_token"


@pytest.mark.requirement("CNF-01")
@pytest.mark.parametrize("kind", ["session", "access"])
@pytest.mark.parametrize(
    "cnf",
    [
        {},
        {"foo": 1},
        {"jkt": "A" * 43, "x5t#S256": "A" * 43},
        {"x5t#S256": "A" * 43},
        {"jwk": {}},
        {"kid": "a"},
        {"jkt": None},
        {"jkt": "A" * 42},
        {"jkt": "A" * 42 + "="},
        {"jkt": ["A" * 43]},
        [],
        "jkt",
        None,
        True,
    ],
)
def test_a_binding_that_cannot_be_checked_is_refused(issuer: Any, kind: str, cnf: Any) -> None:
    read, token = altered(issuer, kind, cnf=cnf)
    assert code_of(read, token) in {"unknown_confirmation", "malformed_token"}


@pytest.mark.requirement("WL-04")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: {"jkt": "A" * 43},
        lambda jwk: {"jwk": jwk, "jkt": "A" * 43},
        lambda jwk: {"jwk": {name: value for name, value in jwk.items() if name != "alg"}},
        lambda jwk: {"jwk": {**jwk, "alg": "HS256"}},
        lambda jwk: {"jwk": {**jwk, "d": "AAAA"}},
        lambda jwk: {"jwk": {**jwk, "x": "A" * 43}},
        lambda jwk: {"jwk": {**jwk, "ext": True}},
        lambda jwk: {"jwk": [jwk]},
        lambda _: None,
    ],
)
def test_an_identity_confirms_exactly_one_usable_public_key(issuer: Any, spoil: Any) -> None:
    read, token = altered(issuer, "identity", cnf=spoil(issuer.holder.public_jwk()))
    assert code_of(read, token) in {"malformed_token", "unsupported_key"}


@pytest.mark.parametrize("kind", ["session", "access"])
@pytest.mark.parametrize(
    "ctx",
    [
        {},
        None,
        "text",
        [],
        {"mode": "on_behalf_of", "path": ""},
        {"mode": "on_behalf_of", "path": "", "rec": "R" * 43, "more": 1},
        {"mode": "root", "path": "", "rec": "R" * 43},
        {"mode": ["self"], "path": "", "rec": "R" * 43},
        {"mode": "on_behalf_of", "path": "P" * 15, "rec": "R" * 43},
        {"mode": "on_behalf_of", "path": "P" * 15 + "=", "rec": "R" * 43},
        {"mode": "on_behalf_of", "path": ["P" * 16], "rec": "R" * 43},
        {"mode": "on_behalf_of", "path": "", "rec": "R" * 42},
        {"mode": "on_behalf_of", "path": "", "rec": None},
        {"mode": "on_behalf_of", "path": "", "rec": "R" * 43 + "\n"},
    ],
)
def test_a_context_claim_of_another_form_is_refused(issuer: Any, kind: str, ctx: Any) -> None:
    read, token = altered(issuer, kind, **{"urn:deputize:ctx": ctx})
    assert code_of(read, token) == "malformed_token"


@pytest.mark.parametrize("kind", ["session", "access"])
@pytest.mark.parametrize("claim", ["sid", "txn"])
@pytest.mark.parametrize("wrong", ["S" * 15, "S" * 17, "S" * 15 + "+", "S" * 16 + "\n", "'; drop table--"])
def test_a_session_id_of_another_form_is_refused(issuer: Any, kind: str, claim: str, wrong: Any) -> None:
    read, token = altered(issuer, kind, **{claim: wrong})
    assert code_of(read, token) == "malformed_token"


@pytest.mark.parametrize("kind", ["session", "access"])
@pytest.mark.parametrize(
    "act",
    [
        None,
        "spiffe://example.org/agent/a",
        ["a"],
        True,
        {},
        {"sub": None},
        {"sub": ["a"]},
        {"sub": ""},
        {"sub": "a", "iss": 1},
        {"sub": "a", "act": "b"},
        {"sub": "a", "act": None},
        {"sub": "a", "act": {}},
    ],
)
def test_an_act_of_another_form_is_refused(issuer: Any, kind: str, act: Any) -> None:
    read, token = altered(issuer, kind, act=act)
    assert code_of(read, token) == "malformed_token"


def test_an_actor_of_another_issuer_is_not_taken_for_a_namesake(issuer: Any) -> None:
    act = {"sub": "a", "act": {"sub": "b", "iss": "https://other.example", "act": {"sub": "c", "iss": issuer.iss}}}
    read, token = altered(issuer, "access", act=act)
    assert read(token).chain == ("a", "https://other.example|b", "c")


def test_a_token_that_lost_its_actor_is_no_token_of_the_user(issuer: Any) -> None:
    for kind in ("session", "access"):
        read, token = altered(issuer, kind, act=DROP)
        assert code_of(read, token) == "malformed_token"


@pytest.mark.parametrize("scope", ["", " ", "a  b", " a", "a ", "a a", "a\tb", 'a"b', "é", "a" * 129, ["a"]])
@pytest.mark.requirement("TX-18")
def test_a_scope_of_another_form_is_refused(issuer: Any, scope: str) -> None:
    read, token = altered(issuer, "access", scope=scope)
    assert code_of(read, token) == "malformed_token"


@pytest.mark.parametrize("kind", KINDS)
def test_infinite_or_huge_times_do_not_crash(issuer: Any, kind: str) -> None:
    read, token = altered(issuer, kind, exp=1e300)
    assert read(token).exp == math.floor(1e300)
    read, token = altered(issuer, kind, iat=-(2**62), exp=2**63)
    assert read(token)
    read, token = altered(issuer, kind, iat=1e300)
    assert code_of(read, token) == "not_yet_valid"


AGENTS = ["research", "analytic", "superviso", "writersbot", "planners", "reviewer", "cleanerbot", "crawlers"]


@pytest.mark.parametrize(("actors", "budget"), [(1, 900), (4, 1200), (16, 2400)])
def test_a_bound_token_of_reference_names_keeps_its_budget(issuer: Any, actors: int, budget: int) -> None:
    names = [f"spiffe://example.org/agent/{name}" for name in AGENTS * 2]
    claims = AccessClaims(
        iss="https://sts.example.org",
        aud="https://crm.example.org/mcp",
        sub="okta|00u1abcd",
        client_id=names[0],
        chain=tuple(names[:actors]),
        scope=("crm:read",),
        jti="j" * 22,
        iat=issuer.now,
        exp=issuer.now + 300,
        sid="S" * 16,
        txn="T" * 16,
        jkt=issuer.holder.kid,
        context=TokenContext(mode="on_behalf_of", path=("P" * 16,) * max(0, actors - 2), rec="R" * 43),
    )
    token = access_token.encode(claims, issuer.key)
    assert len(token) <= budget, len(token)
    assert issuer.read_access(token, issuer=claims.iss, audience=claims.aud) == claims


def test_a_message_of_refusal_holds_nothing_of_the_token(issuer: Any) -> None:
    canary = "canary-7d1f"
    for kind in KINDS:
        typ, read, claims = issuer.token_slots()[kind]
        for name in claims:
            token = jws.sign(typ, {**claims, name: {"x": canary}}, issuer.key)
            with pytest.raises(InvalidToken) as caught:
                read(token)
            said = json.dumps([str(caught.value), repr(caught.value), str(caught.value.args)])
            assert canary not in said
            assert token[:24] not in said
            assert len(said) < 400
