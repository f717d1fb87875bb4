"""Client authentication by assertion: one way, one audience, one use, on every replica."""

import json
import threading
from typing import Any

import pytest

from deputize.authority import client_auth
from deputize.authority.subject import Tokens
from deputize.model.failure import InvalidRequest, InvalidToken
from deputize.wire import base64url, client_assertion, jws, subject_assertion
from deputize.wire.alg import generate
from deputize.wire.client_assertion import ASSERTION_TYPE, Credentials, build_fields, credentials

CHURN = "spiffe://example.org/workload/churn"
RESEARCHER = "spiffe://example.org/agent/researcher"
TYP = "client-authentication+jwt"


def identified(site: Any) -> Any:
    key, workload = site.workload()
    own, found = site.agent("researcher", key, workload.token)
    return own, found.token


@pytest.fixture
def agent(site: Any) -> Any:
    return identified(site)


@pytest.fixture(scope="module")
def member(standing: Any) -> Any:
    return identified(standing)


def refused(site: Any, shown: Credentials) -> str | None:
    """That the client is refused as a stranger; the code of the reason, which is not told."""
    with pytest.raises(InvalidToken) as caught:
        client_auth.authenticate(site.parts, site.tokens, shown)
    assert caught.value.code == "invalid_client"
    return getattr(caught.value.__cause__, "code", None)


def asserted(site: Any, key: Any, identity: str, *, typ: str = TYP, **changes: Any) -> Credentials:
    now = int(site.clock.now())
    claims = {
        "iss": RESEARCHER,
        "sub": RESEARCHER,
        "aud": "https://sts.example",
        "jti": "j",
        "iat": now,
        "exp": now + 60,
        **changes,
    }
    content = {name: value for name, value in claims.items() if value is not None}
    return Credentials(assertion=jws.sign(typ, content, key), identity=identity)


CLAIMS: dict[str, tuple[dict[str, Any], str]] = {
    "no iss": ({"iss": None}, "wrong_issuer"),
    "no sub": ({"sub": None}, "malformed_token"),
    "no aud": ({"aud": None}, "wrong_audience"),
    "no exp": ({"exp": None}, "malformed_token"),
    "no jti": ({"jti": None}, "malformed_token"),
    "another agent's iss": ({"iss": "spiffe://example.org/agent/supervisor"}, "wrong_issuer"),
    "another agent's sub": ({"sub": "spiffe://example.org/agent/supervisor"}, "malformed_token"),
    "the token endpoint": ({"aud": "https://sts.example/token"}, "wrong_audience"),
    "another authority": ({"aud": "https://other.example"}, "wrong_audience"),
    "a slash more": ({"aud": "https://sts.example/"}, "wrong_audience"),
    "a list": ({"aud": ["https://sts.example"]}, "wrong_audience"),
    "a list with the token endpoint": ({"aud": ["https://sts.example", "https://sts.example/token"]}, "wrong_audience"),
    "five minutes ahead": ({"exp": 1_750_000_300}, "malformed_token"),
    "66 seconds ahead": ({"exp": 1_750_000_066}, "malformed_token"),
    "over": ({"exp": 1_750_000_000}, "token_expired"),
    "from the future": ({"iat": 1_750_000_006}, "not_yet_valid"),
    "not before soon": ({"nbf": 1_750_000_006}, "not_yet_valid"),
    "old": ({"iat": 1_749_999_900}, "token_expired"),
    "a long jti": ({"jti": "j" * 129}, "malformed_token"),
    "a scope": ({"scope": "crm:read"}, "malformed_token"),
    "an actor": ({"act": {"sub": "x"}}, "malformed_token"),
}


@pytest.mark.requirement("CA-01")
@pytest.mark.requirement("CA-02")
@pytest.mark.requirement("CA-04")
@pytest.mark.requirement("CA-05")
@pytest.mark.parametrize("name", CLAIMS)
def test_an_assertion_that_differs_in_one_claim_authenticates_nobody(standing: Any, member: Any, name: str) -> None:
    key, identity = member
    changes, reason = CLAIMS[name]
    assert refused(standing, asserted(standing, key, identity, **changes)) == reason
    # What was refused spent nothing, and the plain one passes.
    assert (
        client_auth.client_of(standing.parts, standing.tokens, asserted(standing, key, identity, jti=name)).agent
        == RESEARCHER
    )


@pytest.mark.requirement("CA-03")
@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "wit+jwt", "dpop+jwt", "vnd.deputize.subject+jwt"])
def test_an_assertion_of_another_type_authenticates_nobody(standing: Any, member: Any, typ: str) -> None:
    key, identity = member
    assert refused(standing, asserted(standing, key, identity, typ=typ)) == "wrong_type"


@pytest.mark.requirement("CA-05")
def test_an_assertion_by_another_key_authenticates_nobody(site: Any, agent: Any) -> None:
    _, identity = agent
    thief = generate()
    assert refused(site, asserted(site, thief, identity)) == "unknown_key"
    forged = jws.sign_with({"alg": "ES256", "typ": TYP}, {"iss": RESEARCHER, "sub": RESEARCHER}, thief)
    assert refused(site, Credentials(assertion=forged, identity=identity)) == "invalid_signature"
    brought = {"alg": "ES256", "typ": TYP, "jwk": thief.public_jwk()}
    forged = jws.sign_with(brought, {"iss": RESEARCHER, "sub": RESEARCHER}, thief)
    assert refused(site, Credentials(assertion=forged, identity=identity)) == "malformed_token"


@pytest.mark.requirement("CA-04")
def test_an_assertion_works_once_on_all_replicas_together(site: Any, agent: Any) -> None:
    key, identity = agent
    shown = site.credentials(key, identity)
    assert client_auth.client_of(site.parts, site.tokens, shown).agent == RESEARCHER
    assert refused(site, shown) == "assertion_replayed"
    other = site.replica()
    with pytest.raises(InvalidToken) as caught:
        client_auth.client_of(other.parts, Tokens(), shown)
    assert caught.value.code == "invalid_client"


@pytest.mark.requirement("CA-04")
def test_of_many_who_show_one_assertion_at_once_one_is_authenticated(site: Any, agent: Any) -> None:
    key, identity = agent
    shown, engines = site.credentials(key, identity), [site.engine, site.replica()]
    outcomes: list[str] = []

    def show(number: int) -> None:
        try:
            outcomes.append(client_auth.client_of(engines[number % 2].parts, Tokens(), shown).agent)
        except InvalidToken as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=show, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["invalid_client"] * 7 + [RESEARCHER]


def test_two_clients_may_use_one_jti(site: Any, agent: Any) -> None:
    key, workload = site.workload()
    site.ask(key, workload.token, jti="same")
    own, identity = agent
    assert site.ask(own, identity, jti="same").agent == RESEARCHER


@pytest.mark.requirement("A-09")
def test_only_an_identity_passes_as_one(site: Any, agent: Any) -> None:
    key, identity = agent
    shown = site.credentials(key, identity)
    for other in (shown.assertion, site.pod(), "", "x"):
        assert refused(site, Credentials(assertion=shown.assertion, identity=other)) is not None
    assert refused(site, Credentials(assertion=identity, identity=identity)) == "wrong_type"


def test_an_identity_that_expired_authenticates_nobody(site: Any, agent: Any) -> None:
    key, identity = agent
    site.ask(key, identity)
    site.clock.advance(900)
    assert refused(site, site.credentials(key, identity)) == "token_expired"


@pytest.mark.requirement("CA-07")
def test_the_form_names_one_client_in_one_way(site: Any, agent: Any) -> None:
    key, identity = agent
    shown = site.credentials(key, identity)
    items = build_fields(Credentials(assertion=shown.assertion, identity=identity, client_id=RESEARCHER))
    assert credentials(items).client_id == RESEARCHER
    assert client_auth.client_of(site.parts, site.tokens, credentials(items)).agent == RESEARCHER
    stranger = Credentials(assertion=site.credentials(key, identity).assertion, identity=identity, client_id=CHURN)
    assert refused(site, stranger) == "wrong_presenter"


FIELDS = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", "a"), ("deputize_identity", "i")]
BASIC = "Basic c3VwZXJ2aXNvcjp4"


@pytest.mark.requirement("CA-07")
@pytest.mark.parametrize(
    ("items", "authorization", "code"),
    [
        (FIELDS, BASIC, "invalid_request"),
        ([*FIELDS, ("client_secret", "x")], None, "invalid_request"),
        ([("client_secret", "x")], BASIC, "invalid_request"),
        ([*FIELDS, ("client_assertion", "b")], None, "invalid_request"),
        ([*FIELDS, ("client_id", "x"), ("client_id", "x")], None, "invalid_request"),
        ([], None, "invalid_client"),
        ([], BASIC, "invalid_client"),
        ([("client_id", "x"), ("client_secret", "y")], None, "invalid_client"),
        ([("client_id", "x")], None, "invalid_client"),
        (FIELDS[1:], None, "invalid_client"),
        (FIELDS[:2], None, "invalid_client"),
        ([("client_assertion_type", "x"), *FIELDS[1:]], None, "invalid_client"),
        ([*FIELDS[:2], ("deputize_identity", "")], None, "invalid_client"),
    ],
)
def test_any_other_form_is_refused(items: Any, authorization: str | None, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        credentials(items, authorization=authorization)
    assert caught.value.code == code


def test_credentials_are_left_out_of_their_repr(site: Any, agent: Any) -> None:
    key, identity = agent
    shown = site.credentials(key, identity)
    assert shown.assertion not in repr(shown)
    assert identity not in repr(shown)


def test_an_agent_asserts_a_user_once(site: Any, agent: Any) -> None:
    key, identity = agent
    who = client_auth.authenticate(site.parts, site.tokens, site.credentials(key, identity))
    now = site.clock.now()
    made = subject_assertion.encode(key, agent=RESEARCHER, user="local|alice", issuer="https://sts.example", now=now)
    assert client_auth.asserted_user(site.parts, who, made) == "local|alice"
    with pytest.raises(InvalidToken) as caught:
        client_auth.asserted_user(site.parts, who, made)
    assert caught.value.code == "assertion_replayed"
    key_of_another = generate()
    forged = subject_assertion.encode(
        key_of_another, agent=RESEARCHER, user="local|alice", issuer="https://sts.example", now=now
    )
    with pytest.raises(InvalidToken):
        client_auth.asserted_user(site.parts, who, forged)


def test_a_workload_asserts_no_user(site: Any) -> None:
    key, workload = site.workload()
    who = client_auth.authenticate(site.parts, site.tokens, site.credentials(key, workload.token))
    made = subject_assertion.encode(
        key, agent=CHURN, user="local|alice", issuer="https://sts.example", now=site.clock.now()
    )
    with pytest.raises(InvalidToken) as caught:
        client_auth.asserted_user(site.parts, who, made)
    assert caught.value.code == "wrong_presenter"


def test_an_assertion_says_no_more_than_it_must(site: Any, agent: Any) -> None:
    key, _ = agent
    made = client_assertion.encode(key, client_id="c", issuer="https://sts.example", now=1.9)
    head, body = (json.loads(base64url.decode(part.encode())) for part in made.split(".")[:2])
    assert head == {"alg": "ES256", "kid": key.kid, "typ": TYP}
    assert body.keys() == {"iss", "sub", "aud", "jti", "iat", "exp"}
    assert (body["iat"], body["exp"], len(body["jti"])) == (1, 61, 22)
